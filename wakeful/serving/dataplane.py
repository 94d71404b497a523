"""The one data plane: every edge calls it, it calls the model. Deadline, admission, stages, metrics.

Edges (HTTP V1, V2, CloudEvents; later gRPC) translate a request into a payload and a ``Context`` and call ``call``.
Sync stages of one request run together in one visit to the thread pool; ``async`` stages run on the loop.
Left out: protocols, and batching (a later issue puts it between here and the model).

Invariant: a model's failure leaves as a ``FailureError`` with its kind; cancellation passes through untouched.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from functools import partial
from typing import Any, Literal, TypeVar

from wakeful.core.errors import FailureError, FailureKind
from wakeful.kit import logs
from wakeful.serving.metrics import Metrics
from wakeful.serving.model import Context
from wakeful.serving.pool import Admission, Pool
from wakeful.serving.registry import Entry, Registry, Stage

T = TypeVar("T")
Verb = Literal["predict", "explain"]
ERROR_CHARACTERS = 500

log = logs.get("serving")


class DataPlane:
    """Calls of models, under one admission bound and one deadline."""

    def __init__(self, registry: Registry, pool: Pool, metrics: Metrics, timeout_s: float) -> None:
        self.registry = registry
        self.pool = pool
        self.metrics = metrics
        self._timeout_s = timeout_s

    async def call(self, entry: Entry, verb: Verb, payload: Any, context: Context) -> Any:
        """What the model answers to ``payload``. Raises ``FailureError`` (overloaded, deadline, internal, the model's)."""
        stages = entry.predict if verb == "predict" else entry.explain
        try:
            admission = self.pool.admit()
        except FailureError:
            self.metrics.rejected.labels("queue").inc()
            raise
        with admission:
            try:
                async with asyncio.timeout(self._timeout_s):
                    return await self._stages(admission, entry, stages, payload, context)
            except TimeoutError as error:
                raise FailureError(
                    FailureKind.DEADLINE,
                    f"model {entry.model.name} gave no answer within {self._timeout_s:g} s",
                ) from error

    async def aside(self, work: Callable[[], T]) -> T:
        """The result of ``work`` (decoding a large body), run in the pool so that probes are answered meanwhile."""
        with self.pool.admit() as admission:
            return await self.pool.run(admission, work)

    async def _stages(
        self, admission: Admission, entry: Entry, stages: tuple[Stage, ...], payload: Any, context: Context
    ) -> Any:
        name = entry.model.name
        try:
            if not any(stage.is_async for stage in stages):
                return await self.pool.run(admission, partial(self._run, name, stages, payload, context))
            for stage in stages:
                if stage.is_async:
                    started = time.perf_counter()
                    payload = await stage.call(payload, context)
                    self.metrics.observe_stage(stage.name, name, time.perf_counter() - started)
                else:
                    work = partial(self._run, name, (stage,), payload, context)
                    payload = await self.pool.run(admission, work)
            return payload
        except FailureError:
            raise
        except Exception as error:
            raise _failure(name, error, context) from error

    def _run(self, name: str, stages: tuple[Stage, ...], payload: Any, context: Context) -> Any:
        """In a thread: the sync stages, one after the other."""
        for stage in stages:
            started = time.perf_counter()
            payload = stage.call(payload, context)
            self.metrics.observe_stage(stage.name, name, time.perf_counter() - started)
        return payload


def _failure(name: str, error: Exception, context: Context) -> FailureError:
    """An unexpected exception of model code as a failure, logged with its place; the payload is never logged."""
    where = error.__traceback__
    while where is not None and where.tb_next is not None:
        where = where.tb_next
    place = f"{where.tb_frame.f_code.co_filename}:{where.tb_lineno}" if where else ""
    text = " ".join(str(error).split())[:ERROR_CHARACTERS]
    log.error(
        "model raised",
        model=name,
        request_id=context.request_id,
        error=f"{type(error).__name__}: {text}",
        at=place,
    )
    return FailureError(FailureKind.INTERNAL, f"{type(error).__name__} : {text}")
