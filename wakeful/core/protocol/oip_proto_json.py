"""gRPC's inference messages in V2's JSON form: for the payload logger, so that one reader reads all protocols.

Beside the JSON of REST: ``model_name`` in requests too (REST has it in the path), FP16 and BF16 as numbers, BYTES that are
no UTF-8 text as ``{"b64": TEXT}``, infinities as null like NaN. Answers come framed as on the wire (flag, length,
message), so that the parts of a stream are told apart. Left out: anything but ``ModelInfer`` and its stream.

Invariant: pure, and no larger than some six times the message (a byte of a BOOL tensor is ``false,``).
"""

from __future__ import annotations

import base64
from typing import Any

from google.protobuf.message import DecodeError

from wakeful.core.errors import InvalidError
from wakeful.core.protocol import oip, oip_binary, oip_proto, oip_proto_caller
from wakeful.core.protocol.oip_messages import ModelInferResponse

Buffer = bytes | bytearray | memoryview
PREFIX_BYTES = 5


def request(content: Buffer) -> bytes:
    """The JSON of a ``ModelInferRequest``. Raises ``FailureError`` for one that the server refuses too."""
    incoming = oip_proto.decode(content)
    asked = incoming.request
    body: dict[str, Any] = {"model_name": incoming.model_name}
    if incoming.model_version:
        body["model_version"] = incoming.model_version
    if asked.id is not None:
        body["id"] = asked.id
    if asked.parameters:
        body["parameters"] = asked.parameters
    body["inputs"] = [_tensor(tensor) for tensor in asked.inputs]
    if asked.outputs:
        body["outputs"] = [{"name": item.name, "parameters": item.parameters} for item in asked.outputs]
    return oip.dump(body)


def answers(framed: Buffer) -> bytes:
    """The JSON of one ``ModelInferResponse`` with its prefix, or a list of several. Raises ``FailureError``."""
    found = [_answer(content) for content in messages(framed)]
    return oip.dump(found[0] if len(found) == 1 else found)


def messages(framed: Buffer) -> list[memoryview]:
    """The messages in uncompressed frames. Raises ``InvalidError`` where the last one is cut off."""
    view, found, start = memoryview(framed), [], 0
    while start < len(view):
        end = start + PREFIX_BYTES + int.from_bytes(view[start + 1 : start + PREFIX_BYTES], "big")
        if end > len(view):
            raise InvalidError("the last message is cut off")
        found.append(view[start + PREFIX_BYTES : end])
        start = end
    return found


def _answer(content: Buffer) -> dict[str, Any]:
    try:
        response = oip_proto_caller.decode(ModelInferResponse.FromString(content))
    except DecodeError as error:
        raise InvalidError("the message is no ModelInferResponse") from error
    return {
        "model_name": response.model_name,
        "model_version": response.model_version,
        "id": response.id,
        "parameters": response.parameters or None,
        "outputs": [_tensor(tensor) for tensor in response.outputs],
    }


def _tensor(tensor: oip.Tensor) -> dict[str, Any]:
    shown: dict[str, Any] = {"name": tensor.name, "shape": tensor.shape, "datatype": tensor.datatype}
    parameters = {key: value for key, value in tensor.parameters.items() if key != oip_binary.SIZE}
    if parameters:
        shown["parameters"] = parameters
    if tensor.datatype == "BYTES":
        shown["data"] = [_text(value) for value in tensor.data]
    else:
        from wakeful.core.protocol import arrays  # numpy, not before something is shown

        shown["data"] = arrays.to_array(tensor).reshape(-1)
    return shown


def _text(value: bytes) -> object:
    try:
        return value.decode()
    except UnicodeDecodeError:
        return {"b64": base64.b64encode(value).decode()}
