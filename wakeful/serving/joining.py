"""Requests of any model joined row by row: V1 ``instances``, V2 tensors along their first dimension.

For models that say ``batching = Joining(...)`` and, with ``--max_batchsize``, for all that say nothing. ``tabular`` models
have a way of their own that is quicker. Requests join only where everything but their rows is equal: members and
parameters, names, datatypes, the shape of a row, and for V1 the JSON types of its elements. What cannot be compared
(ragged rows, objects as elements, streams, very large requests) goes alone.

Invariant: each request gets as many rows of the answer as it sent, its own; outputs of another length go to nobody.
"""

from __future__ import annotations

from collections.abc import Hashable, Sequence
from itertools import chain
from typing import Any

import orjson

from wakeful.core.protocol import oip_outputs, v1
from wakeful.core.protocol.oip import InferRequest, InferResponse, Tensor
from wakeful.serving.model import Context
from wakeful.serving.parts import Part
from wakeful.serving.registry import Stage

MAX_ELEMENTS = 16384
"""Elements (V1, BYTES) that are looked at on the event loop (about 0.5 ms); larger requests go alone."""
MAX_DIMENSIONS = 8
"""Of a row; what is deeper goes alone."""
SCALARS = frozenset({int, float, bool, str, type(None)})


class JoinedPayloads:
    """The batching of a model with a sync ``predict``."""

    is_brief = False

    def __init__(self, predict: Stage, max_batch_size: int, max_latency_s: float) -> None:
        self.max_batch_size = max_batch_size
        self.max_latency_s = max_latency_s
        self._predict = predict.call

    def part(self, payload: Any, context: Context) -> Part | None:
        if context.wants_stream(payload):
            return None
        if isinstance(payload, InferRequest):
            return _part_of_tensors(payload, context)
        return _part_of_rows(payload, context) if type(payload) is dict else None

    def answer(self, parts: Sequence[Part]) -> Sequence[Any]:
        joined, context = _joined(parts)
        return _shared_out(parts, self._predict(joined, context), context)


class AsyncJoinedPayloads(JoinedPayloads):
    """The batching of a model with an ``async`` one."""

    async def answer(self, parts: Sequence[Part]) -> Sequence[Any]:  # type: ignore[override]
        joined, context = _joined(parts)
        return _shared_out(parts, await self._predict(joined, context), context)


def joined_payloads(predict: Stage, max_batch_size: int, max_latency_s: float) -> JoinedPayloads:
    """The batching for a model whose predict stage this is."""
    kind = AsyncJoinedPayloads if predict.is_async else JoinedPayloads
    return kind(predict, max_batch_size, max_latency_s)


def _part_of_rows(payload: dict[str, Any], context: Context) -> Part | None:
    key = next((key for key in v1.ROW_KEYS if key in payload), None)
    if key is None or not 0 < len(payload[key]) <= MAX_ELEMENTS:
        return None
    rows = payload[key]
    outline = _outline(rows)
    if outline is None:
        return None
    others = {name: value for name, value in payload.items() if name != key}
    signature = ("v1", key, outline, orjson.dumps(others, option=orjson.OPT_SORT_KEYS))
    return Part(payload, context, len(rows), signature)


def _outline(rows: list[Any]) -> Hashable | None:
    """The shape of a row and the JSON types of all elements; None where rows are not alike or are too many."""
    level: list[Any] = rows
    shape: list[int] = []
    while type(level[0]) is list and len(shape) < MAX_DIMENSIONS:
        width = len(level[0])
        if set(map(type, level)) != {list} or set(map(len, level)) != {width} or not width:
            return None
        if len(level) * width > MAX_ELEMENTS:
            return None
        shape.append(width)
        level = list(chain.from_iterable(level))
    types = frozenset(map(type, level))
    if len(level) > MAX_ELEMENTS or not types <= SCALARS:
        return _columns(level) if types == {dict} and not shape else None
    return (tuple(shape), types)


def _columns(rows: list[dict[str, Any]]) -> Hashable | None:
    """The outline of rows by column name: the same names, each of one JSON type; None where values are not scalars."""
    names = rows[0].keys()
    if len(rows) * len(names) > MAX_ELEMENTS or any(row.keys() != names for row in rows):
        return None
    types = tuple((name, frozenset(type(row[name]) for row in rows)) for name in sorted(names))
    return types if all(kinds <= SCALARS for _, kinds in types) else None


