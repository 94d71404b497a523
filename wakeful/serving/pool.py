"""A bounded pool of daemon threads for CPU work, and the count of places that keeps its queue bounded.

The data plane takes a place (``enter``) for every call and hands sync model code to ``start``. A thread cannot be
stopped: work whose caller has gone keeps its place until it ends, so that the bound stays true. Daemon threads, because
a model stuck in native code must not keep a drained process from ending (concurrent.futures joins its threads at exit).
Waking the loop costs a system call and a hand-over of the interpreter's lock: a thread that has more to do wakes it
once for everything that ended before the loop came to look.

Invariant: at most ``threads`` jobs run and at most ``threads + max_waiting`` places are taken, at any time.
"""

from __future__ import annotations

import asyncio
import threading
import time
from collections import deque
from collections.abc import Callable
from functools import partial
from queue import SimpleQueue
from typing import Any, TypeVar

from wakeful.core.errors import FailureError, FailureKind

T = TypeVar("T")
RETRY_AFTER_S = 1.0


class Job:
    """One piece of work. ``settle`` gets (result, error) on the loop, whether or not anybody still waits."""

    __slots__ = ("error", "is_unwanted", "result", "seconds", "settle", "work")

    def __init__(self, work: Callable[[], Any], settle: Callable[[Job], None]) -> None:
        self.work = work
        self.settle = settle
        self.result: Any = None
        self.error: BaseException | None = None
        self.seconds = 0.0
        """How long it ran."""
        self.is_unwanted = False
        """Set while it waits, it is not run."""


class Pool:
    """Single event loop; ``close`` ends the threads after the jobs they have."""

    def __init__(self, threads: int, max_waiting: int, name: str = "model") -> None:
        self.threads = threads
        self.max_calls = threads + max_waiting
        self.calls = 0
        """Places taken, those of abandoned jobs that still run included."""
        self.rejected = 0
        self._jobs: SimpleQueue[Job | None] = SimpleQueue()
        self._ended: deque[Job] = deque()
        self._is_waking = False
        self._loop: asyncio.AbstractEventLoop | None = None
        self._name = name
        self._started = 0
        self._idle = 0

    def enter(self) -> None:
        """Take a place. Raises ``FailureError`` (overloaded) when there is none."""
        if self.calls >= self.max_calls:
            self.rejected += 1
            raise FailureError(
                FailureKind.OVERLOADED,
                f"{self.calls} requests are running or waiting, which is the limit: try again later",
                RETRY_AFTER_S,
            )
        self.calls += 1

    def leave(self) -> None:
        """Give a place back."""
        self.calls -= 1

    def start(self, job: Job) -> None:
        """Run ``job`` in a thread, as soon as one is free. Event loop only."""
        if self._loop is None:
            self._loop = asyncio.get_running_loop()
        if self._idle == 0 and self._started < self.threads:
            self._started += 1
            threading.Thread(target=self._work, name=f"{self._name}-{self._started}", daemon=True).start()
        else:
            self._idle -= 1
        self._jobs.put(job)

    async def run(self, work: Callable[[], T]) -> T:
        """The result of ``work``, run in a thread under a place of its own. Cancelled, the thread goes on."""
        future: asyncio.Future[T] = asyncio.get_running_loop().create_future()
        self.enter()
        job = Job(work, partial(self._settled, future))
        self.start(job)
        try:
            return await future
        finally:
            job.is_unwanted = True
            del job, future  # a failure holds this frame: it must not hold the failure, and with it the body

    def _settled(self, future: asyncio.Future[Any], job: Job) -> None:
        self.leave()
        if not future.done():
            if job.error is None:
                future.set_result(job.result)
            else:
                future.set_exception(sayable(job.error))

    def close(self) -> None:
        """Let every thread end when it is free."""
        for _ in range(self._started):
            self._jobs.put(None)

    def _work(self) -> None:
        while (job := self._jobs.get()) is not None:
            if not job.is_unwanted:
                began = time.perf_counter()
                try:
                    job.result = job.work()
                except BaseException as error:  # whatever model code raises belongs to its caller
                    job.error = error
                job.seconds = time.perf_counter() - began
            self._ended.append(job)
            del job
            if not self._is_waking and not self._wake():
                return

    def _wake(self) -> bool:
        """Have the loop settle what has ended. False when it is closed: the process is ending and nobody waits."""
        self._is_waking = True
        assert self._loop is not None
        try:
            self._loop.call_soon_threadsafe(self._settle)
        except RuntimeError:
            return False
        return True

    def _settle(self) -> None:
        self._is_waking = False  # before the first look: what ends from here on wakes the loop again
        while self._ended:
            job = self._ended.popleft()
            self._idle += 1
            job.settle(job)


def sayable(error: BaseException) -> Exception:
    """``error`` as an ordinary exception: model code's own exit or cancellation must not end the server's loop."""
    if isinstance(error, StopIteration) or not isinstance(error, Exception):
        return RuntimeError(f"model code raised {type(error).__name__}")
    return error
