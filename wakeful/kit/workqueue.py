"""A work queue of keys, as Kubernetes controllers use it: deduplicated, delayed, retried with growing back-off.

Level-triggered reconcilers put the key of what changed; workers take a key, look at the world and make it right.
Invariant: one key is never worked on by two workers at once, and a key added while it is being worked on is
worked on again afterwards. Memory is bounded by the number of distinct keys.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Hashable
from typing import Generic, TypeVar

from wakeful.kit import logs

K = TypeVar("K", bound=Hashable)

BASE_DELAY_S = 0.05
MAX_DELAY_S = 60.0


class WorkQueue(Generic[K]):
    """Keys waiting to be reconciled. Single event loop, no locks."""

    def __init__(self) -> None:
        self._ready: asyncio.Queue[K] = asyncio.Queue()
        self._waiting: set[K] = set()
        self._working: set[K] = set()
        self._again: set[K] = set()
        self._failures: dict[K, int] = {}
        self._timers: dict[K, tuple[float, asyncio.Handle]] = {}
        """When (loop time) and what; kept beside the handle, because uvloop's handles for "now" do not say when."""

    def add(self, key: K) -> None:
        """Ask for ``key`` to be worked on as soon as a worker is free."""
        timer = self._timers.pop(key, None)
        if timer is not None:
            timer[1].cancel()
        if key in self._working:
            self._again.add(key)
        elif key not in self._waiting:
            self._waiting.add(key)
            self._ready.put_nowait(key)

    def add_after(self, key: K, delay_s: float) -> None:
        """Ask for ``key`` to be worked on in ``delay_s`` seconds; the earliest of several requests counts."""
        loop = asyncio.get_running_loop()
        due = loop.time() + delay_s
        timer = self._timers.get(key)
        if timer is not None:
            if timer[0] <= due:
                return
            timer[1].cancel()
        self._timers[key] = (due, loop.call_at(due, self._fire, key))

    def add_failed(self, key: K) -> float:
        """Ask for a retry of ``key`` after its back-off (50 ms doubling to 60 s), which is returned in seconds."""
        failures = self._failures.get(key, 0)
        self._failures[key] = failures + 1
        delay_s = min(BASE_DELAY_S * 2.0 ** min(failures, 16), MAX_DELAY_S)
        self.add_after(key, delay_s)
        return delay_s

    def forget(self, key: K) -> None:
        """Reset the back-off of ``key`` after a success."""
        self._failures.pop(key, None)

    def close(self) -> None:
        """Cancel every timer; nothing is worked on afterwards."""
        for _, handle in self._timers.values():
            handle.cancel()
        self._timers.clear()

    async def take(self) -> K:
        """The next key. The caller must call ``done`` with it."""
        key = await self._ready.get()
        self._waiting.discard(key)
        self._working.add(key)
        return key

    def done(self, key: K) -> None:
        """End the work on ``key``; if it was added meanwhile it is queued again."""
        self._working.discard(key)
        if key in self._again:
            self._again.discard(key)
            self.add(key)

    def _fire(self, key: K) -> None:
        self._timers.pop(key, None)
        self.add(key)


async def run_workers(
    queue: WorkQueue[K],
    reconcile: Callable[[K], Awaitable[float | None]],
    log: logs.Logger,
    concurrency: int = 4,
) -> None:
    """Work on keys for ever. ``reconcile`` returns seconds until it wants to see the key again, or None.

    An exception is logged and the key retried with back-off: one bad object never stops the others. So is the
    cancellation of something that ``reconcile`` waited for, unless the worker itself is being cancelled.
    """

    def failed(key: K, error: BaseException) -> None:
        delay_s = queue.add_failed(key)
        log.warning("reconcile failed", key=key, error=repr(error), retry_in_s=delay_s)

    async def work() -> None:
        while True:
            key = await queue.take()
            try:
                again_s = await reconcile(key)
                queue.forget(key)
                if again_s is not None:
                    queue.add_after(key, again_s)
            except asyncio.CancelledError as error:
                task = asyncio.current_task()
                if task is None or task.cancelling():
                    raise
                failed(key, error)
            except Exception as error:  # any failure of one key must leave the loop alive
                failed(key, error)
            finally:
                queue.done(key)

    async with asyncio.TaskGroup() as group:
        for _ in range(concurrency):
            group.create_task(work())
