"""One V1 or V2 inference request over HTTP: from its route to its reply by callbacks, without a task or a future.

``http_edge`` makes an ``Ask`` a request. ``http_v1`` and ``http_v2`` turn the body into a payload and the model's answer
into a reply; the data plane is between them. Only a body whose decoding takes longer than a probe may wait goes by a
task. What a head means is found out once for all requests that have it (``Facts``).

Invariant: an ask gives one reply or is cancelled, and is in flight until then (a streamed one until its last part).
"""

from __future__ import annotations

import asyncio
from functools import partial
from typing import TYPE_CHECKING, Any

from wakeful.core.errors import FailureError, InvalidError
from wakeful.core.protocol import json_pieces, oip, v1
from wakeful.core.protocol.oip_known import KnownHead
from wakeful.core.protocol.oip_shares import Share
from wakeful.serving import http_event_batch, http_events, http_replies, http_v1, http_v2, translation
from wakeful.serving.dataplane import Verb
from wakeful.serving.exchange import CLIENT_CLOSED, Answer, Cancel, Reply, Request
from wakeful.serving.http_routes import Kind, Route
from wakeful.serving.in_flight import Watched
from wakeful.serving.model import Context
from wakeful.serving.registry import Entry

if TYPE_CHECKING:
    from wakeful.serving.http_edge import Edge

TIMEOUT_HEADER = "x-request-timeout"
MAX_TIMEOUT_S = 86_400.0
JSON_KINDS = (Kind.V2_INFER, Kind.OPENAI)
_AS_JSON = oip.InferRequest([])
BATCH_KINDS = (Kind.V1_PREDICT, Kind.V1_EXPLAIN, Kind.EVENT)


class Facts:
    """What method, target and headers say of every request that has them."""

    __slots__ = (
        "given_id",
        "is_batch",
        "is_plain",
        "is_plain_v2",
        "known",
        "protocol",
        "refusal",
        "route",
        "timeout",
        "verb",
    )

    def __init__(self, request: Request, route: Route | list[str]) -> None:
        self.route = route
        self.timeout = request.headers.first.get(TIMEOUT_HEADER)
        self.given_id = http_replies.given_id(request.headers)
        kind = route.kind if isinstance(route, Route) else None
        self.protocol = "v2" if kind is Kind.V2_INFER else "v1"
        self.verb: Verb = "explain" if kind is Kind.V1_EXPLAIN else "predict"
        self.is_plain = kind in (Kind.V1_PREDICT, Kind.V1_EXPLAIN) and http_v1.is_plain(request.headers)
        """Whether a V1 body is JSON and no event, unless it says so itself."""
        self.is_plain_v2 = kind is Kind.V2_INFER and http_v2.is_plain(request.headers)
        """Whether a V2 body is JSON as a whole."""
        self.known: KnownHead | None = None
        """What the JSON part of the last binary V2 body said."""
        self.refusal = _refusal(kind, request.headers.first.get("content-type", ""))
        """Why no body under this head can be read."""
        self.is_batch = kind in BATCH_KINDS and http_events.is_batch(request.headers)

    def limit(self, context: Context) -> None:
        """Give ``context`` the deadline that the client asked for. Raises ``InvalidError``."""
        if self.timeout is None:
            return
        try:
            seconds = float(self.timeout.replace("_", "?"))  # Python would take 1_000
        except ValueError:
            seconds = -1.0
        if not 0 < seconds <= MAX_TIMEOUT_S:
            raise InvalidError(
                f"X-Request-Timeout {self.timeout[:40]!r}: send seconds, more than 0 and at most {MAX_TIMEOUT_S:g}"
            )
        context.deadline = asyncio.get_running_loop().time() + seconds


