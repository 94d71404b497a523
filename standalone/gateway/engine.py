"""Take each request to its end: probe, event ingress, revision, a host outside, or 404; and turn failures into answers.

The ``handler`` of ``front``. It decides where a request goes (``routing``, ``fleet``) and leaves the way there to
``passage``. Invariant: every exchange gets exactly one answer or is visibly cut off; a cancelled task ends its exchange.
"""

from __future__ import annotations

import asyncio
import hashlib
import random
from collections import deque
from collections.abc import Container, Iterable

from activator_hooks.hold import HoldFullError, WakeFailedError
from activator_hooks.timeline import Timeline
from standalone.gateway import explain, replies, routing, spans
from standalone.gateway.deadlines import Deadlines
from standalone.gateway.exchange import DialError, Exchange, Head, PodError
from standalone.gateway.fleet import Fleet
from standalone.gateway.inbox import BodyError
from standalone.gateway.measures import Measures
from standalone.gateway.passage import Passage, say
from standalone.gateway.pods_pool import Address, Pool
from standalone.gateway.podview import RevisionView
from standalone.gateway.revision import Revision
from standalone.gateway.settings import Limits
from wakeful.kit import logs
from wakeful.kit.tracing import Tracer

TIMELINES = 256
EVENT_SERVICE = "broker-ingress.knative-eventing"
EVENT_HOSTS = frozenset(EVENT_SERVICE + suffix for suffix in ("", ".svc", ".svc.cluster.local", ".localhost"))
VIA = b"1.1 wakeful"
HEALTH_AGENTS = (b"kube-probe/", b"Knative-Activator-Probe", b"Knative-Autoscaling-Probe")


class Engine:
    """The data path's decisions."""

    def __init__(
        self, fleet: Fleet, limits: Limits, events: Pool, measures: Measures, tracer: Tracer | None = None
    ) -> None:
        self._fleet = fleet
        self._limits = limits
        self._events = events
        self._measures = measures
        self.tracer = tracer
        fleet.on_gone = measures.forget
        self._log = logs.get("gateway")
        self.timelines: deque[Timeline] = deque(maxlen=TIMELINES)

    async def serve(self, exchange: Exchange) -> None:
        """Answer one request."""
        loop = asyncio.get_running_loop()
        task = asyncio.current_task()
        assert task is not None
        started = loop.time()
        passage = Passage(exchange, Deadlines(task, started), [])
        revision: Revision | None = None
        span = None
        try:
            revision = await self._find(exchange, passage)
            if revision is not None:
                span = spans.begin(self.tracer, exchange.head, revision)
                if span is not None:
                    passage.appended.append((b"traceparent", span.traceparent.encode()))
                await passage.to_revision(revision)
        except asyncio.CancelledError:
            if not passage.deadlines.expired:
                exchange.abort()
                raise
            task.uncancel()
            passage.time_out()
        except Exception as error:
            self._fail(exchange, passage, revision, error)
        finally:
            passage.deadlines.stop()
            if span is not None:
                spans.end(span, passage.status or 500, passage.was_held, passage.timeline)
        self._note(passage, revision, loop.time() - started)

    def _note(self, passage: Passage, revision: Revision | None, took_s: float) -> None:
        if passage.timeline is not None:
            self.timelines.append(passage.timeline)
            phases = {k: round(v, 1) for k, v in passage.timeline.phases_ms.items()}
            self._log.info("revision answered", revision=passage.timeline.revision, phases_ms=phases)
        if revision is not None and (revision.view.namespace, revision.view.name) in self._fleet.revisions:
            self._measures.served(revision.view.namespace, revision.view.name, passage.status or 500, took_s)

    # ---- where to

    async def _find(self, exchange: Exchange, passage: Passage) -> Revision | None:
        """The revision that is to serve; None when the request was answered here."""
        head = exchange.head
        host = routing.normal_host(head.authority)
        if host in EVENT_HOSTS:
            await self._to_events(passage)
            return None
        if not self._fleet.is_synced and not await self._wait_for_routes():
            self._answer(exchange, replies.text(503, NOT_READ, (b"retry-after", b"2")))
            return None
        decision = routing.decide(
            self._fleet.table, head.authority, head.target, head.headers, random.random()
        )
        if isinstance(decision, routing.NoRoute):
            if head.is_absolute and _is_outside(host):
                await self._to_outside(passage)
            else:
                views = (revision.view for revision in self._fleet.items())
                self._answer(exchange, replies.text(404, _no_route(decision, views, self._fleet.table.rules)))
            return None
        revision = self._fleet.revisions.get((decision.namespace, decision.revision))
        if revision is None:
            told = f'revision.serving.knative.dev "{decision.revision}" not found'
            self._answer(exchange, replies.text(404, told))
            return None
        probe = _answer_probe(head, revision, decision)
        if probe is not None:
            self._answer(exchange, probe)
            return None
        passage.appended = list(decision.appended)
        return revision

    async def _wait_for_routes(self) -> bool:
        try:
            async with asyncio.timeout(self._limits.sync_wait_s):
                await self._fleet.synced()
        except TimeoutError:
            return False
        return True

    async def _to_events(self, passage: Passage) -> None:
        try:
            await passage.to_pool(self._events, self._limits.default_timeout_s)
        except DialError:
            told = "the event ingress (process 'eventing') does not run: try again in a moment"
            self._answer(passage.exchange, replies.text(503, told, (b"retry-after", b"1")))

    async def _to_outside(self, passage: Passage) -> None:
        """A proxy request of a pod for a host that is none of ours."""
        head = passage.exchange.head
        if any(VIA in value for name, value in head.headers if name == b"via"):
            self._answer(passage.exchange, replies.text(508, f"{head.authority} leads back to this gateway"))
            return
        name, _, port = head.authority.rpartition(":") if head.authority[-1:].isdigit() else ("", "", "")
        host = name or head.authority
        passage.appended = [(b"via", VIA)]
        pool = Pool(Address(host.strip("[]"), int(port) if name and port.isdigit() else 80), self._limits)
        try:
            await passage.to_pool(pool, self._limits.default_timeout_s)
        finally:
            pool.close()

    # ---- what went wrong

    def _answer(self, exchange: Exchange, reply: replies.Reply) -> None:
        self._measures.answered(reply.status)
        say(exchange, reply)

    def _fail(
        self, exchange: Exchange, passage: Passage, revision: Revision | None, error: Exception
    ) -> None:
        reply = self._reply_to(revision, error)
        if isinstance(error, BodyError) or exchange.is_started:
            # the client is gone, or it must see that its answer is not complete
            exchange.abort()
            return
        passage.status = reply.status
        self._answer(exchange, reply)

    def _reply_to(self, revision: Revision | None, error: Exception) -> replies.Reply:
        match error:
            case HoldFullError():
                wait_s = 1 if revision is None else max(1, round(revision.last_wake_s))
                return replies.queue_full(wait_s)
            case WakeFailedError():
                name = "" if revision is None else revision.view.name
                told = f'revision "{name}" cannot serve: {explain.one_line(str(error))}'
                return replies.text(503, told, (b"retry-after", b"10"))
            case PodError():
                return replies.text(502, str(error))
            case BodyError():
                return replies.empty(500)
            case _:
                self._log.error("request failed", error=repr(error))
                return replies.text(500, "the gateway failed; its log has the reason")


