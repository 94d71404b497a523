"""The V2 edge over HTTP: JSON and binary tensors in, JSON or binary out.

Called by ``http_edge`` (and by ``http_v1`` for events that carry V2). Source: kserve.md 5.2, 5.3. The body is binary
when its header ``Inference-Header-Content-Length`` is there or its type is ``application/octet-stream``.
numpy is imported on the first answer that needs it, not at start (runtimes have it loaded anyway).

Invariant: the answer holds exactly the outputs that the request lists, or all of them when it lists none.
"""

from __future__ import annotations

from typing import Any

from wakeful.core.errors import FailureError, FailureKind
from wakeful.core.protocol import json_pieces, oip, oip_answers, oip_binary, oip_known, v1
from wakeful.core.protocol.oip_known import KnownHead
from wakeful.core.protocol.oip_shares import Share
from wakeful.serving import http_replies, ids, translation
from wakeful.serving.exchange import Headers, Reply, Request
from wakeful.serving.model import Context, Model
from wakeful.serving.registry import Entry

BINARY = "application/octet-stream"
BINARY_HEADER = oip_binary.HEADER.lower()
_NONE: set[str] = set()
_FORM = {"binary_data"}
"""Parameters of an output that say no more than in which form it goes out."""
LARGE_BYTES = 256 * 1024
"""Bodies from here on are decoded in a thread: their element checks take longer than a probe may wait (1 us each)."""


def decode(request: Request) -> oip.InferRequest:
    """The request in whichever form it came. Raises ``InvalidError`` or ``SchemaError``."""
    body, headers = request.body, request.headers
    if is_plain(headers):
        return oip.decode_json(body)
    return oip_binary.decode(body, oip_binary.header_length(headers.first.get(BINARY_HEADER), len(body)))


def read_binary(request: Request, known: KnownHead | None) -> tuple[oip.InferRequest, KnownHead | None]:
    """As ``decode`` of a body that is not ``is_plain``, and what to keep for the next one under the same head."""
    body = request.body
    if known is not None and (inference := known.read(body)) is not None:
        return inference, known
    length = oip_binary.header_length(request.headers.first.get(BINARY_HEADER), len(body))
    inference = oip_binary.decode(body, length)
    return inference, oip_known.learn(body, length, inference)


def is_plain(headers: Headers) -> bool:
    """Whether a body under these headers is JSON as a whole."""
    first = headers.first
    return BINARY_HEADER not in first and v1.media_type(first.get("content-type", "")) != BINARY


def is_long(request: Request) -> bool:
    """Whether decoding takes longer than a probe may wait: by how much of the body is not plain binary tensors."""
    body = request.body
    if len(body) < LARGE_BYTES:
        return False
    length = request.headers.first.get(BINARY_HEADER, "")
    if not (length.isascii() and length.isdigit() and len(length) < 8):
        return True
    return int(length) >= LARGE_BYTES or b"BYTES" in body[: int(length)].upper()


def respond(entry: Entry, request: oip.InferRequest, result: Any) -> oip.InferResponse:
    """The model's answer to a decoded request, outputs selected and in JSON-able form where asked. Raises ``FailureError``."""
    return _selected(entry, request, result)[0]


def _selected(entry: Entry, request: oip.InferRequest, result: Any) -> tuple[oip.InferResponse, set[str]]:
    """The answer, and which of its outputs go out in binary form; the others are in a form that JSON can carry."""
    from wakeful.core.protocol.arrays import plain

    name = entry.model.name
    response = as_response(result, entry.model)
    response.model_name = name
    response.id = request.id or response.id or ids.answer_id()
    if not request.outputs and not request.parameters:
        response.outputs = [plain(tensor) for tensor in response.outputs]
        return response, _NONE
    response.outputs = oip.select_outputs(request, response)
    names = oip_binary.binary_names(request, response.outputs)
    response.outputs = [tensor if tensor.name in names else plain(tensor) for tensor in response.outputs]
    return response, names


def reply(entry: Entry, request: oip.InferRequest, context: Context, result: Any) -> Reply:
    """The HTTP answer to ``/v2/models/{m}/infer``."""
    headers = context.response_headers
    if headers:
        http_replies.tidy(headers)
        for given in [name for name in headers if name.lower() in ("content-type", BINARY_HEADER)]:
            del headers[given]
    if type(result) is Share and (quick := _of_share(request, headers, result)) is not None:
        return quick
    response, names = _selected(entry, request, result)
    if not names:
        content = oip.encode_json(response, response.outputs)
        headers["Content-Type"] = "application/json"
        return Reply(200, headers, content)
    from wakeful.core.protocol.arrays import raw_view

    raw = {tensor.name: raw_view(tensor) for tensor in response.outputs if tensor.name in names}
    buffers, length = oip_binary.encode(response, response.outputs, raw)
    headers["Content-Type"], headers[BINARY_HEADER] = BINARY, str(length)
    return Reply(200, headers, buffers)


def is_long_answer(request: oip.InferRequest, result: oip.InferResponse) -> bool:
    """Whether the reply takes longer to make than other requests may wait: by the numbers that go out one by one."""
    if type(result) is Share:
        return result.is_long and not wants_binary(request)
    total = 0
    outputs: Any = result.outputs  # whatever a model put there
    for tensor in outputs if type(outputs) is list else ():
        data: Any = getattr(tensor, "data", None)
        if type(data) is list or not wants_binary(request):  # else arrays and bytes go out as they are
            total += len(data) // 4 if type(data) is bytes else json_pieces.weight(data)
    return total > json_pieces.PIECE


def wants_binary(request: oip.InferRequest) -> bool:
    """Whether all outputs go out in binary form."""
    if request.outputs:
        return all(output.is_binary for output in request.outputs)
    return request.parameters.get("binary_data_output") is True


def wants_all(request: oip.InferRequest, share: Share) -> bool:
    """Whether the request wants the model's only output as it is, by name or by naming none."""
    wanted = request.outputs
    return not wanted or (
        len(wanted) == 1 and wanted[0].name == share.output_name and wanted[0].parameters.keys() <= _FORM
    )


def _of_share(request: oip.InferRequest, headers: dict[str, str], share: Share) -> Reply | None:
    """The answer where the request wants the model's only output, named or not; None: look closer."""
    wanted = request.outputs
    if wanted and not wants_all(request, share):
        return None
    answer_id = request.id or ids.answer_id()
    is_binary = wanted[0].is_binary if wanted else request.parameters.get("binary_data_output") is True
    if not is_binary:
        body = share.as_json(answer_id)
        if body is None:
            return None
        headers["Content-Type"] = "application/json"
        return Reply(200, headers, body)
    found = share.as_binary(answer_id)
    if found is None:
        return None
    buffers, length = found
    headers["Content-Type"], headers[BINARY_HEADER] = BINARY, str(length)
    return Reply(200, headers, buffers)


def as_response(result: Any, model: Model) -> oip.InferResponse:
    """What a model answered, as an ``InferResponse``; gRPC's edge calls it too. Raises ``FailureError``."""
    if type(result) is Share:
        return result
    match result:
        case oip.InferResponse():
            return oip_answers.whole(result, f"model {model.name}")
        case {"outputs": list(outputs)}:
            given = oip.InferResponse(outputs, id=result.get("id"), parameters=result.get("parameters"))
            return oip_answers.whole(given, f"model {model.name}")
        case {"predictions": _}:
            return translation.to_response(result, model.outputs())
        case _:
            raise FailureError(
                FailureKind.UNSUPPORTED,
                f"model {model.name} answered a V2 request with {type(result).__name__}, not an InferResponse: use :predict",
            )
