"""What is not a request, as one log line each.

Called by the wires. A peer that sends rubbish (port scanners, TLS to a plain port) would otherwise fill the log with
tracebacks that hold its bytes. Left out: failures of requests, which ``http_edge`` logs itself.

Invariant: one call gives one line of at most ``MAX_CHARACTERS`` characters of foreign text.
"""

from __future__ import annotations

from wakeful.kit import logs

MAX_CHARACTERS = 160

log = logs.get("serving")


def refused(error: object) -> None:
    """Write one line that says what was wrong."""
    log.warning("refused what is not a request", error=" ".join(str(error).split())[:MAX_CHARACTERS])
