"""Open Inference Protocol (V2): requests and answers as values, and their JSON form.

The model server's edges decode into these types whether a request came as JSON, with binary tensors
(``oip_binary``) or by gRPC; clients encode them. Source: the protocol's text and kserve.md 5.2.
Elements are checked by ``oip_elements``. Left out: numpy (``wakeful.core.protocol.arrays``).

A tensor's JSON ``data`` may be flat or nested. Worked example: shape [2, 2] takes [1, 2, 3, 4] and [[1, 2], [3, 4]];
[[1, 2], [3]] is ragged and refused, as is any count but 2 x 2 = 4. A dimension may be 0, as in the empty cache of a text
model's first step.

Invariant: a decoded tensor has a known datatype, exactly as many elements as its shape says, and (where these are none)
no more rows and columns of nothing than ``MAX_EMPTY_ROWS`` and ``MAX_EMPTY``.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

from wakeful.core.errors import InvalidError
from wakeful.core.protocol import json_pieces, json_values, oip_elements
from wakeful.core.protocol.json_values import dump as dump
from wakeful.core.protocol.problem import SchemaError, SchemaIssue, parse_json, shown, type_name

ELEMENT_BYTES = {
    "BOOL": 1,
    "UINT8": 1,
    "UINT16": 2,
    "UINT32": 4,
    "UINT64": 8,
    "INT8": 1,
    "INT16": 2,
    "INT32": 4,
    "INT64": 8,
    "FP16": 2,
    "BF16": 2,
    "FP32": 4,
    "FP64": 8,
    "BYTES": 0,
}
"""Bytes an element of each datatype takes in binary form; 0 where every element has a length of its own."""

BINARY_ONLY = frozenset({"FP16", "BF16"})
"""Datatypes that go in binary form only: the protocol gives them no JSON form."""

CLASSES = "classification"
"""The parameter of a requested output that asks for its highest classes (``oip_classes``)."""
MAX_DIMENSIONS = 32
MAX_TENSORS = 1024
MAX_EMPTY = 1_000_000
"""The dimensions but the zeros of a tensor without elements, multiplied: what a model makes of it may have them."""
MAX_EMPTY_ROWS = 4096
"""Those before its first 0: as lists, a few bytes of request are so many objects."""


@dataclass(slots=True)
class Tensor:
    """One named tensor. ``data`` is a flat list, an ndarray, or (from binary form) the raw little-endian bytes."""

    name: str
    shape: tuple[int, ...]
    datatype: str
    data: Any
    parameters: dict[str, Any] = field(default_factory=dict)

    @property
    def size(self) -> int:
        """How many elements the shape holds."""
        return math.prod(self.shape)


@dataclass(frozen=True, slots=True)
class RequestedOutput:
    """An output the request names. ``is_binary`` is its ``parameters.binary_data``."""

    name: str
    is_binary: bool = False
    parameters: dict[str, Any] = field(default_factory=dict)


@dataclass(slots=True)
class InferRequest:
    """A V2 request. ``id`` is None where the client gave none."""

    inputs: list[Tensor]
    outputs: list[RequestedOutput] = field(default_factory=list)
    id: str | None = None
    parameters: dict[str, Any] = field(default_factory=dict)

    def input(self, name: str) -> Tensor:
        """The input called ``name``. Raises ``InvalidError``."""
        for tensor in self.inputs:
            if tensor.name == name:
                return tensor
        names = ", ".join(tensor.name for tensor in self.inputs)
        raise InvalidError(f"input {shown(name)} is missing; the request has: {names}")


@dataclass(slots=True)
class InferResponse:
    """A V2 answer; output ``data`` may be nested no more."""

    outputs: list[Tensor]
    model_name: str = ""
    id: str | None = None
    model_version: str | None = None
    parameters: dict[str, Any] | None = None


_PYDANTIC = {str: "string_type", dict: "dict_type", list: "list_type", int: "int_type"}
"""Machine types of issues, in the words that KServe's clients know."""


