"""The broker's front door: ``POST /NAMESPACE/BROKER`` with one CloudEvent, 202 once it is safe on disk.

Called by the gateway for the host broker-ingress.knative-eventing. Source: Knative's ingress (reference section 4.4);
the order of checks is part of the contract: method, path, event (400), broker (404), hops (400). Beyond Knative: 413
for bodies over the limit, 429 with Retry-After when the broker is full, 503 with Retry-After when this process cannot
take more or cannot store.
Invariant: 202 is answered only after every Trigger that wants the event has a durable delivery of it.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable

from aiohttp import hdrs, web

from eventing.bodies import Bodies, BodyError
from eventing.metrics import Metrics
from eventing.ports import Broker, FullError, Publication, StoreError
from eventing.routes import Routes
from wakeful.core.api import instants
from wakeful.core.delivery import hops
from wakeful.core.protocol import cloudevents
from wakeful.core.protocol.cloudevents import Event, InvalidEventError, Limits, Rule
from wakeful.kit import logs

ALLOW = {"Allow": "POST, OPTIONS"}
WEBHOOK = {"WebHook-Allowed-Origin": "*", "WebHook-Allowed-Rate": "*"}
_TRACEPARENT = re.compile(r"[0-9a-f]{2}-[0-9a-f]{32}-[0-9a-f]{16}-[0-9a-f]{2}(-[!-~]*)?\Z")
MAX_TRACESTATE = 512
MAX_FORWARDED = 32


class Refusal(Exception):
    """An answer other than 202."""

    def __init__(self, status: int, text: str, retry_after_s: int = 0) -> None:
        super().__init__(text)
        self.status = status
        self.text = text
        self.retry_after_s = retry_after_s


class Ingress:
    """The handler of an ``aiohttp.web.Server``. ``on_accepted`` is told which consumers have something to do."""

    def __init__(
        self,
        broker: Broker,
        routes: Routes,
        bodies: Bodies,
        metrics: Metrics,
        clock: Callable[[], float],
        on_accepted: Callable[[Iterable[str]], None],
    ) -> None:
        self._broker = broker
        self._routes = routes
        self._bodies = bodies
        self._metrics = metrics
        self._clock = clock
        self._on_accepted = on_accepted
        self._limits = Limits(max_body_bytes=bodies.max_body_bytes)
        self._log = logs.get("ingress")

    async def handle(self, request: web.BaseRequest) -> web.Response:
        """Answer one request."""
        if request.method == hdrs.METH_OPTIONS:
            return web.Response(headers=ALLOW | WEBHOOK)
        broker = ""
        try:
            broker = _broker_key(request)
            await self._accept(request, broker)
        except Refusal as refusal:
            self._count(broker, refusal.status)
            headers = dict(ALLOW)
            if refusal.retry_after_s:
                headers["Retry-After"] = str(refusal.retry_after_s)
            return web.Response(status=refusal.status, text=refusal.text + "\n", headers=headers)
        self._count(broker, 202)
        return web.Response(status=202, headers=ALLOW)

    async def _accept(self, request: web.BaseRequest, broker: str) -> None:
        """The body's bytes are held, and counted, until the event is stored or refused."""
        try:
            async with self._bodies.receive(request) as body:
                event = cloudevents.decode(request.headers, body, self._limits)
                await self._admit(request, broker, event)
        except BodyError as error:
            raise Refusal(error.status, str(error), error.retry_after_s) from error
        except InvalidEventError as error:
            is_body = error.rule is Rule.TOO_LARGE and not error.attribute
            raise Refusal(413 if is_body else 400, f"invalid CloudEvent: {error}") from error

    async def _admit(self, request: web.BaseRequest, broker: str, event: Event) -> None:
        if not self._routes.is_synced:
            raise Refusal(503, "the broker is starting: its Triggers are not known yet", 1)
        if request.query_string:
            raise Refusal(404, "the path is /NAMESPACE/BROKER, without a query: see status.address.url")
        if not self._routes.has_broker(broker):
            namespace, _, name = broker.partition("/")
            raise Refusal(404, f"there is no Broker {name[:64]!r} in namespace {namespace[:64]!r}")
        admitted = hops.admit(event, instants.render_micro(instants.of_unix(self._clock())))
        if admitted is None:
            raise Refusal(400, f"{hops.TTL} is used up: the event went round in a loop")
        await self._publish(broker, admitted, request)

    async def _publish(self, broker: str, event: Event, request: web.BaseRequest) -> None:
        consumers = self._routes.consumers_for(broker, event)
        try:
            await self._broker.publish(
                Publication(broker, event, consumers, forwarded(request.headers.items()))
            )
        except FullError as error:
            raise Refusal(429, str(error), error.retry_after_s) from error
        except StoreError as error:
            self._log.error("event refused", broker=broker, error=str(error))
            raise Refusal(503, str(error), 5) from error
        self._on_accepted(consumers)

    def _count(self, broker: str, status: int) -> None:
        is_known = bool(broker) and self._routes.has_broker(broker)
        namespace, _, name = broker.partition("/") if is_known else ("", "", "")
        self._metrics.received.labels(namespace, name, str(status)).inc()


def forwarded(headers: Iterable[tuple[str, str]]) -> tuple[tuple[str, str], ...]:
    """The request headers that reach subscribers: tracing, ``x-request-id``, ``retry-after``, ``knative-*``."""
    kept: list[tuple[str, str]] = []
    trace: dict[str, str] = {}
    for raw_name, value in headers:
        name = raw_name.lower()
        if not value.isascii() or not value.isprintable():
            continue
        if name in ("traceparent", "tracestate"):
            trace[name] = value
        elif name in ("x-request-id", "retry-after") or name.startswith(("knative-", "x-b3-")):
            kept.append((name, value))
    parent, state = trace.get("traceparent"), trace.get("tracestate")
    if parent and _TRACEPARENT.match(parent):
        kept.insert(0, ("traceparent", parent))
        if state and len(state) <= MAX_TRACESTATE:
            kept.insert(1, ("tracestate", state))
    return tuple(kept[:MAX_FORWARDED])


def _broker_key(request: web.BaseRequest) -> str:
    """``NAMESPACE/NAME`` of the path. Raises ``Refusal``."""
    if request.method != hdrs.METH_POST:
        raise Refusal(405, "send events with POST")
    path = request.rel_url.raw_path
    if path in ("", "/"):
        raise Refusal(404, "the path is /NAMESPACE/BROKER: see the Broker's status.address.url")
    parts = path.removesuffix("/").split("/")
    if len(parts) != 3 or not parts[1] or not parts[2]:
        raise Refusal(400, "the path is /NAMESPACE/BROKER: see the Broker's status.address.url")
    return f"{parts[1]}/{parts[2]}"
