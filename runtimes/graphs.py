"""A model that is a graph of named tensors (ONNX, PyTorch): what its requests become, and several of them in one run.

Base class of ``runtimes.onnx`` and ``runtimes.torch``, which load the graph, say what it takes and ``run`` it. Requests
are joined only where the graph's own shapes say that every input and output has the same free first dimension
(``row_dimension``). That does not prove that rows are computed apart (a softmax over the batch, a sequence along the first
dimension, dynamic quantization): the first batches are computed both ways, later one request of every ``SAMPLE_EVERY``th,
and a model whose rows depend on each other is never asked about several requests again (docs/decisions/0114).

Invariant: until ``CHECKS`` batches came out equal both ways, every request gets what the graph answered to it alone.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from runtimes import named_tensors
from runtimes.named_tensors import Arrays
from wakeful.core.protocol import arrays, v1
from wakeful.core.protocol.oip import InferRequest, InferResponse, Tensor
from wakeful.kit import logs
from wakeful.serving.model import Context, Model
from wakeful.serving.parts import Part

MAX_BATCH_ROWS = 32
"""Rows of several requests in one run: what a run holds in memory grows with them."""
MAX_PART_ELEMENTS = 4096
"""Elements of a request that the event loop turns into arrays itself (about 0.2 ms); larger ones go alone."""
MAX_BUFFER_BYTES = 262_144
"""The same for binary tensors, which are taken as they are: to copy one of this size takes some 20 us."""
CHECKS = 3
"""Batches that are computed both ways, of equal requests and of different ones each."""
SAMPLE_EVERY = 64
"""Batches after those, in one of which one request is computed alone too (another place each time): under 1.6 % more runs."""
TOLERANCE = {"e": 1e-2, "f": 1e-4, "d": 1e-4}
"""By numpy's type: the difference, of the largest value, that the order of additions can make; other types have none."""

log = logs.get("runtimes")


@dataclass(frozen=True, slots=True)
class Asked:
    """One request as the graph takes it."""

    is_tensors: bool
    """V2; else V1."""
    inputs: Arrays
    outputs: tuple[str, ...]
    """Those wanted; empty: all."""
    rows: int
    """0: the inputs have no first dimension in common, and the request goes alone."""


class GraphModel(Model):
    """Subclasses override ``load``, ``of_request``, ``of_rows`` and ``run``."""

    def of_request(self, request: InferRequest) -> Arrays:
        """The graph's inputs from a V2 request. Raises ``InvalidError``."""
        raise NotImplementedError(f"{type(self).__name__} has no of_request")

    def of_rows(self, rows: list[Any]) -> Arrays:
        """The graph's inputs from V1 rows. Raises ``InvalidError``."""
        raise NotImplementedError(f"{type(self).__name__} has no of_rows")

    def run(self, inputs: Arrays, outputs: Sequence[str]) -> Arrays:
        """The outputs of those names (all, where there are none). Raises ``FailureError``. Called by several threads."""
        raise NotImplementedError(f"{type(self).__name__} has no run")

    def predict(self, payload: Any, context: Context) -> Any:
        asked = self.asked(payload)
        return rendered(asked, self.run(asked.inputs, asked.outputs))

    def asked(self, payload: Any) -> Asked:
        """A V1 object, a V2 request or (another media type) bytes of JSON as arrays. Raises ``InvalidError``."""
        if isinstance(payload, InferRequest):
            inputs = self.of_request(payload)
            firsts = {array.shape[0] if array.shape else 0 for array in inputs.values()}
            rows = firsts.pop() if len(firsts) == 1 else 0
            return Asked(True, inputs, tuple(output.name for output in payload.outputs), rows)
        if isinstance(payload, bytes):  # this server has no meaning for anything but JSON
            payload = v1.decode_object(payload)
        found = v1.rows(payload)
        return Asked(False, self.of_rows(found), (), len(found))


def rendered(asked: Asked, results: Mapping[str, Any]) -> Any:
    """``results`` in the form of the request's protocol."""
    if asked.is_tensors:
        return InferResponse([arrays.from_array(name, array) for name, array in results.items()])
    return {"predictions": named_tensors.by_row(dict(results), asked.rows)}


def row_dimension(inputs: Sequence[Sequence[Any]], outputs: Sequence[Sequence[Any]]) -> bool:
    """Whether the shapes say that the first dimension is the requests' own everywhere: one symbol, and nowhere else.

    A shape's dimensions are whole numbers (fixed), symbols, or None (free and without a name).
    """
    shapes = [*inputs, *outputs]
    if not inputs or not outputs or any(not shape or isinstance(shape[0], int) for shape in shapes):
        return False
    symbol = shapes[0][0]
    if any(shape[0] != symbol for shape in shapes):
        return False
    return symbol is None or all(size != symbol for shape in shapes for size in shape[1:])


