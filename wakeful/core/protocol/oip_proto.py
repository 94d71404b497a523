"""V2 inference in protobuf: ``ModelInferRequest`` to ``oip.InferRequest``, and answers to ``ModelInferResponse``.

Called by the model server's gRPC edge; the caller's side is ``oip_proto_caller``. Sources: kserve.md 5.4 and ``proto/open_inference.proto``.
Raw contents of large messages are views of the received bytes: the top-level fields are walked here, the raw ones are
taken out and the rest (names, shapes) is left to protobuf. The rest may have ``MAX_STRUCTURE_BYTES``: elements one by one
take up to 25 times their wire size in memory, which is what raw contents are for.
Worked number: field 7 (raw_input_contents) of wire type 2 begins with the tag 7 << 3 | 2 = 58.

Invariant: as ``oip``: a decoded tensor has a known datatype and exactly as many elements as its shape says.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

from google.protobuf.message import DecodeError

from wakeful.core.errors import FailureError, FailureKind, InvalidError
from wakeful.core.protocol import oip, oip_binary, oip_elements
from wakeful.core.protocol.oip_messages import ModelInferRequest, ModelInferResponse
from wakeful.core.protocol.oip_shares import RawOutput
from wakeful.core.protocol.problem import shown

Buffer = bytes | bytearray | memoryview
LARGE_BYTES = 64 * 1024
"""From here on raw contents are not copied."""
MAX_NAME = 256
"""Characters of an output's name that are kept in memory after it was sent."""
MAX_STRUCTURE_BYTES = 16 * 1024 * 1024
MAX_FIELDS = 8 * oip.MAX_TENSORS
CONTENTS = {
    "BOOL": "bool_contents",
    "INT8": "int_contents",
    "INT16": "int_contents",
    "INT32": "int_contents",
    "INT64": "int64_contents",
    "UINT8": "uint_contents",
    "UINT16": "uint_contents",
    "UINT32": "uint_contents",
    "UINT64": "uint64_contents",
    "FP32": "fp32_contents",
    "FP64": "fp64_contents",
    "BYTES": "bytes_contents",
}
"""Where a datatype's elements are; the others (FP16, BF16) travel raw only."""
_CHECKED = frozenset({"INT8", "INT16", "UINT8", "UINT16"})
_NAME_TAG, _RAW_INPUT_TAG, _RAW_OUTPUT_TAG = 1 << 3 | 2, 7 << 3 | 2, b"\x32"


@dataclass(slots=True)
class Incoming:
    """One request and what only gRPC says about it."""

    model_name: str
    model_version: str
    request: oip.InferRequest
    is_raw: bool
    """It came with raw contents, so that the answer goes out raw."""


def decode(body: Buffer) -> Incoming:
    """A request from the bytes of a ``ModelInferRequest``. Raises ``InvalidError``."""
    if len(body) < LARGE_BYTES:
        message = _parse(body)
        raw = [memoryview(content) for content in message.raw_input_contents]
    else:
        rest, raw = _take_raw(memoryview(body))
        message = _parse(rest)
    inputs = [
        oip.Tensor(item.name, tuple(item.shape), item.datatype.upper(), None, parameters(item.parameters))
        for item in message.inputs
    ]
    if not inputs:
        raise InvalidError("the request has no inputs: send at least one tensor")
    if len(inputs) > oip.MAX_TENSORS or len(message.outputs) > oip.MAX_TENSORS:
        raise InvalidError(f"a request may name at most {oip.MAX_TENSORS} inputs and as many outputs")
    outputs = [oip.RequestedOutput(item.name, False, parameters(item.parameters)) for item in message.outputs]
    request = oip.InferRequest(inputs, outputs, message.id or None, parameters(message.parameters))
    oip.check(request)
    if raw:
        _fill_raw(message.inputs, inputs, raw)
    else:
        for item, tensor in zip(message.inputs, inputs, strict=True):
            _fill(item, tensor)
    return Incoming(message.model_name, message.model_version, request, bool(raw))


def weight(body: Buffer) -> int:
    """Bytes of a message that are decoded one element at a time (30 ns to 300 ns each); raw numbers are not. Raises ``InvalidError``."""
    if len(body) < LARGE_BYTES:
        return len(body)
    rest, _ = _take_raw(memoryview(body))
    return len(body) if b"BYTES" in rest.upper() else len(rest)


def name_in(body: Buffer) -> str:
    """The model that a message names, whatever else is wrong with it; '' where that cannot be read."""
    view, position = memoryview(body), 0
    try:
        for _ in range(MAX_FIELDS):
            tag, position = read_varint(view, position)
            size, after = read_varint(view, position) if tag & 7 in (0, 2) else (0, position)
            end = {0: after, 1: position + 8, 2: after + size, 5: position + 4}[tag & 7]
            if tag == _NAME_TAG and end <= len(view):
                return bytes(view[after:end]).decode()
            position = end
    except (InvalidError, KeyError, UnicodeDecodeError):
        pass
    return ""