class _Issues:
    """Collects what does not fit the schema."""

    def __init__(self) -> None:
        self.found: list[SchemaIssue] = []

    def member(
        self, where: tuple[str | int, ...], obj: dict[str, Any], key: str, kind: type, needed: bool
    ) -> Any:
        """``obj[key]`` if it is a ``kind``; None (and an issue where that is wrong) otherwise."""
        value = obj.get(key)
        if value is None:
            if needed:
                self.add((*where, key), "Field required", "missing")
            return None
        if not isinstance(value, kind) or (kind is int and isinstance(value, bool)):
            self.add(
                (*where, key),
                f"should be {type_name(kind())}, got {type_name(value)}",
                _PYDANTIC[kind],
            )
            return None
        return value

    def add(self, loc: tuple[str | int, ...], msg: str, kind: str) -> None:
        if len(self.found) < 20:
            self.found.append(SchemaIssue(loc, msg, kind))


def decode_json(body: bytes | memoryview) -> InferRequest:
    """A request from a JSON body without binary tensors. Raises ``InvalidError`` (400) or ``SchemaError`` (422)."""
    if not body:
        raise InvalidError('the request body is empty: send {"inputs": [...]}')
    request = from_object(parse_json(body, "the request body"))
    complete_inputs(request)
    return request


def complete_inputs(request: InferRequest) -> None:
    """``complete_json`` for every input of a request without binary tensors. Raises as ``decode_json``."""
    for place, tensor in enumerate(request.inputs):
        if tensor.data is None and 0 in tensor.shape:
            tensor.data = []  # KServe's client sends no bytes as nothing at all
        if tensor.data is None:
            raise SchemaError([SchemaIssue(("body", "inputs", place, "data"), "Field required", "missing")])
        complete_json(tensor)


def from_object(value: Any) -> InferRequest:
    """A request from a parsed body. ``Tensor.data`` stays as it was sent (None where absent): see ``complete_json``."""
    return _plain(value) or _from_any(value)


def _plain(value: Any) -> InferRequest | None:
    """The request as most are: whatever it has, nothing is odd about it. None: look closer."""
    raw_inputs = value.get("inputs") if type(value) is dict else None
    if type(raw_inputs) is not list or not 0 < len(raw_inputs) <= MAX_TENSORS:
        return None
    inputs = []
    for raw in raw_inputs:
        tensor = _plain_input(raw)
        if tensor is None:
            return None
        inputs.append(tensor)
    if len(inputs) > 1 and _has_twins(inputs):
        return None
    if len(value) == 1:
        return InferRequest(inputs, [], None, {})
    request_id, parameters, raw_outputs = value.get("id"), value.get("parameters"), value.get("outputs")
    if not (request_id is None or type(request_id) is str):
        return None
    if not (parameters is None or type(parameters) is dict):
        return None
    outputs: list[RequestedOutput] = []
    if raw_outputs is not None:
        if type(raw_outputs) is not list or len(raw_outputs) > MAX_TENSORS:
            return None
        outputs = [output for raw in raw_outputs if (output := _plain_output(raw)) is not None]
        if len(outputs) != len(raw_outputs) or _has_twins(outputs):
            return None
    return InferRequest(inputs, outputs, request_id, parameters or {})


def _has_twins(named: Sequence[Tensor | RequestedOutput]) -> bool:
    return len({one.name for one in named}) != len(named)


def _plain_input(raw: Any) -> Tensor | None:
    if type(raw) is not dict:
        return None
    name, shape, datatype = raw.get("name"), raw.get("shape"), raw.get("datatype")
    data, parameters = raw.get("data"), raw.get("parameters")
    if type(name) is not str or type(shape) is not list or type(datatype) is not str:
        return None
    if datatype not in ELEMENT_BYTES or not 0 < len(shape) <= MAX_DIMENSIONS:
        return None
    for size in shape:
        if type(size) is not int or not 1 <= size < 2**63:  # 0 is rare: it is looked at closer
            return None
    if not (data is None or type(data) is list) or not (parameters is None or _are_plain(parameters)):
        return None
    return Tensor(name, tuple(shape), datatype, data, parameters or {})


def _plain_output(raw: Any) -> RequestedOutput | None:
    name, parameters = (raw.get("name"), raw.get("parameters")) if type(raw) is dict else (None, None)
    if type(name) is not str or not (parameters is None or _are_plain(parameters)):
        return None
    given = parameters or {}
    return RequestedOutput(name, given.get("binary_data") is True, given)


