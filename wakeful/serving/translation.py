"""V1 and V2 into each other, for models that understand one of them.

A user's model that says ``takes = "tensors"`` is asked with an ``InferRequest`` also by V1 callers, one that says
``takes = "rows"`` with a V1 object also by V2 callers (REST, gRPC, events); ``either`` (the default) gets what came.
Whatever a model answers, the edges give it the caller's form: ``to_predictions`` and ``to_response``.
Rules: V1 rows of values are the model's only input, rows of objects one tensor a member; datatypes are the model's
own (``inputs()``), else INT64, FP64, BOOL or BYTES by what the elements are. ``{"b64": TEXT}`` is binary content.
numpy loads with the first translation.

Invariant: nothing is cut or rounded: what the other form cannot carry is refused with its place.
"""

from __future__ import annotations

import base64
import binascii
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from wakeful.core.errors import FailureError, FailureKind, InvalidError
from wakeful.core.protocol import json_values, oip, oip_answers, oip_elements, v1
from wakeful.core.protocol.problem import parse_json, shown, type_name
from wakeful.serving.model import Model, TensorSpec

if TYPE_CHECKING:
    from numpy.typing import NDArray

DEFAULT_INPUT, DEFAULT_OUTPUT = "input-0", "output-0"
B64 = {"b64"}
LOOP_NUMBERS = 16384
"""Elements of tensors that become rows on the event loop: 33 ns each."""
LOOP_VALUES = 4096
"""Values of rows that become tensors there."""
PIECE_ELEMENTS = 65536
"""Elements that become lists without a chance for other threads: 1 to 2 ms."""


def payload_for(model: Model, payload: Any) -> Any:
    """``payload`` in the form that ``model`` takes. Raises ``InvalidError``."""
    if model.takes == "tensors" and isinstance(payload, dict):
        return to_request(payload, model.inputs())
    if model.takes == "rows" and isinstance(payload, oip.InferRequest):
        return to_rows(payload)
    return payload


def is_long(model: Model, payload: Any) -> bool:
    """Whether ``payload_for`` takes longer than other requests may wait (0.5 ms): then it belongs in a thread."""
    if model.takes == "rows" and isinstance(payload, oip.InferRequest):
        return sum(map(_weight, payload.inputs)) > LOOP_NUMBERS
    if model.takes == "tensors" and isinstance(payload, dict):
        rows = next((payload[key] for key in v1.ROW_KEYS if key in payload), None)
        return type(rows) is list and not v1.holds_at_most(rows, LOOP_VALUES)
    return False


def _weight(tensor: oip.Tensor) -> int:
    """How many numbers take as long as this tensor: an element of text ten times that, and its bytes."""
    if tensor.datatype != "BYTES":
        return tensor.size
    data = tensor.data if type(tensor.data) is list else []
    text = sum(map(len, data)) if len(data) * 10 <= LOOP_NUMBERS else 0
    return tensor.size * 10 + text // 20


def to_request(payload: dict[str, Any], specs: Sequence[TensorSpec]) -> oip.InferRequest:
    """A V2 request of V1 rows. Raises ``InvalidError``."""
    rows = v1.rows(payload)
    by_name = {spec.name: spec for spec in specs}
    if not isinstance(rows[0], dict) or rows[0].keys() == B64:
        if len(specs) > 1:
            raise InvalidError(
                f"the model takes {', '.join(by_name)}: send rows as objects with these members"
            )
        spec = specs[0] if specs else None
        return oip.InferRequest([_tensor(spec.name if spec else DEFAULT_INPUT, rows, spec)])
    names = list(by_name) or list(rows[0])
    for place, row in enumerate(rows):
        if not isinstance(row, dict):
            raise InvalidError(f"instances[{place}] is not an object as instances[0] is: send all rows alike")
        missing = [name for name in names if name not in row]
        if missing:
            raise InvalidError(
                f"instances[{place}] has no {missing[0]!r}; the model takes {', '.join(names)}"
            )
    return oip.InferRequest([_tensor(name, [row[name] for row in rows], by_name.get(name)) for name in names])


def _tensor(name: str, rows: list[Any], spec: TensorSpec | None) -> oip.Tensor:
    said = shown(name)
    shape = [len(rows)]
    level = rows
    while level and type(level[0]) is list and len(shape) <= oip_elements.MAX_DEPTH:
        shape.append(len(level[0]))
        level = level[0]
    if 0 in shape:
        raise InvalidError(f"input {said} has shape {shape}: every dimension must be 1 or more")
    flat = [_content(value, said) for value in oip_elements.flatten(rows, said)]
    datatype = spec.datatype if spec is not None else _datatype(flat, said)
    if datatype == "BYTES":
        for value in flat:
            if not isinstance(value, str | bytes):
                raise InvalidError(f"input {said} holds {type_name(value)}, which is not BYTES")
            if isinstance(value, str) and not json_values.is_utf8(value):
                raise InvalidError(f"input {said} holds text that is no UTF-8")
        return oip.Tensor(name, tuple(shape), datatype, flat)
    halves = datatype in oip.BINARY_ONLY
    oip_elements.check(flat, "FP32" if halves else datatype, name)
    if not halves:
        return oip.Tensor(name, tuple(shape), datatype, flat)
    import numpy as np

    from wakeful.core.protocol import arrays

    return arrays.from_array(name, np.array(flat, "<f4").reshape(shape), datatype)


