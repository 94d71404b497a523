"""The V1 edge: ``:predict``, ``:explain`` and events. Bytes to payload, answer to bytes; nothing of a model's meaning.

Called by ``http_edge`` with a whole request. ``prepare`` gives the payload for the model and a function that makes the
reply of the model's answer, so that between the two there is nothing but the data plane: no task, no future. A dict
answer is JSON; str and bytes go out as they are; a generator is streamed. An event whose data is a V2 request is
answered as V2.

Invariant: readiness is asked before the body is parsed, so garbage to a model that is not ready gets 503.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

from wakeful.core.errors import FailureError, FailureKind
from wakeful.core.protocol import cloudevents, json_pieces, json_values, oip, problem, v1
from wakeful.serving import event_types, http_events, http_replies, http_v2, streams, translation
from wakeful.serving.exchange import Headers, Reply, Request
from wakeful.serving.model import Context
from wakeful.serving.registry import Entry

JSON = "application/json"
Encode = Callable[[Context, Any], Reply]
EVENT_MARK = b'"specversion"'
"""What a JSON body that is an event has in it."""


class V1Edge:
    """The V1 routes of one server. ``naming`` is what answer events are called; ``aside`` runs work in the pool."""

    def __init__(self, aside: streams.Run, naming: http_events.Naming) -> None:
        self._aside = aside
        self.naming = naming

    def prepare(self, entry: Entry, request: Request, context: Context) -> tuple[Any, Encode]:
        """The payload of ``:predict`` or ``:explain``, where the body may be an event. Raises ``FailureError``."""
        headers = request.headers
        received = http_events.receive(headers, request.body)
        if received is not None:
            return self.prepare_event(entry, received, context)
        payload = v1.decode(request.body, headers.get("content-type", ""))
        return payload, self.reply

    def prepare_event(
        self, entry: Entry, received: http_events.Received, context: Context
    ) -> tuple[Any, Encode]:
        """The payload of an event: its data is a V1 object, a V2 request, or raw bytes. Raises ``FailureError``."""
        context.protocol, context.received = "cloudevents", received
        payload, inference = self.payload_of(received)
        return payload, partial(self._event_reply, entry, received, inference)

    def payload_of(self, received: http_events.Received) -> tuple[Any, oip.InferRequest | None]:
        """What the model gets of an event, and the V2 request if it is one. Raises ``FailureError``."""
        payload = received.payload
        if is_v2(payload):
            inference = oip.from_object(payload)
            oip.complete_inputs(inference)
            return inference, inference
        return payload if isinstance(payload, bytes) else v1.check(payload), None

    def reply(self, context: Context, result: Any) -> Reply:
        """The reply of a model's answer to a V1 request. Raises ``FailureError``."""
        headers = context.response_headers
        if headers:
            http_replies.tidy(headers)
            for given in [name for name in headers if name.lower() == "content-type"]:
                headers["Content-Type"] = headers.pop(given)  # whatever case the model's code wrote it in
        if type(result) is not dict:
            if isinstance(result, str):
                headers.setdefault("Content-Type", "text/plain; charset=utf-8")
                return Reply(200, headers, json_values.text(result))
            if isinstance(result, bytes | bytearray | memoryview):
                headers.setdefault("Content-Type", "application/octet-stream")
                return Reply(200, headers, bytes(result))
            if streams.is_stream(result):
                headers.setdefault("Content-Type", "text/event-stream")
                return Reply(200, headers, streams.parts(result, self._aside, context.deadline))
            if event_types.is_event(result):
                return Reply(200, *http_events.rendered(event_types.answered(result, None), False))
            if isinstance(result, oip.InferResponse):
                result = json_pieces.split(translation.to_predictions(result))
        if (
            context.batch_id and isinstance(result, dict) and "predictions" in result
        ):  # as KServe's batcher answers
            result = {"message": "", "batchId": context.batch_id, "predictions": result["predictions"]}
        headers.setdefault("Content-Type", JSON)
        return Reply(200, headers, json_values.answer(result))

    def _event_reply(
        self,
        entry: Entry,
        received: http_events.Received,
        inference: oip.InferRequest | None,
        _context: Context,
        result: Any,
    ) -> Reply:
        event = self.event_of(entry, received, inference, result)
        return Reply(200, *http_events.rendered(event, received.is_structured))

    def event_of(
        self,
        entry: Entry,
        received: http_events.Received,
        inference: oip.InferRequest | None,
        result: Any,
    ) -> cloudevents.Event:
        """The event that answers another with what the model said. Raises ``FailureError``."""
        if event_types.is_event(result):
            return event_types.answered(result, received.event)
        if inference is not None:
            answered = http_v2.respond(entry, inference, result)
            result = problem.parse_json(oip.encode_json(answered, answered.outputs), "the answer")
        elif isinstance(result, oip.InferResponse):
            result = translation.to_predictions(result)
        if isinstance(result, str):
            result = json_values.text(result)
        if streams.is_stream(result):
            raise FailureError(
                FailureKind.UNSUPPORTED, "a streamed answer cannot be an event: ask without streaming"
            )
        return http_events.answer(received.event, entry.model.name, result, self.naming)


def is_plain(headers: Headers) -> bool:
    """Whether a body under these headers is JSON, and no event unless its own members say so."""
    return v1.is_json(headers.first.get("content-type", "")) and not announces_event(headers)


def announces_event(headers: Headers) -> bool:
    """Whether headers say that an event comes; a plain body may be one too (``EVENT_MARK``)."""
    if v1.media_type(headers.first.get("content-type", "")) in http_events.EVENTS:
        return True
    return any(name in headers.first for name in http_events.REQUIRED_HEADERS)


def is_v2(payload: Any) -> bool:
    """Whether an event's data is a V2 request: ``inputs`` of named tensors (V1 has rows there)."""
    inputs = payload.get("inputs") if isinstance(payload, dict) else None
    return bool(
        isinstance(inputs, list) and inputs and isinstance(inputs[0], dict) and "datatype" in inputs[0]
    )
