"""Between data plane and model: groups what waits, calls the model, gives each call its own answer or error.

One a model that can (``Model.batching``). Which calls go together, and when, is ``core.scaling.batch``'s decision;
here are the loop, the threads and the model. Short computations run on the event loop's own thread, everything else in
the pool: docs/decisions/0112 has what the hand-over costs. A batch that fails is halved until the calls that made it
fail are alone with their error: 2 log2(n) model calls for one bad call of n, never more than 2n.

Invariant: every call that came in ends once; a model that waits for nothing (``is_brief``) is called by one batch at a
time unless batches take ``LONG_S`` or more, others by one at a time always.
"""

from __future__ import annotations

import asyncio
import inspect
import time
from collections.abc import Callable, Sequence
from functools import partial
from typing import Any

from wakeful.core.errors import FailureError
from wakeful.core.scaling.batch import Batch, BatchQueue, Hold, Pace
from wakeful.kit import logs
from wakeful.serving import ids, observing
from wakeful.serving.calls import Bounds, Call
from wakeful.serving.model import Context
from wakeful.serving.parts import Batching, Part
from wakeful.serving.pool import Job

UNFIT_BATCHES = 3
"""Batches that failed although every call of theirs succeeds alone, after which a model is asked one by one."""

log = logs.get("serving")
Fail = Callable[[BaseException, Call], FailureError]
"""An exception of model code as the ``FailureError`` its caller gets (and the log line)."""
Alone = Callable[[Any, Context], Any]
"""The model's ``predict``, for what cannot be taken apart."""


