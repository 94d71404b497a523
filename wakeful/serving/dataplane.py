"""The one data plane: every edge calls it, it calls the model. Deadline, admission, batches, stages, metrics.

Edges (HTTP V1, V2, CloudEvents, OpenAI, gRPC) translate a request into a payload and a ``Context`` and call ``submit``,
which costs no task and no future, or ``call``, which is the same to await. Models that can (``Model.batching``) answer
through a ``Batcher``; else the sync stages of one request run together in one visit to the thread pool, and ``async``
stages run on the loop. Left out: protocols.

Invariant: a model's failure leaves as a ``FailureError`` with its kind; cancellation passes through untouched.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from functools import partial
from typing import Any, Literal, TypeVar

from wakeful.core.errors import FailureError, FailureKind
from wakeful.core.protocol import v1
from wakeful.kit import logs
from wakeful.serving import joining, observing, translation
from wakeful.serving.batcher import Batcher
from wakeful.serving.calls import Bounds, Call, Deadlines, Done
from wakeful.serving.metrics import Metrics, Refusal
from wakeful.serving.model import Context
from wakeful.serving.parts import Batching, Joining
from wakeful.serving.pool import Job, Pool, sayable
from wakeful.serving.registry import Entry, Registry, Stage

T = TypeVar("T")
Verb = Literal["predict", "explain"]
ERROR_CHARACTERS = 500

log = logs.get("serving")


class DataPlane:
    """Calls of models, under one admission bound and one deadline. Event loop only."""

    def __init__(
        self,
        registry: Registry,
        pool: Pool,
        metrics: Metrics,
        timeout_s: float,
        wanted: Joining | None = None,
    ) -> None:
        self.registry = registry
        self.pool = pool
        self.metrics = metrics
        self._timeout_s = timeout_s
        self._wanted = wanted
        """What the server's flags say of batches, for every model; None: each as it says itself."""
        self._bounds = Bounds(pool, Deadlines(self._late), metrics)
        self._batchers: dict[str, Batcher] = {}
        self._tasks: dict[Call, asyncio.Task[None]] = {}
        metrics.count_refusals(Refusal.QUEUE, lambda: pool.rejected)

    def submit(self, entry: Entry, verb: Verb, payload: Any, context: Context, done: Done) -> Call:
        """Ask the model; ``done`` gets its answer or the ``FailureError``, later, on the loop, unless cancelled.

        Raises ``FailureError`` where it is refused at once: no place is free, the payload has no form that the model
        takes, or one that batches finds it wrong. ``cancel`` the call when its caller has gone.
        """
        begin = self._begin
        if entry.model.takes != "either":
            if translation.is_long(entry.model, payload):
                begin = self._translate
            else:
                payload = translation.payload_for(entry.model, payload)
        now = asyncio.get_running_loop().time()
        deadline = now + self._timeout_s
        if context.deadline is not None and context.deadline < deadline:
            deadline = context.deadline
        self.pool.enter()
        call = Call(entry, payload, context, done, (now, deadline), self._bounds)
        if entry.gate.is_closed:
            self._hold(call, entry, partial(begin, call, entry, verb))
        else:
            begin(call, entry, verb)
        return call

    def _hold(self, call: Call, entry: Entry, begin: Callable[[], None]) -> None:
        """Let ``call`` wait for a reload. Raises ``FailureError`` where its model is unloaded, the call ended."""
        try:
            self.registry.ready(call.model)
        except FailureError:
            call.cancel()
            raise
        call.on_leave = entry.gate.let_go
        entry.gate.hold(call, partial(self._begin_later, call, begin))

    def _begin_later(self, call: Call, begin: Callable[[], None]) -> None:
        """Begin with a call whose ``submit`` has returned: a refusal is told to it, ended already or not."""
        call.on_leave = None
        try:
            begin()
        except FailureError as failure:
            call.cancel()
            call.tell(failure)

    def _translate(self, call: Call, entry: Entry, verb: Verb) -> None:
        """Give ``call`` its payload in the model's form, made in a thread, and begin then."""
        call.is_held = True

        def go_on(outcome: Any) -> None:
            if isinstance(outcome, FailureError):
                call.finish(outcome)
            elif not call.is_ended:
                call.payload = outcome
                self._begin_later(call, partial(self._begin, call, entry, verb))

        work = partial(translation.payload_for, entry.model, call.payload)
        job = Job(work, self._settled(call, [], go_on))
        call.on_leave = lambda _call: setattr(job, "is_unwanted", True)
        self.pool.start(job)

    def _begin(self, call: Call, entry: Entry, verb: Verb) -> None:
        stages = entry.predict if verb == "predict" else entry.explain
        batcher = self._batcher(entry) if verb == "predict" else None
        if batcher is not None:
            if len(stages) == 1:
                self._join(batcher, call)
                return
        elif not any(stage.is_async for stage in stages):
            self._start_sync(call, stages)
            return
        self._start_task(call, entry, batcher, stages)

    async def call(self, entry: Entry, verb: Verb, payload: Any, context: Context) -> Any:
        """What the model answers to ``payload``. Raises ``FailureError`` (overloaded, deadline, internal, the model's)."""
        future: asyncio.Future[Any] = asyncio.get_running_loop().create_future()
        submitted = self.submit(entry, verb, payload, context, partial(_tell, future))
        try:
            return await future
        finally:
            submitted.cancel()
            # A failure holds this frame, which must not hold the failure: the payload would wait for the collector.
            del submitted, future

    async def aside(self, work: Callable[[], T]) -> T:
        """The result of ``work`` (decoding a large body), run in the pool so that probes are answered meanwhile."""
        return await self.pool.run(work)

    def _join(self, batcher: Batcher, call: Call) -> None:
        """Let ``call`` wait for a batch of its model. Raises ``FailureError``, the call ended, for a wrong payload."""
        try:
            batcher.add(call)
        except FailureError:
            call.cancel()
            raise
        except Exception as error:
            call.cancel()
            raise self._failed(error, call) from error

    def _batcher(self, entry: Entry) -> Batcher | None:
        """The batcher of a model, made at its first call; None where each request is a call of its own."""
        model = entry.model
        if model.batching is None and self._wanted is None:
            return None
        found = self._batchers.get(model.name)
        if found is None or found.source is not model.batching:
            found = self._batchers[model.name] = self._new_batcher(entry)
        return found

    def _new_batcher(self, entry: Entry) -> Batcher:
        source, wanted = entry.model.batching, self._wanted
        predict = next(stage for stage in entry.predict if stage.name == "predict")
        batching: Batching
        if source is None or isinstance(source, Joining):
            limits = wanted or source or Joining()
            batching = joining.joined_payloads(predict, limits.max_batch_size, limits.max_latency_s)
        else:
            batching = source
            if wanted is not None:
                batching.max_batch_size, batching.max_latency_s = wanted.max_batch_size, wanted.max_latency_s
        batcher = Batcher(entry.model.name, batching, predict.call, self._bounds, self._failed)
        batcher.source, batcher.has_ids = source, wanted is not None
        return batcher

    def _start_sync(self, call: Call, stages: tuple[Stage, ...]) -> None:
        """All of a call's stages in one visit to the pool."""
        call.is_held = True
        times: list[tuple[str, float]] = []
        job = Job(
            partial(_run, stages, call.payload, call.context, times), self._settled(call, times, call.finish)
        )
        call.on_leave = lambda _call: setattr(job, "is_unwanted", True)
        self.pool.start(job)

    def _settled(
        self, call: Call, times: list[tuple[str, float]], tell: Callable[[Any], object]
    ) -> Callable[[Job], None]:
        """What to do on the loop when a job of ``call`` has ended: ``tell`` gets its result or ``FailureError``."""

        def settle(job: Job) -> None:
            for stage, seconds in times:
                self.metrics.observe_stage(stage, call.model, seconds)
                observing.note(call.context, stage, seconds)
            call.release()
            tell(job.result if job.error is None else self._failed(job.error, call))

        return settle

    def _start_task(
        self, call: Call, entry: Entry, batcher: Batcher | None, stages: tuple[Stage, ...]
    ) -> None:
        task = asyncio.get_running_loop().create_task(self._run_stages(call, entry, batcher, stages))
        self._tasks[call] = task
        task.add_done_callback(lambda _task: self._tasks.pop(call))
        call.on_leave = lambda _call: task.cancel()

    async def _run_stages(
        self, call: Call, entry: Entry, batcher: Batcher | None, stages: tuple[Stage, ...]
    ) -> None:
        """The stages of a call that has async ones, or a batch among others, one after the other."""
        payload = call.payload
        try:
            for stage in stages:
                if stage.name == "predict" and batcher is not None:
                    payload = await self._in_batch(call, entry, batcher, payload)
                elif stage.is_async:
                    began = time.perf_counter()
                    payload = await stage.call(payload, call.context)
                    seconds = time.perf_counter() - began
                    self.metrics.observe_stage(stage.name, call.model, seconds)
                    observing.note(call.context, stage.name, seconds)
                else:
                    payload = await self._in_thread(call, stage, payload)
        except asyncio.CancelledError:
            if not call.is_ended:  # the model's own code was cancelled, not its caller
                call.finish(self._failed(RuntimeError("model code raised CancelledError"), call))
            raise
        except BaseException as error:
            call.finish(self._failed(error, call))
        else:
            call.finish(payload)

    async def _in_thread(self, call: Call, stage: Stage, payload: Any) -> Any:
        future: asyncio.Future[Any] = asyncio.get_running_loop().create_future()
        times: list[tuple[str, float]] = []
        call.is_held = True
        settle = self._settled(call, times, partial(_tell, future))
        job = Job(partial(_run, (stage,), payload, call.context, times), settle)
        self.pool.start(job)
        try:
            return await future
        finally:
            job.is_unwanted = True
            del job, settle, future  # as in ``call``

    async def _in_batch(self, call: Call, entry: Entry, batcher: Batcher, payload: Any) -> Any:
        """The batch's answer, under a place and a deadline of its own that end with those of ``call``."""
        future: asyncio.Future[Any] = asyncio.get_running_loop().create_future()
        self.pool.calls += 1  # this call has been admitted already
        times = (call.arrived, call.deadline)
        inner = Call(entry, payload, call.context, partial(_tell, future), times, self._bounds)
        try:
            self._join(batcher, inner)
            return await future
        finally:
            inner.cancel()
            del inner, future  # as in ``call``

    def _late(self, call: Call) -> None:
        is_callers = call.context.deadline == call.deadline
        when = "before the request's deadline" if is_callers else f"within {self._timeout_s:g} s"
        progress = call.context.progress
        call.expire(f"model {call.model} gave no answer {when}{': ' if progress else ''}{progress}")

    def _failed(self, error: BaseException, call: Call) -> FailureError:
        if isinstance(error, FailureError):
            return error
        if isinstance(error, KeyError) and v1.lacks(call.payload, error.args):
            return v1.no_rows(call.payload)  # payload["instances"] in a user's own predict
        try:
            self.registry.ready(call.model)
        except FailureError as failure:  # unloaded under the call: no mistake of the model's
            return failure
        return _failure(call.model, sayable(error), error, call.context)

    def close(self) -> None:
        """Stop the timer and the pool's threads: the server ends."""
        self._bounds.deadlines.close()
        self.pool.close()


