"""The OpenAI edge: ``/v1/...`` and ``/openai/v1/...`` requests to replies, whole or as server-sent events.

Called by ``http_edge`` with a whole ``Request``. Parsing is ``core.protocol.openai``, the model is asked through the data plane,
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
from wakeful.serving import http_body, openai_stream
from wakeful.serving.dataplane import DataPlane
from wakeful.serving.exchange import CLIENT_CLOSED, Reply, Request
from wakeful.serving.http_meta import Meta
from wakeful.serving.http_routes import Kind, Route
from wakeful.serving.in_flight import InFlight, Watched
from wakeful.serving.metrics import Refusal
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


LIMITS = Limits()


class OpenAIEdge:
    """The OpenAI routes of one server; event loop only."""

    def __init__(self, plane: DataPlane, flights: InFlight, limits: Limits = LIMITS) -> None:
        self._plane = plane
        self._flights = flights
        self.limits = limits
        self._created = int(time.time())
        self._metrics: OpenAIMetrics | None = None
        self.open_streams = 0
        self.rejected = 0
        """Streams over the limit so far."""
        plane.metrics.count_refusals(Refusal.STREAMS, lambda: self.rejected)
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

    async def describe(self, route: Route, meta: Meta) -> dict[str, Any]:
        """The body of a GET about models; V1's two routes answer both protocols at once. Raises ``FailureError``."""
        match route.kind:
            case Kind.OPENAI_LIST:
                return self.listing()
            case Kind.OPENAI_MODEL:
                return self.one(route.model)
        known = self.models()
        if route.kind is Kind.V1_READY and route.model in set(known) - set(self._plane.registry.names()):
            return {"name": route.model, "ready": True} | self.one(route.model)  # an alias: V1 has none
        value = await meta.answer(route)
        assert isinstance(value, dict)
        if known and route.kind is Kind.V1_LIST:
            value |= self.listing()
        elif route.model in known:
            value |= self.one(route.model)
        return value

    async def engine_metrics(self) -> bytes:
        """What engines in processes of their own tell about themselves, in Prometheus' text form."""
        texts: list[str] = []
        for name in self._plane.registry.names():
            tell = getattr(self._plane.registry.entry(name).model, "metrics_text", None)
            if tell is not None:
                texts.append(await tell())
        return "".join(texts).encode()

    async def answer(
        self, task: str, request: Request, context: Context, limit: Callable[[Context], None]
    ) -> Reply:
        """The reply to a POST of ``task``; never raises but for cancellation. ``limit`` sets the caller's deadline."""
        name, code = "-", CLIENT_CLOSED
        leave = _once(self._flights.leave)
        self._flights.enter()
        try:
            try:
                self._flights.check()
                limit(context)
                call = openai.parse(Task(task), request.body)
                entry = self._entry(call.model)
                name = entry.model.name
                reply = await self._ask(entry, call, context)
            except Exception as error:
                reply = self.failed(error, context.request_id)
            code = reply.status
            if isinstance(reply.body, bytes | tuple):
                leave()
            else:
                reply.body = Watched(reply.body, leave)
            return reply
        except BaseException:
            leave()
            raise
        finally:
            self._plane.metrics.count(name, "openai", code)

    def failed(self, error: Exception, request_id: str) -> Reply:
        """The reply for ``error``."""
        failure = openai_stream.as_failure(error, request_id, self.limits.stall_s)
        reply = failed(failure)
        if isinstance(error, http_body.WireError):
            reply.status = error.status
        return reply

    async def _ask(self, entry: Entry, call: Call, context: Context) -> Reply:
        if not call.is_stream:
            body: bytes = await self._plane.call(entry, "predict", call, context)
            return Reply(200, {**JSON, **context.response_headers}, body)
        if self.open_streams >= self.limits.streams:
            self.rejected += 1
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
            left_s = context.remaining_s()
            async with asyncio.timeout(
                self.limits.stall_s if left_s is None else min(left_s, self.limits.stall_s)
            ):
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
            metrics.between.labels(name).observe,
            ended,
            self.limits.stall_s,
            context.request_id,
            context.deadline,
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
