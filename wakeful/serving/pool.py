"""A bounded pool of daemon threads for CPU work, and the admission that keeps its queue bounded.

The data plane enters ``admit`` for every call and ``run`` for sync model code. A thread cannot be stopped: work whose
caller has gone or timed out keeps its place until it ends, so that the bound stays true. Daemon threads, because a
model stuck in native code must not keep a drained process from ending (concurrent.futures joins its threads at exit).

Invariant: at most ``threads`` jobs run and at most ``threads + max_waiting`` calls are admitted, at any time.
"""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable
from queue import SimpleQueue
from types import TracebackType
from typing import Any, TypeVar

from wakeful.core.errors import FailureError, FailureKind

T = TypeVar("T")
RETRY_AFTER_S = 1.0


class Pool:
    """Single event loop; ``close`` ends the threads after the jobs they have."""

    def __init__(self, threads: int, max_waiting: int, name: str = "model") -> None:
        self.threads = threads
        self.max_calls = threads + max_waiting
        self.calls = 0
        """Calls admitted and not yet ended, abandoned jobs that still run included."""
        self.rejected = 0
        self._jobs: SimpleQueue[_Job | None] = SimpleQueue()
        self._name = name
        self._started = 0
        self._idle = 0

    def admit(self) -> _Admission:
        """A context manager that holds one place. Raises ``FailureError`` (overloaded) when there is none."""
        if self.calls >= self.max_calls:
            self.rejected += 1
            raise FailureError(
                FailureKind.OVERLOADED,
                f"{self.calls} requests are running or waiting, which is the limit: try again later",
                RETRY_AFTER_S,
            )
        self.calls += 1
        return _Admission(self)

    async def run(self, admission: _Admission, work: Callable[[], T]) -> T:
        """The result of ``work``, run in a thread. On cancellation the thread goes on and keeps ``admission``."""
        loop = asyncio.get_running_loop()
        job = _Job(loop, loop.create_future(), work, admission)
        admission.jobs += 1
        if self._idle == 0 and self._started < self.threads:
            self._started += 1
            threading.Thread(target=self._work, name=f"{self._name}-{self._started}", daemon=True).start()
        else:
            self._idle -= 1
        self._jobs.put(job)
        result: T = await job.future
        return result

    def close(self) -> None:
        """Let every thread end when it is free."""
        for _ in range(self._started):
            self._jobs.put(None)

    def _work(self) -> None:
        while (job := self._jobs.get()) is not None:
            result: Any = None
            error: BaseException | None = None
            if not job.future.cancelled():
                try:
                    result = job.work()
                except BaseException as caught:  # whatever model code raises belongs to its caller
                    error = caught
            try:
                job.loop.call_soon_threadsafe(self._settle, job, result, error)
            except RuntimeError:  # the loop is closed: the process is ending and nobody waits
                return
            del job, result, error

    def _settle(self, job: _Job, result: Any, error: BaseException | None) -> None:
        self._idle += 1
        job.admission.job_ended()
        if job.future.done():
            return
        if error is None:
            job.future.set_result(result)
        elif isinstance(error, StopIteration | KeyboardInterrupt | SystemExit | asyncio.CancelledError):
            job.future.set_exception(RuntimeError(f"model code raised {type(error).__name__}"))
        else:
            job.future.set_exception(error)


class _Job:
    __slots__ = ("admission", "future", "loop", "work")

    def __init__(
        self,
        loop: asyncio.AbstractEventLoop,
        future: asyncio.Future[Any],
        work: Callable[[], Any],
        admission: _Admission,
    ) -> None:
        self.loop = loop
        self.future = future
        self.work = work
        self.admission = admission


class _Admission:
    """One admitted call; its place is free again when the call has ended and none of its jobs runs."""

    __slots__ = ("_ended", "_pool", "jobs")

    def __init__(self, pool: Pool) -> None:
        self._pool = pool
        self._ended = False
        self.jobs = 0

    def __enter__(self) -> _Admission:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._ended = True
        if self.jobs == 0:
            self._pool.calls -= 1

    def job_ended(self) -> None:
        self.jobs -= 1
        if self._ended and self.jobs == 0:
            self._pool.calls -= 1


Admission = _Admission