def _part_of_tensors(request: InferRequest, context: Context) -> Part | None:
    rows = request.inputs[0].shape[0] if request.inputs[0].shape else 0
    if not rows or any(tensor.shape[:1] != (rows,) for tensor in request.inputs):
        return None
    if any(tensor.datatype == "BYTES" and tensor.size > MAX_ELEMENTS for tensor in request.inputs):
        return None
    tensors = tuple(
        (tensor.name, _datatype(tensor), tensor.shape[1:], orjson.dumps(tensor.parameters))
        for tensor in request.inputs
    )
    return Part(request, context, rows, ("v2", tensors, orjson.dumps(request.parameters)))


def _datatype(tensor: Tensor) -> Hashable:
    """Its datatype, and of BYTES what they are: text where they came as JSON, bytes by gRPC and in binary form."""
    if tensor.datatype != "BYTES" or type(tensor.data) is not list:
        return tensor.datatype
    return tensor.datatype, frozenset(map(type, tensor.data))


def _joined(parts: Sequence[Part]) -> tuple[Any, Context]:
    """The payload of all parts, and a context: the first one's headers, and response headers that all will get."""
    first, of_first = parts[0].payload, parts[0].value
    context = Context(of_first, of_first.request_id, of_first.protocol)
    context.deadline = min((p.value.deadline for p in parts if p.value.deadline is not None), default=None)
    if len(parts) == 1:
        return first, context
    if not isinstance(first, InferRequest):
        key = next(key for key in v1.ROW_KEYS if key in first)
        return {**first, key: list(chain.from_iterable(part.payload[key] for part in parts))}, context
    rows = sum(part.rows for part in parts)
    inputs = []
    for place, tensor in enumerate(first.inputs):
        shape = (rows, *tensor.shape[1:])
        data = _under_each_other([part.payload.inputs[place] for part in parts])
        inputs.append(Tensor(tensor.name, shape, tensor.datatype, data, dict(tensor.parameters)))
    return InferRequest(inputs, parameters=dict(first.parameters)), context


def _under_each_other(tensors: Sequence[Tensor]) -> Any:
    if all(isinstance(tensor.data, memoryview) for tensor in tensors):
        return memoryview(b"".join(tensor.data for tensor in tensors))
    if all(type(tensor.data) is list for tensor in tensors):
        return list(chain.from_iterable(tensor.data for tensor in tensors))
    import numpy as np

    from wakeful.core.protocol import arrays

    return np.concatenate([arrays.to_array(tensor).reshape(-1) for tensor in tensors])


def _shared_out(parts: Sequence[Part], result: Any, context: Context) -> list[Any]:
    """Each part's rows of ``result``. Raises ``TypeError`` where it has not as many rows as it was asked."""
    for part in parts:
        part.value.response_headers.update(context.response_headers)
    if len(parts) == 1:
        return [result]
    rows = sum(part.rows for part in parts)
    if isinstance(result, InferResponse):
        return _tensors_shared_out(parts, result, rows)
    predictions = result.get("predictions") if isinstance(result, dict) else None
    if hasattr(predictions, "tolist"):
        predictions = predictions.tolist()  # type: ignore[union-attr]
    if not isinstance(predictions, list) or len(predictions) != rows:
        raise TypeError(f"the answer to {rows} rows of several requests has no {rows} predictions")
    return [{**result, "predictions": predictions[start:end]} for start, end in _ranges(parts)]


def _tensors_shared_out(parts: Sequence[Part], response: InferResponse, rows: int) -> list[InferResponse]:
    from wakeful.core.protocol import arrays

    whole = []
    for output in response.outputs:
        tensor = oip_outputs.settled(output)
        if tensor.shape[:1] != (rows,):
            raise TypeError(f"output {tensor.name} has shape {list(tensor.shape)}, for {rows} rows")
        # BF16 stays the bits it is; everything else becomes an array of its shape, to be cut in rows.
        kept = Tensor(
            tensor.name, tensor.shape, "UINT16" if tensor.datatype == "BF16" else tensor.datatype, tensor.data
        )
        whole.append((tensor, arrays.to_array(kept)))
    answers = []
    for start, end in _ranges(parts):
        outputs = [
            Tensor(
                tensor.name,
                (end - start, *tensor.shape[1:]),
                tensor.datatype,
                array[start:end].reshape(-1),
                dict(tensor.parameters),
            )
            for tensor, array in whole
        ]
        answers.append(InferResponse(outputs, parameters=response.parameters))
    return answers


def _ranges(parts: Sequence[Part]) -> list[tuple[int, int]]:
    """(first row, row after the last) of each part."""
    found, start = [], 0
    for part in parts:
        found.append((start, start + part.rows))
        start += part.rows
    return found
