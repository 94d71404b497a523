"""Run one process from start to signal: tasks in a group, SIGTERM and SIGINT end them in order, once.

Every ``__main__`` calls ``run(main())`` where ``main`` awaits ``until_signal``. Invariant: after a signal no task
is left behind, and a second signal does not interrupt the clean end.
"""

from __future__ import annotations

import asyncio
import contextlib
import resource
import signal
from collections.abc import Coroutine
from typing import Any

import uvloop

DESCRIPTORS = 65_536


def run(main: Coroutine[Any, Any, int | None]) -> int:
    """Run ``main`` on uvloop; its return value (None means 0) is the exit status."""
    raise_descriptor_limit()
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        return runner.run(main) or 0


def raise_descriptor_limit() -> None:
    """Allow as many open files as the system lets us, up to ``DESCRIPTORS``.

    A login's soft limit is often 1,024 or 256, less than the connections our own bounds allow: beyond it a server
    could neither accept nor refuse anybody.
    """
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    most = DESCRIPTORS if hard == resource.RLIM_INFINITY else min(hard, DESCRIPTORS)
    if soft != resource.RLIM_INFINITY and soft < most:
        with contextlib.suppress(OSError, ValueError):  # not ours to raise: go on with what there is
            resource.setrlimit(resource.RLIMIT_NOFILE, (most, hard))


def stop_event() -> asyncio.Event:
    """An event that SIGTERM or SIGINT sets. Call it inside the running loop, before anything can fail."""
    stop = asyncio.Event()
    catch_signals(stop)
    return stop


def catch_signals(stop: asyncio.Event) -> None:
    """Let SIGTERM and SIGINT set ``stop``; needed again after a library has put handlers of its own in their place."""
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stop.set)


async def run_until(stop: asyncio.Event, *loops: Coroutine[Any, Any, None]) -> None:
    """Run ``loops`` until ``stop`` is set, then cancel them. A loop that raises ends them all and raises here."""

    async def watch() -> None:
        await stop.wait()
        raise _Stopped

    try:
        async with asyncio.TaskGroup() as group:
            for loop in loops:
                group.create_task(loop)
            group.create_task(watch())
    except* _Stopped:
        pass


class _Stopped(Exception):
    """Ends the task group; never leaves this module."""
