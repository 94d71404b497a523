"""The HTTP edge: a whole request in, one reply out. Routes, asks the data plane, renders failures.

Wires (HTTP/1.1, HTTP/2) call ``begin``, ``screen`` and ``failed``; everything about a protocol is in ``http_v1``,
``http_v2``, ``http_events`` and ``openai_edge``, everything about a model in the data plane. V1 and V2 are an ``_Ask``: no task, no
future, no timer of its own. Everything else is rare and runs as a task. Error bodies are kserve.md 5.1's.

Invariant: every request gets exactly one reply, with ``X-Request-Id``, unless it is cancelled.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable
from functools import partial
from typing import Any

from prometheus_client.exposition import choose_encoder

from wakeful.core.errors import FailureError, FailureKind, InvalidError
from wakeful.core.protocol import oip, problem
from wakeful.kit import logs
from wakeful.serving import http_body, http_events, http_meta, http_routes, http_v1, http_v2, ids, openai_edge
from wakeful.serving.dataplane import DataPlane, Verb
from wakeful.serving.exchange import Answer, Cancel, Headers, Reply, Request
from wakeful.serving.http_routes import Kind, Route
from wakeful.serving.in_flight import InFlight, Watched
from wakeful.serving.model import Context
from wakeful.serving.registry import Entry
from wakeful.serving.startup import Startup

REQUEST_ID = "X-Request-Id"
REQUEST_ID_CHARACTERS = 128
READINESS = frozenset({Kind.ALIVE, Kind.V1_READY, Kind.V2_LIVE, Kind.V2_SERVER_READY, Kind.V2_MODEL_READY})
OPENAI_META = frozenset({Kind.OPENAI_LIST, Kind.OPENAI_MODEL, Kind.V1_LIST, Kind.V1_READY})
"""What OpenAI's clients ask too, V1's two in the same answer."""
CLIENT_CLOSED = 499
MAX_ROUTES = 1024

log = logs.get("serving")


class Edge:
    """The handler of one server's wires. ``flights`` are the inference requests that are being answered."""

    def __init__(
        self, plane: DataPlane, startup: Startup, naming: http_events.Naming, has_repository: bool
    ) -> None:
        self.plane = plane
        self.flights = InFlight()
        self._startup = startup
        self._v1 = http_v1.V1Edge(plane.aside, naming)
        self.meta = http_meta.Meta(plane.registry, startup, has_repository)
        self._openai = openai_edge.OpenAIEdge(plane, self.flights)
        self._routes: dict[tuple[str, str], Route | list[str]] = {}
        self._tasks: set[asyncio.Task[None]] = set()

    # What wires call.

    def begin(self, request: Request, answer: Answer) -> Cancel | None:
        """Begin to answer; what ends it when the client has gone."""
        route = self._route(request)
        request_id = _request_id(request.headers)
        if isinstance(route, list):
            answer(_stamped(_no_route(route), request_id))
            return None
        if route.kind in http_routes.INFERENCE:
            context = Context(request.headers, request_id, _protocol(route))
            return _Ask(self, route, context, answer).begin(request)
        if route.kind is Kind.OPENAI:
            context = Context(request.headers, request_id, "openai")
            work = self._openai.answer(route.task, request, context)
            return self.start(self._give(work, request_id, answer))
        return self.start(self._other(request, route, request_id, answer))

    def screen(self, head: Request) -> Reply | None:
        """The refusal of a request whose body is on its way, where no body could make it right."""
        route = self._route(head)
        if isinstance(route, list):
            return _stamped(_no_route(route), _request_id(head.headers))
        if route.kind in http_routes.INFERENCE:
            try:
                self.entry(route)
            except FailureError as error:
                return self.failed(head, error)
        return None

    def failed(self, head: Request | None, error: Exception) -> Reply:
        """The answer to a request that fails before or after the model; counted where it asks for inference."""
        request_id = ids.request_id() if head is None else _request_id(head.headers)
        route = [] if head is None else self._route(head)
        if isinstance(route, Route) and route.kind is Kind.OPENAI:
            return _stamped(self._openai.failed(error, request_id), request_id)
        reply = _stamped(_failed(error, request_id), request_id)
        if isinstance(route, Route) and route.kind in http_routes.INFERENCE:
            known = route.model if route.model in self.plane.registry.names() else "-"
            self.plane.metrics.count(known, _protocol(route), reply.status)
        return reply

    # Routes.

    def _route(self, request: Request) -> Route | list[str]:
        key = (request.method, request.target)
        route = self._routes.get(key)
        if route is None:
            route = http_routes.match(request.method, request.target)
            if len(self._routes) < MAX_ROUTES and isinstance(route, Route):
                self._routes[key] = route
        return route

    def entry(self, route: Route) -> Entry:
        """The model that ``route`` asks. Raises ``FailureError``."""
        name: str | None = route.model
        if route.kind is Kind.EVENT:
            name = self.plane.registry.only()
            if name is None:
                raise InvalidError(
                    "this server has several models: send the event to /v1/models/NAME:predict instead of /"
                )
        return self.plane.registry.ready(name or "")

    def prepare(
        self, route: Route, entry: Entry, request: Request, context: Context
    ) -> tuple[Any, http_v1.Encode]:
        """The payload for the model, and what makes the reply of its answer. Raises ``FailureError``."""
        if route.kind is Kind.V2_INFER:
            return http_v2.prepare(entry, request, context)
        if route.kind is not Kind.EVENT:
            return self._v1.prepare(entry, request, context)
        received = http_events.receive(request.headers, request.body)
        if received is None:
            raise InvalidError(
                f"POST / takes CloudEvents; to predict, POST /v1/models/{entry.model.name}:predict "
                f"or /v2/models/{entry.model.name}/infer"
            )
        return self._v1.prepare_event(entry, received, context)

    # What runs as a task.

    def start(self, work: Awaitable[None]) -> Cancel:
        """Run ``work``, which gives its own reply; what ends it."""
        task = asyncio.ensure_future(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        return task.cancel

    async def _give(self, work: Awaitable[Reply], request_id: str, answer: Answer) -> None:
        answer(_stamped(await work, request_id))

    async def _other(self, request: Request, route: Route, request_id: str, answer: Answer) -> None:
        try:
            if route.kind is Kind.METRICS:
                reply = await self._metrics(request)
            elif route.kind in OPENAI_META:
                reply = _json(200, await self._openai.describe(route, self.meta))
            else:
                reply = _json(200, await self.meta.answer(route))
        except Exception as error:
            reply = _failed(error, request_id)
        if route.kind in READINESS:
            reply.headers["Server-Timing"] = self._startup.server_timing
        answer(_stamped(reply, request_id))

    async def _metrics(self, request: Request) -> Reply:
        self.plane.metrics.in_flight.set(self.flights.count)
        more = await self._openai.engine_metrics()
        encode, content_type = choose_encoder("" if more else request.headers.get("accept", ""))
        return Reply(200, {"Content-Type": content_type}, encode(self.plane.metrics.registry) + more)


class _Ask:
    """One inference request: from the route to the reply, by callbacks."""

    __slots__ = ("_answer", "_context", "_edge", "_encode", "_is_open", "_name", "_route", "_stop")

    _encode: http_v1.Encode
    _stop: Cancel

    def __init__(self, edge: Edge, route: Route, context: Context, answer: Answer) -> None:
        self._edge = edge
        self._route = route
        self._context = context
        self._answer = answer
        self._name = "-"
        self._is_open = True
        edge.flights.enter()

    def begin(self, request: Request) -> Cancel | None:
        """Ask the model; what ends that. None: the reply is given already."""
        edge, route, context = self._edge, self._route, self._context
        try:
            entry = edge.entry(route)
            self._name = entry.model.name
            if route.kind is Kind.V2_INFER and http_v2.is_long(request):
                self._stop = edge.start(self._ask_aside(entry, request))
                return self.cancel
            payload, self._encode = edge.prepare(route, entry, request, context)
            verb: Verb = "explain" if route.kind is Kind.V1_EXPLAIN else "predict"
            self._stop = edge.plane.submit(entry, verb, payload, context, self._done).cancel
            return self.cancel
        except Exception as error:
            self._finish(_failed(error, context.request_id))
            return None

    async def _ask_aside(self, entry: Entry, request: Request) -> None:
        """The same, with the decoding in a thread."""
        edge, route, context = self._edge, self._route, self._context
        try:
            work = partial(edge.prepare, route, entry, request, context)
            payload, self._encode = await edge.plane.aside(work)
            self._done(await edge.plane.call(entry, "predict", payload, context))
        except Exception as error:
            self._finish(_failed(error, context.request_id))

    def _done(self, outcome: Any) -> None:
        try:
            if isinstance(outcome, FailureError):
                raise outcome
            reply = self._encode(outcome)
        except Exception as error:
            reply = _failed(error, self._context.request_id)
        self._finish(reply)

    def _finish(self, reply: Reply) -> None:
        if not self._is_open:
            return
        self._is_open = False
        edge, context = self._edge, self._context
        edge.plane.metrics.count(self._name, context.protocol, reply.status)
        if isinstance(reply.body, bytes | tuple):
            edge.flights.leave()
        else:
            reply.body = Watched(reply.body, edge.flights.leave)
        self._answer(_stamped(reply, context.request_id))

    def cancel(self) -> None:
        """The client has gone."""
        if self._is_open:
            self._is_open = False
            self._stop()
            self._edge.flights.leave()
            self._edge.plane.metrics.count(self._name, self._context.protocol, CLIENT_CLOSED)


def _protocol(route: Route) -> str:
    return "v2" if route.kind is Kind.V2_INFER else "v1"


def _stamped(reply: Reply, request_id: str) -> Reply:
    reply.headers[REQUEST_ID] = request_id
    return reply


def _request_id(headers: Headers) -> str:
    given = headers.first.get("x-request-id", "")
    if given and len(given) <= REQUEST_ID_CHARACTERS and given.isprintable() and given.isascii():
        return given
    return ids.request_id()


def _json(status: int, body: object, headers: dict[str, str] | None = None) -> Reply:
    return Reply(status, {"Content-Type": "application/json", **(headers or {})}, oip.dump(body))


def _no_route(methods: list[str]) -> Reply:
    if methods:
        return _json(405, {"detail": "Method Not Allowed"}, {"Allow": ", ".join(methods)})
    return _json(404, {"detail": "Not Found"})


def _failed(error: Exception, request_id: str) -> Reply:
    """The answer to a failure; what nobody expected is logged here."""
    if not isinstance(error, FailureError):
        log.error("request failed", request_id=request_id, error=f"{type(error).__name__}: {error}"[:500])
        error = FailureError(FailureKind.INTERNAL, "internal error; the server's log has the request id")
    rendered = problem.render(error)
    status = error.status if isinstance(error, http_body.WireError) else rendered.status
    headers = {} if rendered.retry_after_s is None else {"Retry-After": str(rendered.retry_after_s)}
    if status == 415:
        headers["Accept-Encoding"] = "gzip, deflate"
    return _json(status, rendered.body, headers)
