"""The V1 edge: ``:predict``, ``:explain`` and events. Bytes to payload, answer to bytes; nothing of a model's meaning.

Called by ``http_edge`` with a body already read. A dict answer is JSON; str and bytes go out as they are; an async
iterator is streamed. On ``POST /`` an event whose data is a V2 request is answered as V2.

Invariant: readiness is asked before the body is parsed, so garbage to a model that is not ready gets 503.
"""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Any

from aiohttp import web

from wakeful.core.errors import FailureError, FailureKind
from wakeful.core.protocol import oip, problem, v1
from wakeful.serving import http_events, http_v2, streams
from wakeful.serving.dataplane import DataPlane, Verb
from wakeful.serving.model import Context
from wakeful.serving.registry import Entry

JSON = "application/json"


class V1Edge:
    """The V1 routes of one server; ``naming`` is what answer events are called."""

    def __init__(self, plane: DataPlane, naming: http_events.Naming) -> None:
        self._plane = plane
        self._naming = naming

    async def answer(
        self, entry: Entry, verb: Verb, request: web.BaseRequest, body: bytes, context: Context
    ) -> web.StreamResponse:
        """The answer to ``:predict`` or ``:explain``, where the body may be an event."""
        received = http_events.receive(request.headers, body)
        if received is not None:
            return await self.answer_event(entry, verb, received, context)
        payload = v1.decode(body, request.headers.get("Content-Type", ""))
        result = await self._plane.call(entry, verb, payload, context)
        if streams.is_stream(result):
            return await _stream(request, streams.parts(result, self._plane.aside), context)
        return _response(result, context)

    async def answer_event(
        self, entry: Entry, verb: Verb, received: http_events.Received, context: Context
    ) -> web.Response:
        """The answer event to an event: its data is a V1 payload, a V2 request, or raw bytes."""
        context.protocol = "cloudevents"
        payload = received.payload
        if is_v2(payload):
            result = await self._infer(entry, payload, context)
        else:
            payload = payload if isinstance(payload, bytes) else v1.check(payload)
            result = await self._plane.call(entry, verb, payload, context)
        if isinstance(result, str):
            result = result.encode()
        if streams.is_stream(result):
            raise FailureError(
                FailureKind.UNSUPPORTED, "a streamed answer cannot be an event: ask without streaming"
            )
        try:
            headers, body = http_events.answer(received, entry.model.name, result, self._naming)
        except TypeError as error:
            raise _no_json(error) from error
        return web.Response(body=body, headers=headers)

    async def _infer(self, entry: Entry, payload: dict[str, Any], context: Context) -> Any:
        inference = oip.from_object(payload)
        oip.complete_inputs(inference)
        answered = await http_v2.infer(self._plane, entry, inference, context)
        return problem.parse_json(oip.encode_json(answered, answered.outputs), "the answer")


def is_v2(payload: Any) -> bool:
    """Whether an event's data is a V2 request: ``inputs`` of named tensors (V1 has rows there)."""
    inputs = payload.get("inputs") if isinstance(payload, dict) else None
    return bool(
        isinstance(inputs, list) and inputs and isinstance(inputs[0], dict) and "datatype" in inputs[0]
    )


def _response(result: Any, context: Context) -> web.Response:
    headers = context.response_headers
    if isinstance(result, str):
        return web.Response(text=result, headers=headers)
    if isinstance(result, bytes | bytearray | memoryview):
        headers.setdefault("Content-Type", "application/octet-stream")
        return web.Response(body=bytes(result), headers=headers)
    try:
        body = oip.dump(result)
    except TypeError as error:
        raise _no_json(error) from error
    headers.setdefault("Content-Type", JSON)
    return web.Response(body=body, headers=headers)


def _no_json(error: TypeError) -> FailureError:
    return FailureError(FailureKind.INTERNAL, f"the model's answer has no JSON form: {error}")


async def _stream(
    request: web.BaseRequest, parts: AsyncIterator[bytes], context: Context
) -> web.StreamResponse:
    context.response_headers.setdefault("Content-Type", "text/event-stream")
    response = web.StreamResponse(headers=context.response_headers)
    await response.prepare(request)
    try:
        async for part in parts:
            await response.write(part)
    except Exception:  # the head is sent: the answer to an error would land inside this one's body
        if request.transport is not None:
            request.transport.abort()
        raise
    await response.write_eof()
    return response
