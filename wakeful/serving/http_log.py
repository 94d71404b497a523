"""aiohttp's complaints about what is not HTTP, as one log line each instead of a traceback.

Given to ``web.Server`` by ``server``. A peer that sends rubbish (port scanners, TLS to a plain port) would otherwise
fill the log with tracebacks that hold its bytes. Left out: failures of requests, which ``http_edge`` logs itself.

Invariant: one record gives at most one line of at most ``MAX_CHARACTERS`` characters of foreign text.
"""

from __future__ import annotations

import logging

from wakeful.kit import logs

MAX_CHARACTERS = 160

log = logs.get("serving")


class _Lines(logging.Handler):
    def emit(self, record: logging.LogRecord) -> None:
        error = record.exc_info[1] if record.exc_info else None
        text = " ".join(str(error or record.getMessage()).split())
        log.warning("refused what is not a request", error=text[:MAX_CHARACTERS])


def logger() -> logging.Logger:
    """The logger for one ``web.Server``."""
    made = logging.Logger("wakeful.serving.http", logging.INFO)
    made.addHandler(_Lines())
    return made
