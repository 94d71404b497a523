"""The V2 protocol from the caller's side: requests to bytes, answers from bytes, in JSON or with binary tensors.

Called by the transports of this package. The server's side is ``wakeful.core.protocol.oip`` and ``oip_binary``; both
share ``Tensor``. Source: kserve.md 5.2, 5.3. Tensors whose data are arrays or raw bytes can go in binary form; lists go
as JSON. An answer is not trusted: sizes, counts and types are checked before numpy sees them.

Invariant: a decoded tensor has as many elements as its shape says; binary ones are views of the answer's body.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from wakeful.core.errors import FailureError, FailureKind
from wakeful.core.protocol import arrays, oip, oip_binary
from wakeful.core.protocol.problem import parse_json, shown

JSON_TYPE = "application/json"
BINARY_TYPE = "application/octet-stream"
JSON_LESS = frozenset({"FP16", "BF16"})
"""Datatypes that JSON cannot carry."""


def request_of(
    inputs: oip.InferRequest | Mapping[str, Any],
    outputs: Sequence[str] = (),
    parameters: Mapping[str, Any] | None = None,
) -> oip.InferRequest:
    """A request from arrays (or lists) by input name; an ``InferRequest`` stays as it is.

    Raises ``FailureError`` (invalid) for what V2 has no datatype for.
    """
    if isinstance(inputs, oip.InferRequest):
        return inputs
    if not inputs:
        raise FailureError(FailureKind.INVALID, "a V2 request needs at least one input")
    tensors = [_tensor(name, value) for name, value in inputs.items()]
    wanted = [oip.RequestedOutput(name) for name in outputs]
    return oip.InferRequest(tensors, wanted, None, dict(parameters or {}))


def _tensor(name: str, value: Any) -> oip.Tensor:
    try:
        array = np.asarray(value)
        return arrays.from_array(name, array)
    except (ValueError, TypeError) as error:
        raise FailureError(FailureKind.INVALID, f"input {shown(name)} is no tensor: {error}") from error
    except FailureError as error:
        text = f"input {shown(name)} has type {np.asarray(value).dtype}, for which V2 has no datatype"
        raise FailureError(FailureKind.INVALID, text) from error


def encode(request: oip.InferRequest, is_binary: bool) -> tuple[bytes, dict[str, str]]:
    """(body, headers) of ``request``. Binary: every array goes as raw bytes, and then the answer is asked for as such."""
    raw: list[bytes] = []
    inputs = []
    for tensor in request.inputs:
        entry: dict[str, Any] = {
            "name": tensor.name,
            "shape": list(tensor.shape),
            "datatype": tensor.datatype,
        }
        parameters = {key: value for key, value in tensor.parameters.items() if key != oip_binary.SIZE}
        if (is_binary and not isinstance(tensor.data, list)) or tensor.datatype in JSON_LESS:
            content = arrays.raw(tensor)
            parameters[oip_binary.SIZE] = len(content)
            raw.append(content)
        else:
            entry["data"] = arrays.plain(tensor).data
        if parameters:
            entry["parameters"] = parameters
        inputs.append(entry)
    head: dict[str, Any] = {"inputs": inputs}
    if request.id is not None:
        head["id"] = request.id
    wants_binary = bool(raw)
    parameters = dict(request.parameters)
    if request.outputs:
        head["outputs"] = [_output(output, wants_binary) for output in request.outputs]
    elif wants_binary:
        parameters["binary_data_output"] = True
    if parameters:
        head["parameters"] = parameters
    header = oip.dump(head)
    if not raw:
        return header, {"Content-Type": JSON_TYPE}
    return b"".join([header, *raw]), {"Content-Type": BINARY_TYPE, oip_binary.HEADER: str(len(header))}


def _output(output: oip.RequestedOutput, is_binary: bool) -> dict[str, Any]:
    parameters = dict(output.parameters)
    if is_binary:
        parameters.setdefault("binary_data", True)
    return {"name": output.name, "parameters": parameters} if parameters else {"name": output.name}


def decode(body: bytes, json_bytes: str | None) -> oip.InferResponse:
    """The answer in ``body``; ``json_bytes`` is its header of that name. Raises ``FailureError`` (internal)."""
    view = memoryview(body)
    try:
        length = len(body) if json_bytes is None else oip_binary.header_length(json_bytes, len(body))
        head = parse_json(view[:length], "the answer")
    except FailureError as error:
        raise _broken(str(error)) from error
    if not isinstance(head, dict) or not isinstance(head.get("outputs"), list):
        raise _broken("it has no list of outputs")
    tail, offset = view[length:], 0
    outputs = []
    for entry in head["outputs"]:
        tensor = _answered(entry)
        size = tensor.parameters.pop(oip_binary.SIZE, None)
        if size is not None:
            if type(size) is not int or not 0 <= size <= len(tail) - offset:
                raise _broken(
                    f"output {shown(tensor.name)} says {shown(size)} bytes, {len(tail) - offset} are left"
                )
            tensor.data = _raw(tensor, tail[offset : offset + size])
            offset += size
        _check_count(tensor)
        outputs.append(tensor)
    return oip.InferResponse(
        outputs,
        model_name=str(head.get("model_name") or ""),
        id=head.get("id"),
        model_version=head.get("model_version"),
        parameters=head.get("parameters"),
    )


def _answered(entry: Any) -> oip.Tensor:
    try:
        shape = tuple(int(size) for size in entry["shape"])
        tensor = oip.Tensor(
            str(entry["name"]),
            shape,
            str(entry["datatype"]).upper(),
            entry.get("data"),
            dict(entry.get("parameters") or {}),
        )
    except (TypeError, KeyError, ValueError, AttributeError) as error:
        raise _broken(f"an output lacks name, shape or datatype ({type(error).__name__}: {error})") from error
    if tensor.datatype not in oip.ELEMENT_BYTES or any(size < 0 for size in shape):
        raise _broken(
            f"output {shown(tensor.name)} is {shown(tensor.datatype)} of shape {shown(list(shape))}"
        )
    return tensor


def _raw(tensor: oip.Tensor, content: memoryview) -> Any:
    if tensor.datatype == "BYTES":
        return _elements(tensor, content)
    wanted = tensor.size * oip.ELEMENT_BYTES[tensor.datatype]
    if len(content) != wanted:
        raise _broken(
            f"output {shown(tensor.name)} of shape {list(tensor.shape)} takes {wanted} bytes, it has {len(content)}"
        )
    return content


def _elements(tensor: oip.Tensor, content: memoryview) -> list[bytes]:
    """BYTES: each element is a 4-byte little-endian length and the content."""
    elements: list[bytes] = []
    offset = 0
    while offset < len(content):
        start = offset + 4
        end = start + int.from_bytes(content[offset:start], "little")
        if end > len(content):
            raise _broken(f"output {shown(tensor.name)} ends inside element {len(elements)}")
        elements.append(bytes(content[start:end]))
        offset = end
    return elements


def _check_count(tensor: oip.Tensor) -> None:
    if isinstance(tensor.data, memoryview):
        return
    if not isinstance(tensor.data, list):
        raise _broken(f"output {shown(tensor.name)} has no data")
    try:
        count = np.asarray(tensor.data, dtype=object if tensor.datatype == "BYTES" else None).size
    except ValueError as error:
        raise _broken(f"output {shown(tensor.name)} is ragged") from error
    if count != tensor.size:
        raise _broken(
            f"output {shown(tensor.name)}: shape {list(tensor.shape)} holds {tensor.size} elements, data has {count}"
        )


def _broken(why: str) -> FailureError:
    return FailureError(FailureKind.INTERNAL, f"the server's V2 answer cannot be read: {why}")