def _parse(body: Buffer) -> Any:
    try:
        return ModelInferRequest.FromString(body)
    except DecodeError as error:
        raise InvalidError(
            "the message is no ModelInferRequest: it is cut off, malformed, or holds text that is not UTF-8"
        ) from error


def parameters(entries: Mapping[str, Any]) -> dict[str, Any]:
    """Parameters as plain values; one without a choice is None."""
    if not entries:
        return {}
    values = {}
    for key, entry in entries.items():
        choice = entry.WhichOneof("parameter_choice")
        values[key] = None if choice is None else getattr(entry, choice)
    return values


def _fill_raw(items: Sequence[Any], tensors: list[oip.Tensor], raw: list[memoryview]) -> None:
    if len(raw) != len(tensors):
        raise InvalidError(
            f"the request has {len(tensors)} inputs and {len(raw)} raw_input_contents: with raw contents every input "
            "has its own, in the same order"
        )
    for item, tensor, content in zip(items, tensors, raw, strict=True):
        if item.HasField("contents"):
            raise InvalidError(f"input {shown(tensor.name)} has contents beside raw_input_contents: send one")
        if tensor.datatype == "BYTES":
            tensor.data = oip_binary.split_bytes(tensor, content)
            continue
        needed = tensor.size * oip.ELEMENT_BYTES[tensor.datatype]
        if len(content) != needed:
            raise InvalidError(
                f"input {shown(tensor.name)}: shape {shown(list(tensor.shape))} of {tensor.datatype} takes {needed} "
                f"bytes, its raw_input_contents has {len(content)}"
            )
        tensor.data = content


def _fill(item: Any, tensor: oip.Tensor) -> None:
    """Take a tensor's elements from its ``contents``."""
    name, datatype = shown(tensor.name), tensor.datatype
    expected = CONTENTS.get(datatype)
    if expected is None:
        raise InvalidError(
            f"input {name} is {datatype}, which has no contents: send it in raw_input_contents"
        )
    for field, _ in item.contents.ListFields():
        if field.name != expected:
            raise InvalidError(
                f"input {name} is {datatype}: its elements belong in {expected}, not {field.name}"
            )
    elements = getattr(item.contents, expected)
    if len(elements) != tensor.size:
        raise InvalidError(
            f"input {name}: shape {shown(list(tensor.shape))} holds {tensor.size} elements, {expected} has "
            f"{len(elements)}"
        )
    if datatype == "BYTES" and len(elements) > oip_binary.MAX_BYTES_ELEMENTS:
        raise InvalidError(
            f"input {name}: {len(elements)} BYTES elements; at most {oip_binary.MAX_BYTES_ELEMENTS} a tensor are taken"
        )
    tensor.data = list(elements)
    if datatype in _CHECKED:
        oip_elements.check(tensor.data, datatype, name)


def _take_raw(view: memoryview) -> tuple[bytes, list[memoryview]]:
    """A message's bytes without its raw contents, and those as views. Raises ``InvalidError``."""
    rest: list[memoryview] = []
    raw: list[memoryview] = []
    start = position = fields = rest_bytes = 0
    total = len(view)
    while position < total:
        began = position
        tag, position = read_varint(view, position)
        match tag & 7:
            case 0:
                _, position = read_varint(view, position)
            case 1:
                position += 8
            case 2:
                size, position = read_varint(view, position)
                position += size
            case 5:
                position += 4
            case _:
                raise InvalidError(f"the message is no ModelInferRequest: byte {began} begins no field")
        fields += 1
        if position > total or fields > MAX_FIELDS:
            what = "is cut off" if position > total else f"has more than {MAX_FIELDS} fields"
            raise InvalidError(f"the message is no ModelInferRequest: it {what}")
        if tag == _RAW_INPUT_TAG:
            raw.append(view[position - size : position])
            rest.append(view[start:began])
            start = position
        else:
            rest_bytes += position - began
    rest.append(view[start:])
    if rest_bytes > MAX_STRUCTURE_BYTES:
        raise InvalidError(
            f"the request has {rest_bytes} bytes beside raw_input_contents, at most {MAX_STRUCTURE_BYTES} are taken: "
            "send large tensors as raw_input_contents"
        )
    return b"".join(rest), raw


def read_varint(view: memoryview | bytes, position: int) -> tuple[int, int]:
    """The variable-length integer at ``position``, and where it ends."""
    value = shift = 0
    for place in range(position, min(position + 10, len(view))):
        byte = view[place]
        value |= (byte & 0x7F) << shift
        if byte < 0x80:
            return value, place + 1
        shift += 7
    raise InvalidError(f"the message is no ModelInferRequest: byte {position} begins no number")


