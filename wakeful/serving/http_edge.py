"""The HTTP edge: one request in, one answer out. Routes, reads the body, calls an edge's codec, renders failures.

aiohttp's low-level server calls ``handle`` (no application, no middleware: those cost more than the codec).
Everything about a protocol is in ``http_v1``, ``http_v2`` and ``http_events``; everything about a model is in the data
plane. Error bodies are kserve.md 5.1's.

Invariant: every request gets exactly one answer with ``X-Request-Id``, and no exception leaves ``handle`` but
cancellation.
"""

from __future__ import annotations

import asyncio
from collections.abc import Mapping

from aiohttp import web
from prometheus_client.exposition import choose_encoder

from wakeful.core.errors import FailureError, FailureKind, InvalidError
from wakeful.core.protocol import oip, problem
from wakeful.kit import logs
from wakeful.serving import http_body, http_events, http_meta, http_routes, http_v1, http_v2, ids
from wakeful.serving.dataplane import DataPlane
from wakeful.serving.http_routes import Kind, Route
from wakeful.serving.model import Context
from wakeful.serving.registry import Entry
from wakeful.serving.startup import Startup

REQUEST_ID = "X-Request-Id"
REQUEST_ID_CHARACTERS = 128
READINESS = frozenset({Kind.ALIVE, Kind.V1_READY, Kind.V2_LIVE, Kind.V2_SERVER_READY, Kind.V2_MODEL_READY})
CLIENT_CLOSED = 499
BODY_STATUS = {
    http_body.BodyTooLargeError: 413,
    http_body.BodyTimeoutError: 408,
    http_body.EncodingError: 415,
    http_body.ExpectationError: 417,
}

log = logs.get("serving")


class Edge:
    """The handler of one server. ``in_flight``, ``idle`` and ``quiet`` are for the drain."""

    def __init__(
        self,
        plane: DataPlane,
        startup: Startup,
        budget: http_body.Budget,
        naming: http_events.Naming,
        has_repository: bool,
    ) -> None:
        self._plane = plane
        self._startup = startup
        self._budget = budget
        self._v1 = http_v1.V1Edge(plane, naming)
        self._meta = http_meta.Meta(plane.registry, startup, has_repository)
        self.in_flight = 0
        self.idle = asyncio.Event()
        self.idle.set()
        self._last_at = 0.0

    async def handle(self, request: web.BaseRequest) -> web.StreamResponse:
        """Answer one request."""
        request_id = _request_id(request.headers)
        route = http_routes.match(request.method, request.rel_url.raw_path)
        if isinstance(route, list):
            response: web.StreamResponse = _no_route(route)
        elif route.kind in http_routes.INFERENCE:
            response = await self._inference(request, route, request_id)
        else:
            response = await self._other(request, route)
        if not response.prepared:
            response.headers[REQUEST_ID] = request_id
            response.headers["Server"] = "wakeful"
            if self._startup.is_draining:
                response.force_close()
        return response

    async def _inference(self, request: web.BaseRequest, route: Route, request_id: str) -> web.StreamResponse:
        metrics = self._plane.metrics
        name, protocol, code = "-", "v2" if route.kind is Kind.V2_INFER else "v1", CLIENT_CLOSED
        self._enter()
        try:
            entry = self._entry(route)
            name = entry.model.name
            context = Context(request.headers, request_id, protocol)
            with self._budget.lease() as lease:
                body = await lease.read(request)
                response = await self._answer(request, route, entry, body, context)
            protocol = context.protocol
            code = response.status
        except Exception as error:
            response = _failed(error, request_id)
            code = response.status
        finally:
            self._leave()
            metrics.count(name, protocol, code)
        return response

    async def _answer(
        self, request: web.BaseRequest, route: Route, entry: Entry, body: bytes, context: Context
    ) -> web.StreamResponse:
        match route.kind:
            case Kind.V1_PREDICT:
                return await self._v1.answer(entry, "predict", request, body, context)
            case Kind.V1_EXPLAIN:
                return await self._v1.answer(entry, "explain", request, body, context)
            case Kind.V2_INFER:
                return await http_v2.answer(self._plane, entry, request, body, context)
            case _:
                received = http_events.receive(request.headers, body)
                if received is None:
                    raise InvalidError(
                        f"POST / takes CloudEvents; to predict, POST /v1/models/{entry.model.name}:predict "
                        f"or /v2/models/{entry.model.name}/infer"
                    )
                return await self._v1.answer_event(entry, "predict", received, context)

    def _entry(self, route: Route) -> Entry:
        name: str | None = route.model
        if route.kind is Kind.EVENT:
            name = self._plane.registry.only()
            if name is None:
                raise InvalidError(
                    "this server has several models: send the event to /v1/models/NAME:predict instead of /"
                )
        return self._plane.registry.ready(name or "")

    async def _other(self, request: web.BaseRequest, route: Route) -> web.Response:
        try:
            if route.kind is Kind.METRICS:
                self._plane.metrics.in_flight.set(self.in_flight)
                encode, content_type = choose_encoder(request.headers.get("Accept", ""))
                body = encode(self._plane.metrics.registry)
                return web.Response(body=body, headers={"Content-Type": content_type})
            response = _json(200, await self._meta.answer(route))
        except Exception as error:
            response = _failed(error, "")
        if route.kind in READINESS:
            response.headers["Server-Timing"] = self._startup.server_timing
        return response

    async def quiet(self, quiet_s: float) -> None:
        """Return when no inference request has been here for ``quiet_s``: nobody sends any more."""
        loop = asyncio.get_running_loop()
        since = loop.time()
        while True:
            await self.idle.wait()
            left_s = max(since, self._last_at) + quiet_s - loop.time()
            if left_s <= 0:
                return
            await asyncio.sleep(left_s)

    def _enter(self) -> None:
        self.in_flight += 1
        self.idle.clear()

    def _leave(self) -> None:
        self.in_flight -= 1
        if self.in_flight == 0:
            self._last_at = asyncio.get_running_loop().time()
            self.idle.set()


def _request_id(headers: Mapping[str, str]) -> str:
    given = headers.get(REQUEST_ID, "")
    if given and len(given) <= REQUEST_ID_CHARACTERS and given.isprintable() and given.isascii():
        return given
    return ids.request_id()


def _json(status: int, body: object, headers: Mapping[str, str] | None = None) -> web.Response:
    return web.Response(
        status=status, body=oip.dump(body), headers={"Content-Type": "application/json", **(headers or {})}
    )


def _no_route(methods: list[str]) -> web.Response:
    if methods:
        return _json(405, {"detail": "Method Not Allowed"}, {"Allow": ", ".join(methods)})
    return _json(404, {"detail": "Not Found"})


def _failed(error: Exception, request_id: str) -> web.Response:
    """The answer to a failure; what nobody expected is logged here."""
    if not isinstance(error, FailureError):
        log.error("request failed", request_id=request_id, error=f"{type(error).__name__}: {error}"[:500])
        error = FailureError(FailureKind.INTERNAL, "internal error; the server's log has the request id")
    rendered = problem.render(error)
    status, headers = rendered.status, {}
    status = next((code for kind, code in BODY_STATUS.items() if isinstance(error, kind)), status)
    if rendered.retry_after_s is not None:
        headers["Retry-After"] = str(rendered.retry_after_s)
    return _json(status, rendered.body, headers)
