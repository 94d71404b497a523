"""Wait for the world to be as it should, with a deadline and words for the failure. For every folder of tests.

``tests/conftest.py`` puts this folder on the path. Invariant: nothing here waits longer than it was told to.
"""

from __future__ import annotations

import asyncio
import inspect
import time
from collections.abc import Callable
from typing import Any

Words = str | Callable[[], object]


async def until(
    check: Callable[[], Any], limit_s: float = 10.0, what: Words = "", pause_s: float = 0.005
) -> Any:
    """The first true answer of ``check``, which may be a coroutine function; fails after ``limit_s`` seconds."""
    end = time.monotonic() + limit_s
    while True:
        seen = check()
        if inspect.isawaitable(seen):
            seen = await seen
        if seen:
            return seen
        assert time.monotonic() < end, _failure(limit_s, what, seen)
        await asyncio.sleep(pause_s)


def until_blocking(check: Callable[[], Any], limit_s: float, what: Words, pause_s: float = 0.05) -> Any:
    """The same without an event loop."""
    end = time.monotonic() + limit_s
    while not (seen := check()):
        assert time.monotonic() < end, _failure(limit_s, what, seen)
        time.sleep(pause_s)
    return seen


def _failure(limit_s: float, what: Words, seen: object) -> str:
    told = what if isinstance(what, str) else what()
    return f"waited {limit_s:g} s for {told or 'a condition'}; last seen: {seen}"
