"""V1 objects as V2 requests and back, for who speaks the one to a model that speaks the other.

Called by the model server's ``predictor_client``. One tensor carries the rows: V1 ``instances`` become the input
``input-0`` in the narrowest of BOOL, INT64, FP64 and BYTES that holds all of them; an answer's only output becomes
``predictions``, several become one object a row. Left out: rows as objects (columns by name), which only the model
could turn into tensors: a clear error.

Invariant: no value changes by translation; what a tensor cannot represent is refused (400), not rounded.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from wakeful.core.errors import FailureError, FailureKind, InvalidError
from wakeful.core.protocol import arrays, oip, v1

INPUT = "input-0"
OUTPUT = "output-0"
KINDS = frozenset("biuf")
NUMBERS = frozenset({int, float, bool, type(None)})


def is_v2(payload: Any) -> bool:
    """Whether an object is a V2 request: ``inputs`` of named tensors (V1 has rows there)."""
    inputs = payload.get("inputs") if isinstance(payload, dict) else None
    return bool(
        isinstance(inputs, list) and inputs and isinstance(inputs[0], dict) and "datatype" in inputs[0]
    )


def to_v2(payload: dict[str, Any]) -> oip.InferRequest:
    """A V1 request as a V2 one. Raises ``InvalidError`` for rows that no one tensor can hold."""
    if is_v2(payload):
        request = oip.from_object(payload)
        oip.complete_inputs(request)
        return request
    rows = v1.rows(payload)
    return oip.InferRequest([arrays.from_array(INPUT, _array(rows, "instances", InvalidError))])


def to_v1(request: oip.InferRequest) -> dict[str, Any]:
    """A V2 request of one tensor as ``{"instances": rows}``. Raises ``InvalidError`` for several tensors."""
    if len(request.inputs) != 1:
        names = ", ".join(tensor.name for tensor in request.inputs)
        raise InvalidError(f"V1 carries one tensor, the request has {len(request.inputs)} ({names})")
    return {"instances": _rows(request.inputs[0])}


def answer_to_v1(response: oip.InferResponse) -> dict[str, Any]:
    """A V2 answer as ``{"predictions": ...}``."""
    outputs = response.outputs
    if len(outputs) == 1:
        return {"predictions": _rows(outputs[0])}
    columns = {tensor.name: _rows(tensor) for tensor in outputs}
    lengths = {len(rows) for rows in columns.values()}
    if len(lengths) != 1:
        raise FailureError(
            FailureKind.INTERNAL,
            f"the predictor's outputs {', '.join(columns)} differ in rows: V1 cannot carry them",
        )
    return {
        "predictions": [dict(zip(columns, row, strict=True)) for row in zip(*columns.values(), strict=True)]
    }


def answer_to_v2(answer: dict[str, Any]) -> oip.InferResponse:
    """A V1 answer as one V2 tensor ``output-0``."""
    predictions = answer.get("predictions")
    if not isinstance(predictions, list):
        raise _unfit(
            f'the predictor\'s V1 answer has no list "predictions"; its members: {", ".join(answer) or "none"}'
        )
    return oip.InferResponse([arrays.from_array(OUTPUT, _array(predictions, "predictions", _unfit))])


def _rows(tensor: oip.Tensor) -> list[Any]:
    array = arrays.to_array(tensor)
    if tensor.datatype != "BYTES":
        rows: list[Any] = array.tolist()
        return rows
    texts = [
        item.decode("utf-8", "replace") if isinstance(item, bytes) else item for item in array.reshape(-1)
    ]
    return np.array(texts, dtype=object).reshape(array.shape).tolist()  # type: ignore[no-any-return]


def _array(rows: list[Any], what: str, error: Any) -> Any:
    cause: Exception | None = None
    try:
        array = arrays.stacked(rows)
        kinds = set(map(type, array.reshape(-1))) if array.dtype.kind == "O" else set()
    except ValueError as ragged:
        cause, kinds = ragged, {list}
    if list in kinds:
        raise error(f'"{what}" is ragged: V2 needs rows of equal length') from cause
    if kinds == {str}:
        return array
    if kinds and kinds <= NUMBERS:
        return array.astype(np.float64)  # null among numbers is a missing value: NaN
    if array.dtype.kind not in KINDS or array.dtype.kind == "u":
        raise error(f'"{what}" has no V2 form: its elements must be all numbers, all true/false or all text')
    return array


def _unfit(text: str) -> FailureError:
    return FailureError(FailureKind.INTERNAL, text)