def encode(
    response: oip.InferResponse, outputs: Sequence[oip.Tensor], *, is_raw: bool, may_share: bool = False
) -> list[Buffer]:
    """The bytes of a ``ModelInferResponse``, in buffers to be sent one after the other.

    Raw where the request was, or where an output has no other form (FP16, BF16). ``may_share``: the arrays of the answer do not
    change until they are sent, so that long ones are not copied. Raises ``FailureError`` (internal) for
    data that does not fit its datatype.
    """
    is_raw = is_raw or any(tensor.datatype not in CONTENTS for tensor in outputs)
    if is_raw and not (response.model_version or response.parameters or any(t.parameters for t in outputs)):
        found = [(t.name, t.datatype, tuple(t.shape), _raw(t, may_share)) for t in outputs]
        return encode_raw(response.model_name, response.id or "", found)
    message = ModelInferResponse(
        model_name=response.model_name, model_version=response.model_version or "", id=response.id or ""
    )
    if response.parameters:
        set_parameters(message.parameters, response.parameters, "the answer")
    raw: list[Buffer] = []
    for tensor in outputs:
        item = message.outputs.add(name=tensor.name, datatype=tensor.datatype, shape=tensor.shape)
        if tensor.parameters:
            set_parameters(item.parameters, tensor.parameters, f"output {shown(tensor.name)}")
        if is_raw:
            content = _raw(tensor, may_share)
            item.parameters[oip_binary.SIZE].int64_param = len(content)
            raw.append(content)
        else:
            _set_contents(item.contents, tensor)
    if sum(map(len, raw)) < LARGE_BYTES:
        message.raw_output_contents.extend(map(bytes, raw))
        return [message.SerializeToString()]
    parts: list[Buffer] = [message.SerializeToString()]
    for content in raw:
        parts += (_RAW_OUTPUT_TAG + varint(len(content)), content)
    return parts


def encode_raw(model_name: str, answer_id: str, outputs: Sequence[RawOutput]) -> list[Buffer]:
    """As ``encode``, of an answer that has no more than names, shapes and raw contents: most have the same ones again and again."""
    parts: list[Buffer] = [_text(b"\x0a", model_name), _text(b"\x1a", answer_id)]
    for name, datatype, shape, content in outputs:
        outline = _outline if len(name) <= MAX_NAME else _outline.__wrapped__
        parts.append(outline(name, datatype, shape, len(content)))
    size = 0
    for _, _, _, content in outputs:
        size += len(content)
        parts += (_RAW_OUTPUT_TAG + varint(len(content)), content)
    if size < LARGE_BYTES:
        return [b"".join(parts)]
    structure = len(parts) - 2 * len(outputs)
    return [b"".join(parts[:structure]), *parts[structure:]]


@lru_cache(256)
def _outline(name: str, datatype: str, shape: tuple[int, ...], size: int) -> bytes:
    """What a ``ModelInferResponse`` says of an output with ``size`` raw bytes."""
    message = ModelInferResponse()
    item = message.outputs.add(name=name, datatype=datatype, shape=shape)
    item.parameters[oip_binary.SIZE].int64_param = size
    found: bytes = message.SerializeToString()
    return found


def _text(tag: bytes, value: str) -> bytes:
    """A text field; one that is empty is not sent."""
    content = value.encode()
    return tag + varint(len(content)) + content if content else b""


def _raw(tensor: oip.Tensor, may_share: bool) -> Buffer:
    if isinstance(tensor.data, bytes | memoryview) and tensor.datatype != "BYTES":
        return tensor.data
    from wakeful.core.protocol import arrays  # numpy, for answers that need it

    return arrays.raw_view(tensor) if may_share else arrays.raw(tensor)


def _set_contents(contents: Any, tensor: oip.Tensor) -> None:
    from wakeful.core.protocol import arrays

    data = tensor.data
    if isinstance(data, list):
        elements = oip_elements.flatten(data, shown(tensor.name))
    elif hasattr(data, "reshape"):
        elements = data.reshape(-1).tolist()
    else:
        elements = arrays.to_array(tensor).reshape(-1).tolist()
    if tensor.datatype == "BYTES":
        elements = [element if isinstance(element, bytes) else str(element).encode() for element in elements]
    try:
        getattr(contents, CONTENTS[tensor.datatype]).extend(elements)
    except (TypeError, ValueError) as error:
        raise FailureError(
            FailureKind.INTERNAL,
            f"output {shown(tensor.name)} of the model is not {tensor.datatype}: {error}",
        ) from error


def set_parameters(
    target: Any, values: Mapping[str, Any], what: str, kind: FailureKind = FailureKind.INTERNAL
) -> None:
    """Put ``values`` into a message's parameters; None is left out.

    Raises ``FailureError`` of ``kind`` (whose values they are: a model's answer or a caller's request) for other types.
    """
    for key, value in values.items():
        match value:
            case None:
                continue
            case bool():
                target[key].bool_param = value
            case int() if -(2**63) <= value < 2**63:
                target[key].int64_param = value
            case int() if 0 <= value < 2**64:
                target[key].uint64_param = value
            case float():
                target[key].double_param = value
            case str():
                target[key].string_param = value
            case _:
                raise FailureError(
                    kind,
                    f"parameter {shown(key)} of {what} is {shown(value)}: gRPC carries booleans, 64-bit numbers and text",
                )


def varint(value: int) -> bytes:
    """A variable-length integer of protobuf."""
    out = bytearray()
    while value >= 0x80:
        out.append(value & 0x7F | 0x80)
        value >>= 7
    out.append(value)
    return bytes(out)
