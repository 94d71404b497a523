"""A model of one matrix: V1 rows and V2 tensors in, one array out, several requests at a time.

Base class of ``runtimes.sklearn`` and its like (xgboost, lightgbm): they say how to ``load`` and ``compute``, this says
what may come and how the answer looks. numpy is imported with this module. Left out: models of several named tensors
(they take the ``InferRequest`` themselves).

Invariant: wrong widths and types are the caller's mistake (400), found before the model and for that request alone.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import chain
from typing import Any

import numpy as np
from numpy.typing import NDArray

from wakeful.core.errors import InvalidError
from wakeful.core.protocol import arrays, oip, v1
from wakeful.core.protocol.oip import InferRequest, InferResponse, Tensor
from wakeful.core.protocol.oip_shares import Share, Whole
from wakeful.core.protocol.problem import shown
from wakeful.serving import tabular_rows
from wakeful.serving.model import Context, Model
from wakeful.serving.parts import Part

MAX_BATCH_ROWS = 512
"""Rows that small requests may fill together; a request with more goes alone."""
MAX_PART_ELEMENTS = 4096
"""Elements of a V1 request that the event loop turns into a matrix itself (about 0.2 ms); larger ones go alone."""

FLOATS = np.dtype(np.float64)
NUMBERS = frozenset(arrays.DTYPES) - arrays.BITS - {"FP16", "BOOL"}
"""Datatypes whose JSON elements, once checked, are numpy's of the same name."""
RAW_NUMBERS = NUMBERS | {"FP16"}
"""Datatypes any bytes of which are numpy's elements of the same name."""


class TabularModel(Model):
    """Subclasses override ``load`` (setting ``width`` and ``names``) and ``compute``."""

    width: int | None = None
    """Columns the model takes; None where it does not say."""
    names: Sequence[str] | None = None
    """Columns the model was fitted on, in its order; None where they had no names."""
    output_name = "output-0"

    def __init__(self, name: str) -> None:
        super().__init__(name)
        self.batching = MatrixBatching(self)

    def compute(self, matrix: Any) -> Any:
        """The model's answer to a matrix (a pandas DataFrame where columns have names): an array, a row for each row.

        Called by several threads at once. Raises ``InvalidError`` where the matrix is at fault.
        """
        raise NotImplementedError(f"{type(self).__name__} has no compute")

    def predict(self, payload: Any, context: Context) -> Any:
        matrix = self.matrix(payload)
        return self.rendered(payload, self.compute(matrix))

    def matrix(self, payload: Any) -> Any:
        """The matrix of a V1 object, a V2 request or (another media type) bytes of JSON. Raises ``InvalidError``."""
        if isinstance(payload, InferRequest):
            described = _described(payload.inputs)
            if not payload.inputs[0].size:
                raise InvalidError(f"{described}: there are no rows, send at least one")
            if len(payload.inputs) == 1:
                self._check_width(payload.inputs[0].shape, described)
            matrix = tabular_rows.of_tensors(payload.inputs, self.names)
            self._check_width(matrix.shape, described)
            return matrix
        if isinstance(payload, bytes):  # this server has no meaning for anything but JSON
            payload = v1.decode_object(payload)
        return self.matrix_of_rows(v1.rows(payload))

    def matrix_of_rows(self, rows: list[Any]) -> Any:
        """The matrix of V1 rows. Raises ``InvalidError``."""
        matrix = tabular_rows.of_rows(rows, self.names)
        self._check_width(matrix.shape, '"instances"')
        return matrix

    def rendered(self, payload: Any, result: Any) -> Any:
        """``result`` in the form that ``payload``'s protocol takes."""
        if isinstance(payload, InferRequest):
            return InferResponse([self.output_of(np.asarray(result))])
        return {"predictions": result.tolist() if hasattr(result, "tolist") else result}

    def output_of(self, result: NDArray[Any]) -> Tensor:
        """The V2 output of what was computed."""
        return arrays.from_array(self.output_name, result)

    def _check_width(self, shape: tuple[int, ...], what: str) -> None:
        width = self.width
        if width is None:
            return
        if len(shape) != 2 or shape[1] != width:
            raise InvalidError(
                f"{what} has shape {list(shape)}: the model takes [rows, {width}], {width} numbers a row"
            )