HOW_TO_CALL = (
    "call http://NAME.NAMESPACE.localhost on this port, or send that as the Host header "
    "(kubectl get ksvc,isvc -A lists the URLs served here)"
)
NOT_READ = "the gateway has not read its routes yet (is the API server up?): try again in a moment"


def _no_route(decision: routing.NoRoute, revisions: Iterable[RevisionView], known: Container[str]) -> str:
    host = f'host "{decision.host[:200]}"'
    if decision.reason is routing.Miss.LOOP:
        return f"routes of {host} rewrite in a circle"
    if decision.reason is not routing.Miss.UNKNOWN_HOST:
        return f"no route for this path of {host}"
    why = explain.why_no_route(decision.host, revisions, known)
    return f"no route for {host}: {why or HOW_TO_CALL}"


def _is_outside(host: str) -> bool:
    return bool(host) and not routing.is_cluster_name(host) and not host.endswith("localhost")


def _answer_probe(head: Head, revision: Revision, decision: routing.ToRevision) -> replies.Reply | None:
    """Answers to Knative's probes (spec 3.1, 3.9): they reach no model, wake nothing and count nowhere."""
    asked = head.get(b"k-network-probe")
    if asked is None:
        agent = head.get(b"user-agent") or b""
        if not agent.startswith(HEALTH_AGENTS) and head.get(b"k-kubelet-probe") is None:
            return None
        asked = b"queue"
    if asked == b"probe":
        told = head.get(b"k-network-hash")
        if not told:
            return replies.text(400, 'a probe request must contain a non-empty "K-Network-Hash" header')
        if told == b"override":
            told = hashlib.sha256(repr(decision).encode()).hexdigest().encode()
        return replies.empty(200, (b"k-network-hash", told))
    if asked == b"activator":
        return _plain(200, b"activator")
    if asked == b"queue":
        return _plain(200, b"queue") if revision.hold.breaker.pods else replies.text(503, "no pod is ready")
    return replies.text(400, f'unexpected probe header value: "{asked.decode("latin-1")[:100]}"')


def _plain(status: int, body: bytes) -> replies.Reply:
    return replies.Reply(status, [(b"content-length", b"%d" % len(body))], body)
