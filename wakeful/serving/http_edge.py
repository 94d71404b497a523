"""The HTTP edge: a whole request in, one reply out. Routes, asks the data plane, renders failures.

Wires (HTTP/1.1, HTTP/2) call ``begin``, ``screen`` and ``failed``; everything about a protocol is in ``http_v1``,
``http_v2``, ``http_events`` and ``openai_edge``, everything about a model in the data plane. V1 and V2 inference is an
``Ask`` (``http_ask``): no task, no future, no timer of its own. Everything else is rare and runs as a task.

Invariant: every request gets exactly one reply, with ``X-Request-Id``, unless it is cancelled.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable

from prometheus_client import CollectorRegistry

from wakeful.core.errors import FailureError, InvalidError
from wakeful.serving import http_events, http_meta, http_replies, http_routes, http_v1, ids, openai_edge
from wakeful.serving.dataplane import DataPlane
from wakeful.serving.exchange import Answer, Cancel, Reply, Request
from wakeful.serving.http_ask import Ask, Facts
from wakeful.serving.http_replies import stamped
from wakeful.serving.http_routes import Kind, Route
from wakeful.serving.in_flight import InFlight
from wakeful.serving.model import Context
from wakeful.serving.registry import Entry
from wakeful.serving.startup import Startup

READINESS = frozenset({Kind.ALIVE, Kind.V1_READY, Kind.V2_LIVE, Kind.V2_SERVER_READY, Kind.V2_MODEL_READY})
OPENAI_META = frozenset({Kind.OPENAI_LIST, Kind.OPENAI_MODEL, Kind.V1_LIST, Kind.V1_READY})
"""What OpenAI's clients ask too, V1's two in the same answer."""


class Edge:
    """The handler of one server's wires. ``flights`` are the inference requests that are being answered."""

    def __init__(
        self,
        plane: DataPlane,
        startup: Startup,
        naming: http_events.Naming,
        has_repository: bool,
        max_concurrency: int = 0,
    ) -> None:
        self.plane = plane
        self.flights = InFlight(max_concurrency)
        self.all_pages: Callable[[], Awaitable[CollectorRegistry | None]] | None = None
        """Where this process is one of several workers: the metrics of all of them."""
        self._startup = startup
        self.v1 = http_v1.V1Edge(plane.aside, naming)
        self.meta = http_meta.Meta(plane.registry, startup, has_repository)
        self._openai = openai_edge.OpenAIEdge(plane, self.flights)
        self._tasks: set[asyncio.Task[None]] = set()

    # What wires call.

    def begin(self, request: Request, answer: Answer) -> Cancel | None:
        """Begin to answer; what ends it when the client has gone."""
        facts = self._facts(request)
        route = facts.route
        request_id = facts.given_id or ids.request_id()
        if isinstance(route, list):
            answer(stamped(http_replies.no_route(request, route), request_id))
            return None
        if facts.refusal is not None:
            answer(self.failed(request, facts.refusal))
            return None
        if route.kind in http_routes.INFERENCE:
            context = Context(request.headers, request_id, facts.protocol)
            return Ask(self, facts, context, answer).begin(request)
        if route.kind is Kind.OPENAI:
            context = Context(request.headers, request_id, "openai")
            work = self._openai.answer(route.task, request, context, facts.limit)
            return self.start(self._give(work, request_id, answer))
        return self.start(self._other(request, route, request_id, answer))

    def screen(self, head: Request) -> Reply | None:
        """The refusal of a request whose body is on its way, where no body could make it right."""
        facts = self._facts(head)
        route = facts.route
        if isinstance(route, list):
            return stamped(http_replies.no_route(head, route), http_replies.request_id(head.headers))
        if facts.refusal is not None:
            return self.failed(head, facts.refusal)
        if route.kind in http_routes.INFERENCE:
            try:
                self.entry(route)
            except FailureError as error:
                return self.failed(head, error)
        return None

    def failed(self, head: Request | None, error: Exception) -> Reply:
        """The answer to a request that fails before or after the model; counted where it asks for inference."""
        request_id = http_replies.request_id(None if head is None else head.headers)
        facts = None if head is None else self._facts(head)
        route = None if facts is None else facts.route
        if isinstance(route, Route) and route.kind is Kind.OPENAI:
            return stamped(self._openai.failed(error, request_id), request_id)
        reply = stamped(http_replies.failed(error, request_id), request_id)
        if facts is not None and isinstance(route, Route) and route.kind in http_routes.INFERENCE:
            self.plane.metrics.count(self.counted(route), facts.protocol, reply.status)
        return reply

    def counted(self, route: Route) -> str:
        """The model that a failure under ``route`` counts for, ``-`` for none of this server's."""
        return route.model if route.model in self.plane.registry.names() else "-"

    # Routes.

    def _facts(self, request: Request) -> Facts:
        facts = request.headers.memo
        if not isinstance(facts, Facts):
            facts = Facts(request, http_routes.match(request.method, request.target))
            request.headers.memo = facts
        return facts

    def entry(self, route: Route) -> Entry:
        """The model that ``route`` asks. Raises ``FailureError``."""
        if route.kind is not Kind.EVENT:
            return self.plane.registry.ready(route.model)
        name = self.plane.registry.only()
        if name is None:
            raise InvalidError(
                "this server has several models: send the event to /v1/models/NAME:predict instead of /"
            )
        return self.plane.registry.ready(name)

    # What runs as a task.

    def start(self, work: Awaitable[None]) -> Cancel:
        """Run ``work``, which gives its own reply; what ends it."""
        task = asyncio.ensure_future(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        return task.cancel

    async def _give(self, work: Awaitable[Reply], request_id: str, answer: Answer) -> None:
        answer(stamped(await work, request_id))

    async def _other(self, request: Request, route: Route, request_id: str, answer: Answer) -> None:
        try:
            if route.kind is Kind.METRICS:
                reply = await self._metrics(request)
            elif route.kind in OPENAI_META:
                reply = http_replies.json(200, await self._openai.describe(route, self.meta))
            else:
                reply = http_replies.json(200, await self.meta.answer(route, request.body))
        except Exception as error:
            is_openai = route.kind is Kind.OPENAI_MODEL
            reply = (self._openai if is_openai else http_replies).failed(error, request_id)
        if route.kind in READINESS:
            reply.headers["Server-Timing"] = self._startup.server_timing
        answer(stamped(reply, request_id))

    async def _metrics(self, request: Request) -> Reply:
        from prometheus_client.exposition import (
            choose_encoder,  # late: it brings three HTTP servers and a client
        )

        self.plane.metrics.in_flight.set(self.flights.count)
        more = await self._openai.engine_metrics()
        encode, content_type = choose_encoder("" if more else request.headers.get("accept", ""))
        registry = (await self.all_pages() if self.all_pages else None) or self.plane.metrics.registry
        return Reply(200, {"Content-Type": content_type}, encode(registry) + more)
