"""V2 inference in protobuf from the caller's side: ``oip.InferRequest`` to ``ModelInferRequest``, and answers back.

Called by the gRPC client, and by the payload logger to read what the server answered. The server's side and what both
share is ``oip_proto``. Tensors of requests go as raw contents. An answer is not trusted: counts, sizes and types are
checked before numpy sees them.

Invariant: a decoded tensor has a known datatype and as many elements as its shape says.
"""

from __future__ import annotations

from typing import Any

from wakeful.core.errors import FailureError, FailureKind
from wakeful.core.protocol import oip, oip_binary, oip_proto
from wakeful.core.protocol.oip_messages import ModelInferRequest
from wakeful.core.protocol.problem import shown


def encode(model: str, request: oip.InferRequest) -> Any:
    """The ``ModelInferRequest`` of ``request``. Raises ``FailureError`` (invalid) for parameters that gRPC cannot carry."""
    from wakeful.core.protocol import arrays  # numpy, for who sends tensors

    message = ModelInferRequest(model_name=model, id=request.id or "")
    invalid = FailureKind.INVALID
    oip_proto.set_parameters(message.parameters, request.parameters, "the request", invalid)
    for tensor in request.inputs:
        item = message.inputs.add(name=tensor.name, datatype=tensor.datatype, shape=tensor.shape)
        oip_proto.set_parameters(item.parameters, tensor.parameters, f"input {shown(tensor.name)}", invalid)
        message.raw_input_contents.append(arrays.raw(tensor))
    for output in request.outputs:
        item = message.outputs.add(name=output.name)
        oip_proto.set_parameters(item.parameters, output.parameters, f"output {shown(output.name)}", invalid)
    return message


def decode(reply: Any) -> oip.InferResponse:
    """What a ``ModelInferResponse`` holds. Raises ``FailureError`` (internal): counts, sizes or types do not fit."""
    raw = reply.raw_output_contents
    if raw and len(raw) != len(reply.outputs):
        raise _broken(f"{len(reply.outputs)} outputs and {len(raw)} raw contents")
    outputs = []
    for place, item in enumerate(reply.outputs):
        values = oip_proto.parameters(item.parameters)
        values.pop(oip_binary.SIZE, None)
        tensor = oip.Tensor(item.name, tuple(item.shape), item.datatype.upper(), None, values)
        if tensor.datatype not in oip.ELEMENT_BYTES or any(size < 0 for size in tensor.shape):
            raise _broken(
                f"output {shown(tensor.name)} is {shown(tensor.datatype)} of shape {list(tensor.shape)}"
            )
        tensor.data = _raw(tensor, raw[place]) if raw else _contents(tensor, item.contents)
        outputs.append(tensor)
    version = reply.model_version or None
    parameters = oip_proto.parameters(reply.parameters)
    return oip.InferResponse(outputs, reply.model_name, reply.id or None, version, parameters)


def _raw(tensor: oip.Tensor, content: bytes) -> Any:
    if tensor.datatype == "BYTES":
        try:
            return oip_binary.split_bytes(tensor, memoryview(content))
        except FailureError as error:
            raise _broken(str(error)) from error
    if len(content) != tensor.size * oip.ELEMENT_BYTES[tensor.datatype]:
        raise _broken(f"output {shown(tensor.name)} of shape {list(tensor.shape)} has {len(content)} bytes")
    return memoryview(content)


def _contents(tensor: oip.Tensor, contents: Any) -> list[Any]:
    field = oip_proto.CONTENTS.get(tensor.datatype)
    elements = list(getattr(contents, field)) if field else []
    if len(elements) != tensor.size:
        raise _broken(
            f"output {shown(tensor.name)} of shape {list(tensor.shape)} has {len(elements)} elements"
        )
    return elements


def _broken(why: str) -> FailureError:
    return FailureError(FailureKind.INTERNAL, f"the server's gRPC answer cannot be read: {why}")