class GraphBatching:
    """Several requests' arrays one under the other: equal datatypes, row shapes and wanted outputs."""

    is_brief = True

    def __init__(self, model: GraphModel, most_rows: int = MAX_BATCH_ROWS) -> None:
        self._most_rows = most_rows
        self._max_batch_size = min(MAX_BATCH_ROWS, most_rows)
        self.max_latency_s = 0.0
        self._model = model
        self._unchecked = {"equal": CHECKS, "different": CHECKS}
        self._is_mixing = False
        self._batches = 0

    @property
    def max_batch_size(self) -> int:
        """Rows in one run, whatever is wished at most what the graph takes."""
        return self._max_batch_size

    @max_batch_size.setter
    def max_batch_size(self, wanted: int) -> None:
        self._max_batch_size = min(wanted, self._most_rows)

    def part(self, payload: Any, context: Context) -> Part | None:
        if self._is_mixing or not _is_small(payload):
            return None
        asked = self._model.asked(payload)
        if not asked.rows:
            return None
        row = tuple((name, array.dtype, array.shape[1:]) for name, array in asked.inputs.items())
        return Part(payload, asked, asked.rows, (row, asked.outputs))

    def answer(self, parts: Sequence[Part]) -> Sequence[Any]:
        requests = [part.value for part in parts]
        if len(requests) == 1 or self._is_mixing:
            return [self._alone(asked) for asked in requests]
        kind = self._kind(requests)
        shares = self._together(requests)
        if not self._unchecked[kind] and self._is_sample_equal(requests, shares):
            return [rendered(asked, share) for asked, share in zip(requests, shares, strict=True)]
        alone = [self._model.run(asked.inputs, asked.outputs) for asked in requests]
        if not self._is_mixing and all(
            _are_close(one, share) for one, share in zip(alone, shares, strict=True)
        ):
            self._unchecked[kind] = max(0, self._unchecked[kind] - 1)
        else:
            self._note_mixing()
        return [rendered(asked, results) for asked, results in zip(requests, alone, strict=True)]

    def _is_sample_equal(self, requests: Sequence[Asked], shares: Sequence[Arrays]) -> bool:
        """Whether one of the requests gets the same alone; looked at from time to time, else True."""
        self._batches += 1
        number, rest = divmod(self._batches, SAMPLE_EVERY)
        if rest:
            return True
        place = number % len(requests)
        asked = requests[place]
        if _are_close(self._model.run(asked.inputs, asked.outputs), shares[place]):
            return True
        self._note_mixing()
        return False

    def _note_mixing(self) -> None:
        if not self._is_mixing:
            self._is_mixing = True
            log.warning(
                "model answers a request otherwise beside others: not batched",
                model=self._model.name,
                batches=self._batches,
            )

    def _alone(self, asked: Asked) -> Any:
        return rendered(asked, self._model.run(asked.inputs, asked.outputs))

    def _kind(self, requests: Sequence[Asked]) -> str:
        """Whether these requests are copies of one, which shows less; not looked at where it makes no difference."""
        if not self._unchecked["different"]:
            return "different"
        first = requests[0].inputs
        is_equal = all(
            np.array_equal(array, first[name]) for it in requests[1:] for name, array in it.inputs.items()
        )
        return "equal" if is_equal else "different"

    def _together(self, requests: Sequence[Asked]) -> list[Arrays]:
        """Each request's rows of one run's outputs. Raises ``TypeError`` where these have another number of rows."""
        inputs = {name: np.concatenate([it.inputs[name] for it in requests]) for name in requests[0].inputs}
        results = self._model.run(inputs, requests[0].outputs)
        total = sum(asked.rows for asked in requests)
        for name, array in results.items():
            if array.shape[:1] != (total,):
                raise TypeError(f"output {name} has shape {list(array.shape)}, for {total} rows")
        shares, start = [], 0
        for asked in requests:
            shares.append({name: array[start : start + asked.rows] for name, array in results.items()})
            start += asked.rows
        return shares


def _is_small(payload: Any) -> bool:
    """Whether the event loop may turn ``payload`` into arrays."""
    if isinstance(payload, InferRequest):
        return all(map(_is_small_tensor, payload.inputs))
    if type(payload) is not dict:
        return False
    return v1.holds_at_most(v1.rows(payload), MAX_PART_ELEMENTS)


def _is_small_tensor(tensor: Tensor) -> bool:
    if isinstance(tensor.data, memoryview):
        is_text = tensor.datatype == "BYTES"
        return tensor.data.nbytes <= MAX_BUFFER_BYTES and (not is_text or tensor.size <= MAX_PART_ELEMENTS)
    return tensor.size <= MAX_PART_ELEMENTS


def _are_close(one: Arrays, other: Arrays) -> bool:
    """Whether two answers are the same but for the order of additions."""
    for name, array in one.items():
        beside = other[name]
        if array.shape != beside.shape or array.dtype != beside.dtype:
            return False
        tolerance = TOLERANCE.get(array.dtype.char)
        if tolerance is None or not array.size:
            if not np.array_equal(array, beside):
                return False
            continue
        finite = np.abs(array[np.isfinite(array)], dtype=np.float64)
        most = float(finite.max()) if finite.size else 0.0
        if not np.allclose(beside, array, rtol=0.0, atol=tolerance * most, equal_nan=True):
            return False
    return True