class Batcher:
    """The calls of one model; event loop only."""

    def __init__(self, name: str, batching: Batching, alone: Alone, bounds: Bounds, fail: Fail) -> None:
        self.batching = batching
        self.queue: BatchQueue[Call] = BatchQueue(batching.max_batch_size, batching.max_latency_s)
        self._name = name
        self._alone = alone
        self._pool = bounds.pool
        self._metrics = bounds.metrics.of_batches(name)
        self._fail = fail
        self._pace = Pace()
        self._is_async = inspect.iscoroutinefunction(batching.answer)
        self._running = 0
        self._limit = 1
        self._unfit = 0
        self.source: object = batching
        """What the model said when this was made."""
        self.has_ids = False
        """Whether calls are told the id of their batch (``--max_batchsize``)."""
        self._is_planned = False
        self._timer: asyncio.TimerHandle | None = None
        self._tasks: set[asyncio.Task[None]] = set()

    def add(self, call: Call) -> None:
        """Let ``call`` wait for its batch. Raises ``FailureError`` where its payload cannot be taken apart."""
        part = self.batching.part(call.payload, call.context)
        if part is None:
            part = Part(call.payload, call.context, self.queue.max_rows, None)
        call.part = part
        call.rows = part.rows
        call.signature = part.signature
        call.on_leave = self.queue.discard
        self.queue.add(call)
        self._plan()

    def _plan(self) -> None:
        """Look at the queue once everything that the loop reads in this round has been added to it."""
        if not self._is_planned and self._running < self._limit:
            self._is_planned = True
            asyncio.get_running_loop().call_soon(self._look)

    def _look(self) -> None:
        self._is_planned = False
        loop = asyncio.get_running_loop()
        while self._running < self._limit:
            match self.queue.take(loop.time()):
                case None:
                    return
                case Hold(until):
                    self._hold(loop, until)
                    return
                case Batch() as batch:
                    for call in batch.late:
                        call.on_leave = None
                        call.expire(f"model {self._name} was busy until the request's deadline had passed")
                    if batch.calls and self._start(batch):
                        self._plan()
                        return

    def _hold(self, loop: asyncio.AbstractEventLoop, until: float) -> None:
        if self._timer is not None:
            self._timer.cancel()
        self._timer = loop.call_at(until, self._look)

    def _start(self, batch: Batch[Call]) -> bool:
        """Call the model for ``batch``; True where that happened here and now, on the loop."""
        calls = batch.calls
        for call in calls:
            call.on_leave = None
        self._metrics.closed(batch.reason, calls, batch.rows, asyncio.get_running_loop().time())
        if self._is_async:
            self._running += 1
            task = asyncio.get_running_loop().create_task(self._answer_async(calls))
            self._tasks.add(task)
            task.add_done_callback(self._tasks.discard)
            return False
        if (
            self.batching.is_brief
            and calls[0].signature is not None
            and self._pace.is_brief(batch.rows)
            and self._answer_here(calls, batch.rows)
        ):
            return True
        self._answer_in_thread(calls, batch.rows)
        return False

    def _answer_here(self, calls: list[Call], rows: int) -> bool:
        """On the loop's own thread. False where it failed and has to be taken apart elsewhere.

        The pace is of computing time: a moment in which the machine did something else must not send calls to threads.
        """
        began, computed_s = time.perf_counter(), time.thread_time()
        try:
            answers = _counted(self.batching.answer([call.part for call in calls]), len(calls))
        except Exception as error:
            if len(calls) > 1:
                return False
            answers = [error]
        self._pace.observe(rows, time.thread_time() - computed_s)
        self._settle(calls, answers, time.perf_counter() - began)
        return True

    def _answer_in_thread(self, calls: list[Call], rows: int) -> None:
        self._running += 1
        for call in calls:
            call.is_held = True

        def settle(job: Job) -> None:
            self._running -= 1
            answers, cpu_s = job.result or ([job.error] * len(calls), job.seconds)
            self._pace.observe(rows, cpu_s if self.batching.is_brief else job.seconds)
            self._limit = self._pool.threads if self.batching.is_brief and self._pace.is_long(rows) else 1
            for call in calls:
                call.release()
            self._settle(calls, answers, job.seconds)
            self._plan()

        self._pool.start(Job(partial(self._work, [call.part for call in calls]), settle))

    def _work(self, parts: list[Part]) -> tuple[list[Any], float]:
        """In a thread: (an answer or exception a part, seconds of computing, which leave out waiting for the lock)."""
        began = time.thread_time()
        if parts[0].signature is None:
            answers = [self._alone(parts[0].payload, parts[0].value)]
        else:
            answers = self._taken_apart(parts)
        return answers, time.thread_time() - began

    def _taken_apart(self, parts: list[Part]) -> list[Any]:
        """The answer to each part, or the exception that it alone is to blame for."""
        try:
            return _counted(self.batching.answer(parts), len(parts))
        except Exception as error:
            if len(parts) == 1:
                return [error]
        half = len(parts) // 2
        return self._note_unfit(self._taken_apart(parts[:half]) + self._taken_apart(parts[half:]))

    async def _answer_async(self, calls: list[Call]) -> None:
        began = time.perf_counter()
        parts = [call.part for call in calls]
        try:
            if calls[0].signature is None:
                answers = [await self._alone(calls[0].payload, calls[0].context)]
            else:
                answers = await self._taken_apart_async(parts)
        except (Exception, asyncio.CancelledError) as error:
            answers = [error] * len(calls)
        self._running -= 1
        self._settle(calls, answers, time.perf_counter() - began)
        self._plan()

    async def _taken_apart_async(self, parts: list[Any]) -> list[Any]:
        answering: Any = self.batching.answer
        try:
            return _counted(await answering(parts), len(parts))
        except Exception as error:
            if len(parts) == 1:
                return [error]
        half = len(parts) // 2
        first = await self._taken_apart_async(parts[:half])
        return self._note_unfit(first + await self._taken_apart_async(parts[half:]))

    def _note_unfit(self, answers: list[Any]) -> list[Any]:
        """Give up on batches of a model that fails only where calls are together (its answer cannot be shared out)."""
        if len(answers) == 2 and not any(isinstance(answer, Exception) for answer in answers):
            self._unfit += 1
            if self._unfit == UNFIT_BATCHES:
                self.queue.max_rows = 1
                log.warning("model cannot be batched", model=self._name, batches=UNFIT_BATCHES)
        return answers

    def _settle(self, calls: list[Call], answers: Sequence[Any], seconds: float) -> None:
        self._metrics.predicted(seconds, len(calls))
        batch_id = ids.answer_id() if self.has_ids else ""
        for call, answer in zip(calls, answers, strict=True):
            call.context.batch_id = batch_id
            if call.context.span is not None:
                observing.note(call.context, "predict", seconds)
            call.finish(self._fail(answer, call) if isinstance(answer, BaseException) else answer)


def _counted(answers: Sequence[Any], count: int) -> list[Any]:
    """``answers`` if they are ``count``. Raises ``TypeError``."""
    if len(answers) != count:
        raise TypeError(f"the model gave {len(answers)} answers to {count} requests")
    return list(answers)