def _are_plain(parameters: Any) -> bool:
    return type(parameters) is dict and "shared_memory_region" not in parameters


def _from_any(value: Any) -> InferRequest:
    """As ``from_object``, for every form a request may have. Raises ``InvalidError`` or ``SchemaError``."""
    if not isinstance(value, dict):
        raise SchemaError(
            [SchemaIssue(("body",), f"should be an object, got {type_name(value)}", "dict_type")]
        )
    issues = _Issues()
    request_id = issues.member(("body",), value, "id", str, needed=False)
    parameters = issues.member(("body",), value, "parameters", dict, needed=False)
    raw_inputs = issues.member(("body",), value, "inputs", list, needed=True) or []
    raw_outputs = issues.member(("body",), value, "outputs", list, needed=False) or []
    if len(raw_inputs) > MAX_TENSORS or len(raw_outputs) > MAX_TENSORS:
        raise InvalidError(f"a request may name at most {MAX_TENSORS} inputs and as many outputs")
    inputs = [_input(issues, ("body", "inputs", place), raw) for place, raw in enumerate(raw_inputs)]
    outputs = [_output(issues, ("body", "outputs", place), raw) for place, raw in enumerate(raw_outputs)]
    if not issues.found and not inputs:
        issues.add(("body", "inputs"), "should hold at least one tensor", "too_short")
    if issues.found:
        raise SchemaError(issues.found)
    request = InferRequest(inputs, outputs, request_id, parameters or {})
    check(request)
    return request


def check(request: InferRequest) -> None:
    """Refuse names given twice, unknown datatypes and impossible shapes. Raises ``InvalidError``; every edge calls it."""
    _refuse_duplicates([tensor.name for tensor in request.inputs], "input")
    _refuse_duplicates([output.name for output in request.outputs], "output")
    for tensor in request.inputs:
        _refuse_shared_memory("input", tensor.name, tensor.parameters)
        _check_shape(tensor)
    for output in request.outputs:
        _refuse_shared_memory("output", output.name, output.parameters)


def _input(issues: _Issues, where: tuple[str | int, ...], raw: Any) -> Tensor:
    if not isinstance(raw, dict):
        issues.add(where, f"should be an object, got {type_name(raw)}", "dict_type")
        return Tensor("", (), "", None)
    name = issues.member(where, raw, "name", str, needed=True)
    shape = issues.member(where, raw, "shape", list, needed=True) or []
    datatype = issues.member(where, raw, "datatype", str, needed=True)
    parameters = issues.member(where, raw, "parameters", dict, needed=False)
    data = raw.get("data")
    if data is not None and not isinstance(data, list):
        issues.add((*where, "data"), f"should be an array, got {type_name(data)}", "list_type")
    for place, size in enumerate(shape):
        if type(size) is float and size.is_integer():
            shape[place] = int(size)
        elif type(size) is not int:
            issues.add((*where, "shape", place), f"should be an integer, got {type_name(size)}", "int_type")
    return Tensor(name or "", tuple(shape), (datatype or "").upper(), data, parameters or {})


def _output(issues: _Issues, where: tuple[str | int, ...], raw: Any) -> RequestedOutput:
    if not isinstance(raw, dict):
        issues.add(where, f"should be an object, got {type_name(raw)}", "dict_type")
        return RequestedOutput("")
    name = issues.member(where, raw, "name", str, needed=True)
    parameters = issues.member(where, raw, "parameters", dict, needed=False) or {}
    return RequestedOutput(name or "", parameters.get("binary_data") is True, parameters)


def _refuse_shared_memory(what: str, name: Any, parameters: dict[str, Any] | None) -> None:
    """Whoever names a region expects that its content counts, and not the data beside it."""
    if parameters and "shared_memory_region" in parameters:
        raise InvalidError(
            f"{what} {shown(name)} is in shared memory, which this server does not use: send and take tensors in messages"
        )


def _refuse_duplicates(names: Sequence[str], what: str) -> None:
    if len(set(names)) != len(names):
        twice = next(name for place, name in enumerate(names) if name in names[:place])
        raise InvalidError(f"{what} {shown(twice)} is given twice")