class Ask:
    """One inference request."""

    __slots__ = (
        "_answer",
        "_context",
        "_edge",
        "_encode",
        "_facts",
        "_is_open",
        "_name",
        "_request",
        "_stop",
    )

    _encode: http_v1.Encode
    _request: oip.InferRequest | None
    """What was asked by V2; None: by V1 or as an event."""
    _stop: Cancel

    def __init__(self, edge: Edge, facts: Facts, context: Context, answer: Answer) -> None:
        self._edge = edge
        self._facts = facts
        self._context = context
        self._answer = answer
        self._name = "-"
        self._is_open = True
        self._request = None

    def begin(self, request: Request) -> Cancel | None:
        """Ask the model; what ends that. None: the reply is given already."""
        edge, facts, context = self._edge, self._facts, self._context
        edge.flights.enter()
        try:
            edge.flights.check()
            if facts.timeout is not None:
                facts.limit(context)
            entry = edge.entry(facts.route)  # type: ignore[arg-type]  # an Ask has a route
            self._name = entry.model.name
            if facts.is_batch:
                self._stop = edge.start(self._ask_each(entry, request))
                return self.cancel
            body = request.body
            if len(body) >= http_v2.LARGE_BYTES and http_v2.is_long(request):
                self._stop = edge.start(self._ask_aside(entry, request))
                return self.cancel
            payload: Any
            if facts.is_plain_v2:
                payload = self._request = oip.decode_json(body)
                self._encode = partial(http_v2.reply, entry, payload)
            elif facts.protocol == "v2":
                payload, facts.known = http_v2.read_binary(request, facts.known)
                self._request = payload
                self._encode = partial(http_v2.reply, entry, payload)
            elif facts.is_plain and http_v1.EVENT_MARK not in body:
                payload, self._encode = v1.decode_object(body), edge.v1.reply
            else:
                payload, self._encode = self._prepare(entry, request)
            self._stop = edge.plane.submit(entry, facts.verb, payload, context, self._done).cancel
            return self.cancel
        except Exception as error:
            if self._name == "-":
                self._name = edge.counted(facts.route)  # type: ignore[arg-type]  # an Ask has a route
            self._finish(http_replies.failed(error, context.request_id))
            return None

    def _prepare(self, entry: Entry, request: Request) -> tuple[Any, http_v1.Encode]:
        """The payload for the model, and what makes the reply of its answer. Raises ``FailureError``."""
        edge, route, context = self._edge, self._facts.route, self._context
        assert isinstance(route, Route)
        if route.kind is Kind.V2_INFER:
            payload = self._request = http_v2.decode(request)
            return payload, partial(http_v2.reply, entry, payload)
        if route.kind is not Kind.EVENT:
            return edge.v1.prepare(entry, request, context)
        received = http_events.receive(request.headers, request.body)
        if received is None:
            raise InvalidError(
                f"POST / takes CloudEvents; to predict, POST /v1/models/{entry.model.name}:predict "
                f"or /v2/models/{entry.model.name}/infer"
            )
        return edge.v1.prepare_event(entry, received, context)

    async def _ask_aside(self, entry: Entry, request: Request) -> None:
        """The same, with the decoding in a thread."""
        plane, context = self._edge.plane, self._context
        try:
            payload, self._encode = await plane.aside(partial(self._prepare, entry, request))
            if entry.model.takes != "either":  # else ``submit`` does it, on the loop
                payload = await plane.aside(partial(translation.payload_for, entry.model, payload))
            self._done(await plane.call(entry, self._facts.verb, payload, context))
        except Exception as error:
            self._finish(http_replies.failed(error, context.request_id))

    async def _ask_each(self, entry: Entry, request: Request) -> None:
        """The same for each event of a batch."""
        edge, context = self._edge, self._context
        batch = http_event_batch.Batch(edge.v1, edge.plane, entry, self._facts.verb, edge.flights.limit)
        try:
            self._finish(await batch.answer(request, context))
        except Exception as error:
            self._finish(http_replies.failed(error, context.request_id))

    def _done(self, outcome: Any) -> None:
        try:
            if isinstance(outcome, FailureError):
                reply = http_replies.failed(outcome, self._context.request_id)
            elif self._is_long(outcome):
                self._stop = self._edge.start(self._done_aside(outcome))
                return
            else:
                reply = self._encode(self._context, outcome)
        except Exception as error:
            reply = http_replies.failed(error, self._context.request_id)
        self._finish(reply)

    def _is_long(self, outcome: Any) -> bool:
        """Whether making the reply takes longer than other requests may wait."""
        kind = type(outcome)
        if kind is Share:
            return outcome.is_long and http_v2.is_long_answer(self._request or _AS_JSON, outcome)
        if kind is dict:
            return json_pieces.is_long(outcome)
        return kind is oip.InferResponse and http_v2.is_long_answer(self._request or _AS_JSON, outcome)

    async def _done_aside(self, outcome: Any) -> None:
        """The reply, made in a thread that no model waits for: one of the pool's may be busy for long."""
        try:
            loop = asyncio.get_running_loop()
            reply = await loop.run_in_executor(None, self._encoded, outcome)
        except Exception as error:
            reply = http_replies.failed(error, self._context.request_id)
        self._finish(reply)

    def _encoded(self, outcome: Any) -> Reply:
        if self._request is None and type(outcome) is dict:
            outcome = json_pieces.split(outcome)
        return self._encode(self._context, outcome)

    def _finish(self, reply: Reply) -> None:
        if not self._is_open:
            return
        self._is_open = False
        self._stop = _nothing
        edge, context = self._edge, self._context
        edge.plane.metrics.count(self._name, context.protocol, reply.status)
        if isinstance(reply.body, bytes | tuple):
            edge.flights.leave()
        else:
            reply.body = Watched(reply.body, edge.flights.leave)
        reply.headers[http_replies.REQUEST_ID] = context.request_id
        self._answer(reply)

    def cancel(self) -> None:
        """The client has gone."""
        if self._is_open:
            self._is_open = False
            stop, self._stop = self._stop, _nothing
            stop()
            self._edge.flights.leave()
            self._edge.plane.metrics.count(self._name, self._context.protocol, CLIENT_CLOSED)


def _refusal(kind: Kind | None, content_type: str) -> InvalidError | None:
    """For events where none are taken, and JSON in another charset than UTF-8 (what a V1 model takes as bytes may be in any)."""
    if kind is Kind.V2_INFER and v1.media_type(content_type) in http_events.EVENTS:
        return InvalidError(
            "this route takes V2 requests: send events, with V2 data too, to /v1/models/NAME:predict"
        )
    if kind not in JSON_KINDS and (kind not in BATCH_KINDS or not v1.is_json(content_type)):
        return None
    try:
        v1.check_charset(content_type)
    except InvalidError as error:
        return error.with_traceback(None)
    return None


def _nothing() -> None:
    """What ends an ask that has ended. It no longer holds its call, which holds it: a cycle a request would be work for the
    garbage collector (a tenth of the processor time, in pauses of milliseconds).
    """