def _tell(future: asyncio.Future[Any], outcome: Any) -> None:
    if future.done():
        return
    if isinstance(outcome, FailureError):
        future.set_exception(outcome)
    else:
        future.set_result(outcome)


def _run(stages: tuple[Stage, ...], payload: Any, context: Context, times: list[tuple[str, float]]) -> Any:
    """In a thread: the sync stages, one after the other."""
    for stage in stages:
        began = time.perf_counter()
        payload = stage.call(payload, context)
        times.append((stage.name, time.perf_counter() - began))
    return payload


def _failure(name: str, said: Exception, error: BaseException, context: Context) -> FailureError:
    """An unexpected exception of model code as a failure, logged with its place; the payload is never logged."""
    where = error.__traceback__
    while where is not None and where.tb_next is not None:
        where = where.tb_next
    place = f"{where.tb_frame.f_code.co_filename}:{where.tb_lineno}" if where else ""
    text = " ".join(str(said).split())[:ERROR_CHARACTERS]
    log.error(
        "model raised",
        model=name,
        request_id=context.request_id,
        error=f"{type(said).__name__}: {text}",
        at=place,
    )
    failure = FailureError(FailureKind.INTERNAL, f"{type(said).__name__} : {text}")
    failure.__cause__ = error
    return failure
