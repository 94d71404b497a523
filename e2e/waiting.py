"""Waiting for a claim to become true: asked again and again until a deadline, never a bare sleep.

Used by every scenario and both homes. The last thing seen is part of the failure, so that it says what was there instead.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import TypeVar

Seen = TypeVar("Seen")

PAUSE_S = 0.1


def until(
    claim: Callable[[], Seen], limit_s: float, what: str, wanted: Callable[[Seen], bool] = bool
) -> Seen:
    """Ask ``claim`` until its answer is truthy (or ``wanted``); that answer. Fails after ``limit_s`` seconds."""
    deadline = time.monotonic() + limit_s
    while not wanted(seen := claim()):
        assert time.monotonic() < deadline, f"waited {limit_s:.0f} s for {what}; it is: {seen!r}"
        time.sleep(PAUSE_S)
    return seen


def stays(claim: Callable[[], Seen], period_s: float, what: str) -> None:
    """The claim holds each time it is asked during ``period_s``."""
    deadline = time.monotonic() + period_s
    while time.monotonic() < deadline:
        assert (seen := claim()), f"{what} did not hold: {seen!r}"
        time.sleep(PAUSE_S)
