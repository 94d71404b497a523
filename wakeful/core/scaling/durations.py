"""Go durations (``1h30m``, ``6s``, ``250ms``), the form in which Knative writes every interval.

Called by the readers of annotations and ConfigMaps. Invariant: ``parse(render(x)) == x`` for whole milliseconds.
"""

from __future__ import annotations

import re

UNITS_S = {"ns": 1e-9, "us": 1e-6, "µs": 1e-6, "ms": 1e-3, "s": 1.0, "m": 60.0, "h": 3600.0}
_PART = re.compile(r"(\d+\.?\d*|\.\d+)(ns|us|µs|ms|s|m|h)")
_WHOLE = re.compile(rf"[+-]?(?:0|(?:{_PART.pattern})+)")


def parse(text: str) -> float:
    """Seconds. Raises ``ValueError`` with Go's own sentence when ``text`` is no duration."""
    if not _WHOLE.fullmatch(text):
        raise ValueError(f"time: invalid duration {_quoted(text)}")
    seconds = sum(float(number) * UNITS_S[unit] for number, unit in _PART.findall(text))
    return -seconds if text.startswith("-") else seconds


def render(seconds: float) -> str:
    """Go's own spelling: ``1m0s``, ``1h0m0s``, ``1.5s``, ``250ms``, ``0s``."""
    if seconds < 0:
        return "-" + render(-seconds)
    if seconds == 0:
        return "0s"
    if seconds < 1:
        return f"{seconds * 1000:g}ms"
    minutes, rest = divmod(seconds, 60)
    hours, minutes = divmod(int(minutes), 60)
    tail = f"{round(rest, 9):g}s"
    if hours:
        return f"{hours}h{minutes}m{tail}"
    return f"{minutes}m{tail}" if minutes else tail


def _quoted(text: str) -> str:
    return '"' + text.replace('"', '\\"') + '"'
