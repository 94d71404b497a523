"""Builds Wakeful's container images; called by ``hack/images`` only.

containerfile reads what a Containerfile says; keys names a result by everything it was made of; wheels, foundation
and builders do the work; archive writes the file that a node or an engine loads. Standard library only.
"""