def _content(value: Any, said: str) -> Any:
    """``value``, or the bytes that it says it is."""
    if type(value) is not dict or value.keys() != B64:
        return value
    try:
        return base64.b64decode(value["b64"], validate=True)
    except (binascii.Error, ValueError, TypeError) as error:
        raise InvalidError(f"input {said}: b64 holds {shown(value['b64'])}, which is not base64") from error


def _datatype(flat: Sequence[Any], said: str) -> str:
    """The datatype for a model that names none."""
    types = set(map(type, flat))
    if types == {int}:
        return "INT64"
    if types == {bool}:
        return "BOOL"
    if types <= {int, float, type(None)}:
        return "FP64"
    if types <= {str, bytes}:
        return "BYTES"
    raise InvalidError(f"input {said} mixes {', '.join(sorted(type_name(kind()) for kind in types))}")


def to_rows(request: oip.InferRequest) -> dict[str, Any]:
    """A V1 object of a V2 request: rows of the only input, or objects by input name. Raises ``InvalidError``."""
    columns = {tensor.name: _nested(tensor, "input") for tensor in request.inputs}
    if len(columns) == 1:
        return {"instances": next(iter(columns.values())), **_parameters(request)}
    counts = {len(column) for column in columns.values()}
    if len(counts) > 1:
        raise InvalidError("the model takes rows: all inputs need the same first dimension")
    rows = [dict(zip(columns, values, strict=True)) for values in zip(*columns.values(), strict=True)]
    return {"instances": rows, **_parameters(request)}


def _parameters(request: oip.InferRequest) -> dict[str, Any]:
    return {"parameters": request.parameters} if request.parameters else {}


def _nested(tensor: oip.Tensor, what: str) -> list[Any]:
    """The elements as lists in lists, BYTES as text."""
    from wakeful.core.protocol import arrays

    array = arrays.to_array(tensor)
    if tensor.datatype == "BYTES":
        try:
            for place, value in enumerate(array.flat):
                if isinstance(value, bytes):
                    array.flat[place] = value.decode()
        except UnicodeDecodeError as error:
            raise InvalidError(f"{what} {shown(tensor.name)} has BYTES that are not UTF-8 text") from error
    nested: Any = lists_of(array)
    return nested if isinstance(nested, list) else [nested]


def lists_of(array: NDArray[Any]) -> Any:
    """``array.tolist()`` in pieces: numpy keeps the interpreter's lock for all of a call, and with it the event loop."""
    if array.size <= PIECE_ELEMENTS or not array.ndim:
        return array.tolist()
    step = PIECE_ELEMENTS * len(array) // array.size
    if not step:
        return [lists_of(row) for row in array]
    found: list[Any] = []
    for start in range(0, len(array), step):
        found += array[start : start + step].tolist()
    return found


def to_predictions(response: oip.InferResponse) -> dict[str, Any]:
    """V1's answer of a V2 one: the only output's rows, or objects by output name. Raises ``FailureError``."""
    columns = {}
    for found in oip_answers.whole(response).outputs:
        kept = oip.Tensor(found.name, found.shape, found.datatype, _raw(found))
        columns[found.name] = _nested(kept, "output")
    if len(columns) == 1:
        return {"predictions": next(iter(columns.values()))}
    if len({len(column) for column in columns.values()}) > 1:
        raise FailureError(
            FailureKind.UNSUPPORTED,
            f"the model's outputs {', '.join(columns)} differ in rows, which V1 cannot say: ask by V2",
        )
    rows = zip(*columns.values(), strict=True)
    return {"predictions": [dict(zip(columns, values, strict=True)) for values in rows]}


def _raw(tensor: oip.Tensor) -> Any:
    """Data that ``arrays.to_array`` understands whatever the model left there."""
    from wakeful.core.protocol import arrays

    return tensor.data if tensor.datatype == "BYTES" else memoryview(arrays.raw_view(tensor))


def to_response(answer: dict[str, Any], specs: Sequence[TensorSpec]) -> oip.InferResponse:
    """A V2 answer of V1 ``predictions``. Raises ``FailureError`` (unsupported) for rows that no tensor holds."""
    rows = answer["predictions"]
    try:
        rows = rows.tolist() if hasattr(rows, "tolist") else rows
        try:
            return _response(rows, specs)
        except (InvalidError, KeyError, TypeError):  # numpy's scalars in lists, say: what V1 would answer
            return _response(parse_json(json_values.answer(rows), "it"), specs)
    except (InvalidError, KeyError, TypeError) as error:
        raise FailureError(
            FailureKind.UNSUPPORTED, f"the model's predictions cannot be a tensor ({error}): use :predict"
        ) from error


def _response(rows: Any, specs: Sequence[TensorSpec]) -> oip.InferResponse:
    by_name = {spec.name: spec for spec in specs}
    if not isinstance(rows, list) or not rows:
        raise InvalidError(f"predictions is {type_name(rows)} or empty")
    if isinstance(rows[0], dict):
        if odd := [name for name in rows[0] if not (isinstance(name, str) and json_values.is_utf8(name))]:
            raise InvalidError(f"a row has the member {shown(odd[0])}, which is no text")
        return oip.InferResponse(
            [_tensor(name, [row[name] for row in rows], by_name.get(name)) for name in rows[0]]
        )
    spec = specs[0] if len(specs) == 1 else None
    return oip.InferResponse([_tensor(spec.name if spec else DEFAULT_OUTPUT, rows, spec)])
