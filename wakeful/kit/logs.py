"""Structured logs: one JSON line an event on stderr, with a constant phrase and variables as keys.

Used by every process. ``log = logs.get("node")``; ``log.info("pod started", pod=name)``. Identity is bound once
with ``bind``. Invariant: a value is always serialised by ``json``, so no log line can be forged by its content.
Payloads and secrets are never passed in.
"""

from __future__ import annotations

import contextlib
import json
import logging
import sys
import time
from dataclasses import dataclass, field
from typing import Any, TextIO

LEVELS = {"debug": 10, "info": 20, "warning": 30, "error": 40}
_threshold = LEVELS["info"]


def set_level(level: str) -> None:
    """Drop events below ``level`` (a key of ``LEVELS``) from now on, in this process."""
    global _threshold
    _threshold = LEVELS[level]


@dataclass(frozen=True, slots=True)
class Logger:
    """A named source of events with keys bound to all of them."""

    name: str
    bound: dict[str, Any] = field(default_factory=dict)
    stream: TextIO | None = None

    def bind(self, **keys: Any) -> Logger:
        """A logger that adds ``keys`` to every event."""
        return Logger(self.name, {**self.bound, **keys}, self.stream)

    def debug(self, event: str, **keys: Any) -> None:
        self._write("debug", event, keys)

    def info(self, event: str, **keys: Any) -> None:
        self._write("info", event, keys)

    def warning(self, event: str, **keys: Any) -> None:
        self._write("warning", event, keys)

    def error(self, event: str, **keys: Any) -> None:
        self._write("error", event, keys)

    def _write(self, level: str, event: str, keys: dict[str, Any]) -> None:
        if LEVELS[level] < _threshold:
            return
        now = time.time()
        stamp = time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(now)) + f".{int(now % 1 * 1000):03d}Z"
        line = {"time": stamp, "level": level, "logger": self.name, "event": event, **self.bound, **keys}
        text = json.dumps(line, default=str) + "\n"
        out = self.stream or sys.stderr
        with contextlib.suppress(OSError, ValueError):  # a full disk or a closed stream must end no work
            out.write(text)
            out.flush()


class _Bridge(logging.Handler):
    """Writes what libraries log as events of ours: the message, and of an exception its type and text."""

    def emit(self, record: logging.LogRecord) -> None:
        error = record.exc_info[1] if record.exc_info else None
        keys = {} if error is None else {"error": f"{type(error).__name__}: {error}"[:500]}
        level = "error" if record.levelno >= logging.ERROR else "warning"
        get(record.name)._write(level, record.getMessage()[:1000], keys)


def capture_libraries() -> None:
    """From now on in this process: warnings and errors of libraries are one JSON line each, without tracebacks."""
    logging.basicConfig(handlers=[_Bridge()], level=logging.WARNING, force=True)


def get(name: str) -> Logger:
    """The logger of one part of the program."""
    return Logger(name)
