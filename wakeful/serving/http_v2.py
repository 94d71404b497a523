"""The V2 edge over HTTP: JSON and binary tensors in, JSON or binary out.

Called by ``http_edge`` (and by ``http_v1`` for events that carry V2). Source: kserve.md 5.2, 5.3. The body is binary
when its header ``Inference-Header-Content-Length`` is there or its type is ``application/octet-stream``.
numpy is imported on the first answer that needs it, not at start (runtimes have it loaded anyway).

Invariant: the answer holds exactly the outputs that the request lists, or all of them when it lists none.
"""

from __future__ import annotations

from functools import partial
from typing import Any

from aiohttp import web

from wakeful.core.errors import FailureError, FailureKind
from wakeful.core.protocol import oip, oip_binary, v1
from wakeful.serving import ids
from wakeful.serving.dataplane import DataPlane
from wakeful.serving.model import Context
from wakeful.serving.registry import Entry

BINARY = "application/octet-stream"
LARGE_BYTES = 256 * 1024
"""Bodies from here on are decoded in a thread: their element checks take longer than a probe may wait (1 us each)."""


def decode(request: web.BaseRequest, body: bytes) -> oip.InferRequest:
    """The request in whichever form it came. Raises ``InvalidError`` or ``SchemaError``."""
    length = request.headers.get(oip_binary.HEADER)
    if length is not None or v1.media_type(request.headers.get("Content-Type", "")) == BINARY:
        return oip_binary.decode(body, oip_binary.header_length(length, len(body)))
    return oip.decode_json(body)


async def infer(
    plane: DataPlane, entry: Entry, request: oip.InferRequest, context: Context
) -> oip.InferResponse:
    """The model's answer to a decoded request, outputs selected and in JSON-able form where asked. Raises ``FailureError``."""
    result = await plane.call(entry, "predict", request, context)
    response = _as_response(result, entry.model.name)
    response.model_name = entry.model.name
    response.id = request.id or response.id or ids.answer_id()
    response.outputs = oip.select_outputs(request, response)
    return _plain(response, oip_binary.binary_names(request, response.outputs))


async def answer(
    plane: DataPlane, entry: Entry, request: web.BaseRequest, body: bytes, context: Context
) -> web.Response:
    """The HTTP answer to ``/v2/models/{m}/infer``."""
    if len(body) < LARGE_BYTES:
        decoded = decode(request, body)
    else:
        decoded = await plane.aside(partial(decode, request, body))
    response = await infer(plane, entry, decoded, context)
    names = oip_binary.binary_names(decoded, response.outputs)
    headers = context.response_headers
    for name in ("Content-Type", "Content-Length"):
        headers.pop(name, None)
    if not names:
        try:
            content = oip.encode_json(response, response.outputs)
        except TypeError as error:
            raise FailureError(
                FailureKind.INTERNAL, f"the model's answer has no JSON form: {error}"
            ) from error
        return web.Response(body=content, headers={**headers, "Content-Type": "application/json"})
    from wakeful.serving import arrays

    raw = {tensor.name: arrays.raw(tensor) for tensor in response.outputs if tensor.name in names}
    content, length = oip_binary.encode(response, response.outputs, raw)
    return web.Response(
        body=content, headers={**headers, "Content-Type": BINARY, oip_binary.HEADER.lower(): str(length)}
    )


def _plain(response: oip.InferResponse, binary: set[str]) -> oip.InferResponse:
    """``response`` with data that its encoder can carry: lists stay, arrays become contiguous, bytes become text."""
    from wakeful.serving import arrays

    response.outputs = [
        tensor if tensor.name in binary else arrays.plain(tensor) for tensor in response.outputs
    ]
    return response


def _as_response(result: Any, model: str) -> oip.InferResponse:
    match result:
        case oip.InferResponse():
            return result
        case {"outputs": list(outputs)}:
            tensors = [
                oip.Tensor(o["name"], tuple(o["shape"]), o["datatype"], o["data"], o.get("parameters") or {})
                for o in outputs
            ]
            return oip.InferResponse(tensors, id=result.get("id"), parameters=result.get("parameters"))
        case _:
            raise FailureError(
                FailureKind.UNSUPPORTED,
                f"model {model} answered a V2 request with {type(result).__name__}, not an InferResponse: use :predict",
            )
