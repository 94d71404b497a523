"""The OpenAI edge: ``/v1/...`` and ``/openai/v1/...`` requests to replies, whole or as server-sent events.

Called by the HTTP edge with a whole ``Request``. Parsing is ``core.protocol.openai``, the model is asked through the data plane,
a stream's events go through ``openai_stream``. Streams are bounded in number; the bound on other calls is the data
plane's. Left out: sockets (the wire's), tokens (the engine's).

Invariant: a request has one reply; every failure is an error object; a stream's place is given back exactly once.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Callable, Iterator
from dataclasses import dataclass
from typing import Any

import orjson

from wakeful.core.errors import FailureError, FailureKind
from wakeful.core.protocol import openai, openai_answers, openai_errors
from wakeful.core.protocol.openai import Call, Task
from wakeful.core.protocol.openai_answers import Usage
from wakeful.core.protocol.openai_errors import ModelNotFoundError, RefusedError
from wakeful.serving import openai_stream
from wakeful.serving.dataplane import DataPlane
from wakeful.serving.exchange import Reply, Request
from wakeful.serving.model import Context
from wakeful.serving.openai_engine import OpenAIModel
from wakeful.serving.openai_metrics import OpenAIMetrics
from wakeful.serving.registry import Entry

JSON = {"Content-Type": "application/json"}
EVENTS = {
    "Content-Type": "text/event-stream; charset=utf-8",
    "Cache-Control": "no-cache",
    "X-Accel-Buffering": "no",
}
MAX_STREAMS = 512
SHOWN_NAMES = 16


@dataclass(frozen=True, slots=True)
class Limits:
    """What bounds streams."""

    stall_s: float = 300.0
    """Seconds to the first event, and between two."""
    streams: int = MAX_STREAMS
    """Streams open at one moment; then 503 and Retry-After."""


class OpenAIEdge:
    """The OpenAI routes of one server; event loop only."""

    def __init__(self, plane: DataPlane, limits: Limits = Limits()) -> None:
        self._plane = plane
        self._limits = limits
        self._created = int(time.time())
        self._metrics: OpenAIMetrics | None = None
        self.open_streams = 0
        if self.models():
            self._instruments()

    def models(self) -> list[str]:
        """The names that a request's ``model`` may have."""
        names: list[str] = []
        for name in self._plane.registry.names():
            model = self._plane.registry.entry(name).model
            if isinstance(model, OpenAIModel):
                names += [name, *model.aliases]
        return names

    def listing(self) -> dict[str, Any]:
        """The body of ``GET /openai/v1/models``."""
        return openai_answers.model_list(self.models(), self._created)

    def one(self, name: str) -> dict[str, Any]:
        """The body of ``GET /openai/v1/models/NAME``. Raises ``FailureError`` (not found, not ready)."""
        self._entry(name)
        return openai_answers.model_object(name, self._created)

    async def answer(self, task: Task, request: Request, context: Context) -> Reply:
        """The reply to a POST of ``task``; never raises but for cancellation."""
        name, code = "-", 499
        try:
            call = openai.parse(task, request.body)
            entry = self._entry(call.model)
            name = entry.model.name
            context.protocol = "openai"
            reply = await self._ask(entry, call, context)
            code = reply.status
            return reply
        except Exception as error:
            failure = openai_stream.as_failure(error, context.request_id, self._limits.stall_s)
            reply = failed(failure)
            code = reply.status
            return reply
        finally:
            self._plane.metrics.count(name, "openai", code)

    async def _ask(self, entry: Entry, call: Call, context: Context) -> Reply:
        if not call.is_stream:
            body: bytes = await self._plane.call(entry, "predict", call, context)
            return Reply(200, {**JSON, **context.response_headers}, body)
        if self.open_streams >= self._limits.streams:
            self._plane.metrics.rejected.labels("streams").inc()
            raise FailureError(
                FailureKind.OVERLOADED, f"{self.open_streams} streams are open, which is the limit", 1.0
            )
        self._place(1)
        leave = _once(lambda: self._place(-1))
        try:
            relay = await self._open(entry, call, context, leave)
        except BaseException:
            leave()
            raise
        return Reply(200, {**EVENTS, **context.response_headers}, relay)

    async def _open(
        self, entry: Entry, call: Call, context: Context, leave: Callable[[], object]
    ) -> openai_stream.Relay:
        """The stream with its first event there, so that a refusal is still an ordinary answer."""
        name = entry.model.name
        metrics = self._instruments()
        began = time.perf_counter()
        events: AsyncIterator[bytes] = await self._plane.call(entry, "predict", call, context)
        try:
            async with asyncio.timeout(self._limits.stall_s):
                first = await anext(events, None)
        except BaseException:
            await openai_stream.close(events)
            raise
        metrics.first.labels(name).observe(time.perf_counter() - began)

        def ended(is_whole: bool) -> None:
            leave()
            if not is_whole:
                metrics.cancelled.labels(name).inc()

        watch = openai_stream.Watch(
            metrics.between.labels(name).observe, ended, self._limits.stall_s, context.request_id
        )
        return openai_stream.Relay(first, events, watch)

    def _entry(self, name: str) -> Entry:
        """The ready model called ``name``, or the only one for ''. Raises ``FailureError``."""
        registry = self._plane.registry
        known = self.models()
        if not name:
            if len(known) != 1:
                raise RefusedError(f"model is missing; served here: {_shown(known)}", "model")
            name = known[0]
        for registered in registry.names():
            model = registry.entry(registered).model
            if registered == name or (isinstance(model, OpenAIModel) and name in model.aliases):
                if not isinstance(model, OpenAIModel):
                    raise FailureError(
                        FailureKind.UNSUPPORTED,
                        f"model {registered} answers V1 and V2 only, not OpenAI's routes",
                    )
                return registry.ready(registered)
        raise ModelNotFoundError(name[:80], _shown(known))

    def _place(self, step: int) -> None:
        self.open_streams += step
        self._instruments().streams.set(self.open_streams)

    def _instruments(self) -> OpenAIMetrics:
        if self._metrics is None:  # most servers have no such model
            self._metrics = OpenAIMetrics(self._plane.metrics.registry, self._totals)
        return self._metrics

    def _totals(self) -> Iterator[tuple[str, Usage]]:
        registry = self._plane.registry
        for name in registry.names():
            total = getattr(getattr(registry.entry(name).model, "engine", None), "total", None)
            if isinstance(total, Usage):
                yield name, total


def failed(error: FailureError) -> Reply:
    """The reply for ``error``."""
    problem = openai_errors.render(error)
    headers = dict(JSON)
    if problem.retry_after_s is not None:
        headers["Retry-After"] = str(problem.retry_after_s)
    return Reply(problem.status, headers, orjson.dumps(problem.body))


def _shown(names: list[str]) -> str:
    more = f" and {len(names) - SHOWN_NAMES} more" if len(names) > SHOWN_NAMES else ""
    return (", ".join(names[:SHOWN_NAMES]) or "none that does OpenAI's routes") + more


def _once(action: Callable[[], object]) -> Callable[[], None]:
    """``action``, at most once."""
    is_done = False

    def run() -> None:
        nonlocal is_done
        if not is_done:
            is_done = True
            action()

    return run