def _check_shape(tensor: Tensor) -> None:
    name, shape = shown(tensor.name), tensor.shape
    if tensor.datatype not in ELEMENT_BYTES:
        known = ", ".join(ELEMENT_BYTES)
        raise InvalidError(f"input {name} has datatype {shown(tensor.datatype)}; known are {known}")
    if len(shape) > MAX_DIMENSIONS:
        raise InvalidError(f"input {name} has {len(shape)} dimensions; at most {MAX_DIMENSIONS} are possible")
    for size in shape:
        if not 0 <= size < 2**63:
            raise InvalidError(
                f"input {name} has shape {shown(list(shape))}: every dimension must be from 0 to 2^63 - 1"
            )
    if 0 not in shape:
        return
    rows, others = math.prod(shape[: shape.index(0)]), math.prod(size or 1 for size in shape)
    if rows > MAX_EMPTY_ROWS or others > MAX_EMPTY:
        raise InvalidError(
            f"input {name} has shape {shown(list(shape))}: a tensor without elements may have {MAX_EMPTY_ROWS} rows, and "
            f"dimensions that come to {MAX_EMPTY} without the zeros"
        )


def complete_json(tensor: Tensor) -> None:
    """Make a tensor's JSON ``data`` flat and check count and elements. Raises ``InvalidError`` naming the tensor."""
    if tensor.datatype in BINARY_ONLY:
        raise InvalidError(
            f"input {shown(tensor.name)} is {tensor.datatype}, which JSON cannot carry: send it in binary form, or as FP32"
        )
    flat: list[Any] = tensor.data
    if flat and type(flat[0]) is list:
        flat = oip_elements.flatten(flat, shown(tensor.name), tensor.shape)
    if len(flat) != math.prod(tensor.shape):
        raise InvalidError(
            f"input {shown(tensor.name)}: shape {shown(list(tensor.shape))} holds {tensor.size} elements, "
            f"data has {len(flat)}"
        )
    oip_elements.check(flat, tensor.datatype, tensor.name)
    tensor.data = flat


def select_outputs(request: InferRequest, response: InferResponse) -> list[Tensor]:
    """The outputs to send: those the request lists, in its order and as it wants them, else all. Raises ``InvalidError``."""
    if not request.outputs:
        return response.outputs
    by_name = {tensor.name: tensor for tensor in response.outputs}
    chosen = []
    for wanted in request.outputs:
        if wanted.name not in by_name:
            known = ", ".join(by_name) or "none"
            raise InvalidError(f"Unexpected inference output {shown(wanted.name)}: the model gives {known}")
        tensor = by_name[wanted.name]
        chosen.append(_classified(tensor, wanted) if CLASSES in wanted.parameters else tensor)
    return chosen


def _classified(tensor: Tensor, wanted: RequestedOutput) -> Tensor:
    from wakeful.core.protocol import oip_classes  # it needs numpy

    return oip_classes.classified(tensor, wanted.parameters[CLASSES])


def encode_json(response: InferResponse, outputs: Sequence[Tensor]) -> bytes:
    """The answer as JSON with KServe's member order and nulls; ``outputs`` as ``select_outputs`` chose them."""
    for tensor in outputs:
        if tensor.datatype in BINARY_ONLY:
            raise no_json_form(tensor, tensor.datatype)
    return json_values.answer(
        {
            "model_name": response.model_name,
            "model_version": response.model_version,
            "id": response.id,
            "parameters": response.parameters,
            "outputs": [
                {
                    "name": tensor.name,
                    "shape": list(tensor.shape),
                    "datatype": tensor.datatype,
                    "parameters": tensor.parameters or None,
                    "data": json_pieces.split(tensor.data),
                }
                for tensor in outputs
            ],
        }
    )


def no_json_form(tensor: Tensor, what: str) -> InvalidError:
    """The error for an output that only the binary form can carry; ``what`` is in its way."""
    return InvalidError(
        f"output {shown(tensor.name)} is or holds {what}, which JSON cannot carry: ask for it with "
        '"parameters": {"binary_data": true}'
    )
