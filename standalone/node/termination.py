"""The message a container leaves behind: its terminationMessagePath file, or the end of its log.

Called by container when a process has ended. Source: Kubernetes, "Customizing the termination message": at most 4096
bytes of the file; with FallbackToLogsOnError and an error, at most 80 lines or 2048 bytes of the log.
Invariant: a missing or unreadable file gives an empty message, and what an earlier start of the container wrote into
the same log is never in it.
"""

from __future__ import annotations

import time
from typing import Any

from standalone.node.launch import Place

FILE_BYTES = 4096
LOG_BYTES = 2048
LOG_LINES = 80


def message(container: dict[str, Any], place: Place, code: int, log_from: float = 0.0) -> str:
    """The termination message of a container that ended with ``code``; its log began at ``log_from`` (Unix seconds)."""
    try:
        with open(place.termination, "rb") as file:
            text = file.read(FILE_BYTES).decode(errors="replace")
    except OSError:
        text = ""
    if text or code == 0 or container.get("terminationMessagePolicy") != "FallbackToLogsOnError":
        return text
    return log_tail(place, log_from)


def log_tail(place: Place, started_at: float) -> str:
    """The last lines of the container's log since ``started_at``, without their stamps."""
    try:
        with open(place.log, "rb") as file:
            size = file.seek(0, 2)
            file.seek(max(0, size - 4 * LOG_BYTES))
            lines = file.read().decode(errors="replace").splitlines()
    except OSError:
        return ""
    # The stamps are RFC 3339 in UTC with nine digits, so they sort as text.
    first = time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(started_at)) + f".{int(started_at % 1 * 1e9):09d}Z"
    parts = [line.split(" ", 3) for line in lines]
    kept = [part for part in parts if len(part) == 4 and part[0] >= first][-LOG_LINES:]
    # a kubelet keeps the last newline too; P marks a part of a line, which has none
    return "".join(part[3] + ("" if part[2] == "P" else "\n") for part in kept)[-LOG_BYTES:]
