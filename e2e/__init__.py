"""Scenarios of the whole platform, written once and run in both homes. See docs/how-to/run-e2e.md."""
