"""The binary tensor extension of V2 over HTTP: a JSON header, then the tensors' bytes one after the other.

Used by the model server's V2 edge. Source: kserve.md 5.3. ``Inference-Header-Content-Length`` tells where the JSON
ends; each input with ``parameters.binary_data_size`` takes that many bytes from the tail, in input order; others
carry ``data``. Little-endian, row-major; BYTES elements are a 4-byte length and the content.
Worked number: FP32 of shape [2, 3] must have binary_data_size 2 * 3 * 4 = 24.

Invariant: every byte of the tail belongs to exactly one tensor; nothing is copied before all sizes are checked.
"""

from __future__ import annotations

import struct
from collections.abc import Mapping, Sequence
from typing import Any

from wakeful.core.errors import InvalidError
from wakeful.core.protocol import json_values, oip
from wakeful.core.protocol.problem import parse_json, shown

HEADER = "Inference-Header-Content-Length"
SIZE = "binary_data_size"
MAX_BYTES_ELEMENTS = 1_000_000
"""Elements of one BYTES tensor: each costs about 0.3 us and 40 bytes to take apart, however short it is."""
_LENGTH = struct.Struct("<I").unpack_from


def header_length(value: str | None, body_bytes: int) -> int:
    """The header's value as a number between 0 and ``body_bytes``. Raises ``InvalidError``."""
    if value is None:
        raise InvalidError(f"a binary body needs the header {HEADER}: the length of its JSON part in bytes")
    if not (value.isascii() and value.isdigit() and len(value) <= 18):
        raise InvalidError(f"{HEADER} is {shown(value)}, not a number of bytes")
    length = int(value)
    if length > body_bytes:
        raise InvalidError(f"{HEADER} is {length}, but the body has only {body_bytes} bytes")
    return length


def decode(body: bytes, json_bytes: int) -> oip.InferRequest:
    """A request whose first ``json_bytes`` bytes are JSON. Raw inputs keep a ``memoryview`` of ``body`` as data.

    BYTES inputs become a list of ``bytes``. Raises ``InvalidError`` or ``SchemaError``.
    """
    view = memoryview(body)
    request = oip.from_object(parse_json(view[:json_bytes], "the JSON part of the request body"))
    tail = view[json_bytes:]
    offset = 0
    for tensor in request.inputs:
        size = tensor.parameters.pop(SIZE, None)
        if size is None:
            if tensor.data is None:
                raise InvalidError(f"input {shown(tensor.name)} has neither data nor parameters.{SIZE}")
            oip.complete_json(tensor)
            continue
        _check_size(tensor, size, len(tail) - offset)
        raw = tail[offset : offset + size]
        offset += size
        tensor.data = split_bytes(tensor, raw) if tensor.datatype == "BYTES" else raw
    if offset != len(tail):
        raise InvalidError(f"the body has {len(tail) - offset} bytes after the last tensor")
    return request


def _check_size(tensor: oip.Tensor, size: Any, left: int) -> None:
    name = shown(tensor.name)
    if tensor.data is not None:
        raise InvalidError(f"input {name} has both data and parameters.{SIZE}")
    if type(size) is not int or size < 0:
        raise InvalidError(f"input {name}: {SIZE} is {shown(size)}, not a number of bytes")
    if size > left:
        raise InvalidError(f"input {name}: {SIZE} is {size}, but only {left} bytes of the body are left")
    element = oip.ELEMENT_BYTES[tensor.datatype]
    if element and size != tensor.size * element:
        raise InvalidError(
            f"input {name}: shape {shown(list(tensor.shape))} of {tensor.datatype} takes {tensor.size * element} "
            f"bytes, {SIZE} is {size}"
        )


def split_bytes(tensor: oip.Tensor, raw: memoryview) -> list[bytes]:
    """The elements of a BYTES tensor in binary form. Raises ``InvalidError`` where they are not as many as its shape says."""
    name, count = shown(tensor.name), tensor.size
    if count * 4 > len(raw):
        raise InvalidError(f"input {name}: {len(raw)} bytes cannot hold {count} BYTES elements")
    if count > MAX_BYTES_ELEMENTS:
        raise InvalidError(
            f"input {name}: {count} BYTES elements; at most {MAX_BYTES_ELEMENTS} a tensor are taken"
        )
    elements: list[bytes] = []
    content, total, offset = bytes(raw), len(raw), 0
    for place in range(count):
        start = offset + 4
        if start > total:
            raise InvalidError(f"input {name}: the data ends inside element {place}")
        offset = start + _LENGTH(content, offset)[0]
        if offset > total:
            raise InvalidError(
                f"input {name}: element {place} says {offset - start} bytes, {total - start} are left"
            )
        elements.append(content[start:offset])
    if offset != total:
        raise InvalidError(f"input {name}: {total - offset} bytes after its {count} elements")
    return elements


def join_bytes(elements: Sequence[bytes | str]) -> bytes:
    """BYTES elements in binary form."""
    parts: list[bytes] = []
    for element in elements:
        content = element.encode() if isinstance(element, str) else element
        parts += (len(content).to_bytes(4, "little"), content)
    return b"".join(parts)


def binary_names(request: oip.InferRequest, outputs: Sequence[oip.Tensor]) -> set[str]:
    """Which outputs go out in binary form: by their own flag where outputs are listed, else by the request's."""
    if request.outputs:
        return {wanted.name for wanted in request.outputs if wanted.is_binary}
    if request.parameters.get("binary_data_output") is True:
        return {tensor.name for tensor in outputs}
    return set()


def encode(
    response: oip.InferResponse, outputs: Sequence[oip.Tensor], raw: Mapping[str, bytes | memoryview]
) -> tuple[tuple[bytes | memoryview, ...], int]:
    """(buffers of the body, JSON length): outputs named in ``raw`` as those bytes, the others as JSON.

    The buffers are not joined: they may be large. Null members but the version (KServe sends it) are left out.
    """
    head: dict[str, Any] = {
        "id": response.id,
        "model_name": response.model_name,
        "model_version": response.model_version,
    }
    if response.parameters:
        head["parameters"] = response.parameters
    entries = []
    for tensor in outputs:
        entry: dict[str, Any] = {
            "name": tensor.name,
            "shape": list(tensor.shape),
            "datatype": tensor.datatype,
        }
        parameters = dict(tensor.parameters)
        if tensor.name in raw:
            parameters[SIZE] = len(raw[tensor.name])
        elif tensor.datatype in oip.BINARY_ONLY:
            raise oip.no_json_form(tensor, tensor.datatype)
        else:
            entry["data"] = tensor.data
        if parameters:
            entry["parameters"] = parameters
        entries.append(entry)
    head["outputs"] = entries
    header = json_values.answer(head)
    return (header, *(raw[tensor.name] for tensor in outputs if tensor.name in raw)), len(header)
