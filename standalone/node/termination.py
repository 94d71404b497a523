"""The message a container leaves behind: its terminationMessagePath file, or the end of its log.

Called by container when a process has ended. Source: Kubernetes, "Customizing the termination message": at most 4096
bytes of the file; with FallbackToLogsOnError and an error, at most 80 lines or 2048 bytes of the log.
Invariant: a missing or unreadable file gives an empty message.
"""

from __future__ import annotations

from typing import Any

from standalone.node.launch import Place

FILE_BYTES = 4096
LOG_BYTES = 2048
LOG_LINES = 80


def message(container: dict[str, Any], place: Place, code: int) -> str:
    """The termination message of a container that ended with ``code``."""
    try:
        with open(place.termination, "rb") as file:
            text = file.read(FILE_BYTES).decode(errors="replace")
    except OSError:
        text = ""
    if text or code == 0 or container.get("terminationMessagePolicy") != "FallbackToLogsOnError":
        return text
    return log_tail(place)


def log_tail(place: Place) -> str:
    """The last lines of the container's log, without their stamps."""
    try:
        with open(place.log, "rb") as file:
            size = file.seek(0, 2)
            file.seek(max(0, size - 4 * LOG_BYTES))
            lines = file.read().decode(errors="replace").splitlines()
    except OSError:
        return ""
    texts = [line.split(" ", 3)[3] for line in lines if line.count(" ") >= 3]
    return "\n".join(texts[-LOG_LINES:])[-LOG_BYTES:]
