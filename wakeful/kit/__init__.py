"""Impure plumbing that knows no domain word: clock, logs, tasks, files, HTTP, the Kubernetes wire protocol.

Every room may use it; it imports none of them, and not ``wakeful.core`` either.
"""