class MatrixBatching:
    """Matrices of one type and width, one under the other. Tables with named columns go alone."""

    is_brief = True

    def __init__(self, model: TabularModel) -> None:
        self.max_batch_size = MAX_BATCH_ROWS
        self.max_latency_s = 0.0
        self._model = model

    def part(self, payload: Any, context: Context) -> Part | None:
        if type(payload) is dict:
            rows = v1.rows(payload)
            flat = tabular_rows.of_floats(rows, self._model.width, MAX_PART_ELEMENTS)
            if flat is not None:
                return Part(payload, flat, len(rows), (FLOATS, (self._model.width,)))
            if not _is_small(rows):
                return None
            matrix = self._model.matrix_of_rows(rows)
        elif isinstance(payload, InferRequest):
            first = payload.inputs[0]
            if type(first.data) is list and first.size > MAX_PART_ELEMENTS:
                return None
            if len(payload.inputs) == 1 and _are_numbers(first, self._model.width):
                signature = (arrays.DTYPES[first.datatype], first.shape[1:])
                return Part(payload, first.data, first.shape[0], signature)
            matrix = self._model.matrix(payload)
        else:
            return None
        if type(matrix) is not np.ndarray or matrix.ndim < 2 or matrix.dtype.kind not in "fiub":
            return None
        shape = matrix.shape
        return Part(payload, matrix, shape[0], (matrix.dtype, shape[1:]))

    def answer(self, parts: Sequence[Part]) -> Sequence[Any]:
        model = self._model
        rows = sum([part.rows for part in parts])
        result = model.compute(_matrix(parts))
        if type(result) is np.ndarray and result.shape[:1] == (rows,):
            return self._shared_out(parts, result)
        if len(parts) > 1:
            raise TypeError(f"{type(result).__name__} cannot be shared out among {rows} rows")
        return [model.rendered(parts[0].payload, result)]

    def _shared_out(self, parts: Sequence[Part], result: NDArray[Any]) -> list[Any]:
        answers: list[Any] = []
        plain: list[Any] | None = None
        whole: Whole | None = None
        start = 0
        for part in parts:
            end = start + part.rows
            if isinstance(part.payload, InferRequest):
                if whole is None:
                    whole = Whole(self._model.name, result, self._model.output_of)
                answers.append(Share(whole, start, end))
            else:
                if plain is None:
                    plain = result.tolist()
                answers.append({"predictions": plain[start:end]})
            start = end
        return answers


def _are_numbers(tensor: Tensor, width: int | None) -> bool:
    """Whether a tensor of checked elements is a matrix that the model takes as it is, to be made with its batch."""
    shape, data, datatype = tensor.shape, tensor.data, tensor.datatype
    if len(shape) != 2 or shape[1] != width:
        return False
    count = shape[0] * width
    if not count:
        return False
    if type(data) is memoryview:
        return (
            datatype in RAW_NUMBERS
            and data.nbytes == count * oip.ELEMENT_BYTES[datatype]
            and data.c_contiguous
        )
    return type(data) is list and datatype in NUMBERS and len(data) == count and type(data[0]) is not list


def _matrix(parts: Sequence[Part]) -> NDArray[Any]:
    """The rows of all parts, one under the other: of arrays, or of numbers that become one array now."""
    kinds = {type(part.value) for part in parts}
    if len(kinds) > 1 or np.ndarray in kinds:
        found = [part.value if type(part.value) is np.ndarray else _matrix([part]) for part in parts]
        return found[0] if len(found) == 1 else np.concatenate(found)
    signature: Any = parts[0].signature
    dtype, row_shape = signature
    values = [part.value for part in parts]
    if list in kinds:
        flat = np.array(list(chain.from_iterable(values)), dtype)
    else:  # a bytearray: a batch's matrix may be written to, as one of lists may
        flat = np.frombuffer(values[0] if len(values) == 1 else bytearray().join(values), dtype)
    return flat.reshape(-1, *row_shape)


def _is_small(rows: list[Any]) -> bool:
    """Whether the event loop may make a matrix of V1 rows: all of them are counted, as they may differ in anything."""
    if len(rows) > MAX_PART_ELEMENTS:
        return False
    if type(rows[0]) is not list:
        return v1.holds_at_most(rows, MAX_PART_ELEMENTS)
    try:
        if sum(map(len, rows)) > MAX_PART_ELEMENTS:
            return False
        sum(chain.from_iterable(rows))  # numbers alone, at C's speed: nothing is below them
    except (TypeError, OverflowError):
        return v1.holds_at_most(rows, MAX_PART_ELEMENTS)
    return True


def _described(tensors: list[Tensor]) -> str:
    return f"input {shown(tensors[0].name)}" if len(tensors) == 1 else f"the {len(tensors)} inputs"
