"""V1 rows and V2 tensors as the one matrix that models of tables take.

Called by ``wakeful.serving.tabular``. Rows are lists, or objects by column name where the model was fitted on named
columns; a row object may hold a value, a list or an ``{"0": value}`` object a column (what ``DataFrame.to_dict`` gives,
and KServe's documentation sends). ``null`` is a missing value: NaN among numbers, as JSON has no other way to say it.
Named columns become a pandas DataFrame where pandas is installed, since ``ColumnTransformer`` picks columns by name.

Invariant: columns are ordered by the model's own names whenever the request names them; never by luck.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import chain
from typing import Any

import numpy as np
from numpy.typing import NDArray

from wakeful.core.errors import InvalidError
from wakeful.core.protocol import arrays
from wakeful.core.protocol.oip import Tensor
from wakeful.core.protocol.problem import shown, type_name

ELEMENTS = {int, float, bool, str, type(None)}
NUMBERS = {int, float, bool}
FLOATS = {float}
MAX_TEXT_CHARACTERS = 1 << 20
"""Of text as an array of one width (four bytes a character); beyond it stays the objects that it is."""


def of_rows(rows: list[Any], names: Sequence[str] | None) -> Any:
    """V1 rows as a matrix. ``names`` are the fitted columns. Raises ``InvalidError`` naming the first wrong row."""
    if isinstance(rows[0], dict):
        return _by_name(rows, names)
    try:
        if _are_numbers(rows):
            matrix = np.array(rows)
            if matrix.dtype.kind in "fiub":
                return matrix
        return _of_objects(rows)
    except (ValueError, TypeError, OverflowError) as error:
        raise InvalidError(_ragged(rows)) from error


def of_floats(rows: list[Any], width: int | None, most: int) -> list[Any] | None:
    """Rows of ``width`` floats, at most ``most``, one after the other. None: there is something else among them."""
    if width is None or len(rows) * width > most:
        return None
    try:
        if set(map(len, rows)) != {width}:
            return None
        flat = list(chain.from_iterable(rows))
    except TypeError:
        return None
    return flat if set(map(type, flat)) == FLOATS else None


def _are_numbers(rows: list[Any]) -> bool:
    """Whether rows of numbers alone are certain (C's speed: a third of the array's own).

    Of text numpy makes elements as long as the longest of all: gigabytes of one long text beside many short ones.
    """
    try:
        sum(chain.from_iterable(rows))
    except (TypeError, OverflowError):
        return False
    return True


def _of_objects(rows: list[Any]) -> NDArray[Any]:
    """Rows with text or null: numbers stay numbers beside text (numpy alone would make text of them)."""
    matrix = np.array(rows, dtype=object)
    kinds = set(map(type, matrix.reshape(-1)))
    if list in kinds and matrix.ndim == 1:
        raise InvalidError(_ragged(rows))
    if kinds - ELEMENTS:
        raise InvalidError(_odd_element(rows))
    if kinds <= NUMBERS:
        numbers = np.array(rows)
        return numbers if numbers.dtype.kind in "fiub" else matrix.astype(np.float64)
    if str not in kinds:
        return matrix.astype(np.float64)
    if kinds == {str} and matrix.size * max(map(len, matrix.reshape(-1))) <= MAX_TEXT_CHARACTERS:
        return np.array(rows)
    return matrix


def _by_name(rows: list[Any], names: Sequence[str] | None) -> Any:
    if names is None:
        raise InvalidError("the model was fitted without column names: send rows as lists, not as objects")
    flat: list[list[Any]] = []
    for place, row in enumerate(rows):
        if not isinstance(row, dict):
            raise InvalidError(f"instances[{place}] is not an object as instances[0] is: send all rows alike")
        missing = [name for name in names if name not in row]
        if missing:
            raise InvalidError(
                f"instances[{place}] has no {missing[0]!r}; the model needs {', '.join(names)}"
            )
        columns = [_values(row[name]) for name in names]
        counts = {len(column) for column in columns}
        if len(counts) > 1:
            raise InvalidError(f"instances[{place}] has columns of different length: {sorted(counts)}")
        flat += [list(values) for values in zip(*columns, strict=True)]
    if not flat:
        raise InvalidError('"instances" is empty: its columns hold no values')
    return _table(_of_objects(flat), names)


def _values(value: Any) -> list[Any]:
    match value:
        case list():
            return value
        case dict():
            return list(value.values())
        case _:
            return [value]


def of_tensors(tensors: Sequence[Tensor], names: Sequence[str] | None) -> Any:
    """V2 inputs as a matrix: one tensor as it is, or one tensor a column. Raises ``InvalidError``."""
    if len(tensors) == 1:
        return _array(tensors[0])
    count = tensors[0].shape[0] if tensors[0].shape else 0
    for tensor in tensors:
        if tensor.shape not in ((count,), (count, 1)):
            raise InvalidError(
                f"input {shown(tensor.name)} has shape {list(tensor.shape)}: with one tensor a column, each needs "
                f"shape [{count}] or [{count}, 1]; or send one tensor of shape [rows, columns]"
            )
    by_name = {tensor.name: tensor for tensor in tensors}
    if names is None or not by_name.keys() & set(names):
        return np.column_stack([_array(tensor).reshape(-1) for tensor in tensors])
    missing = [name for name in names if name not in by_name]
    if missing:
        raise InvalidError(f"input {missing[0]!r} is missing; the model needs {', '.join(names)}")
    return _table(np.column_stack([_array(by_name[name]).reshape(-1) for name in names]), names)


def _array(tensor: Tensor) -> NDArray[Any]:
    array = arrays.to_array(tensor)
    if array.dtype.kind == "O" and any(isinstance(value, bytes) for value in array.flat):
        try:
            flat = [value.decode() if isinstance(value, bytes) else value for value in array.flat]
        except UnicodeDecodeError as error:
            raise InvalidError(f"input {shown(tensor.name)} has BYTES that are not UTF-8 text") from error
        array = np.array(flat, dtype=object).reshape(tensor.shape)
    return array


def _table(matrix: NDArray[Any], names: Sequence[str]) -> Any:
    """``matrix`` with its columns named, where pandas is installed (imported by the first request that needs it)."""
    try:
        import pandas
    except ImportError:
        return matrix
    table = pandas.DataFrame(matrix, columns=list(names))
    return table.infer_objects() if matrix.dtype.kind == "O" else table


def _ragged(rows: list[Any]) -> str:
    """The first row whose shape is not that of the first."""
    first = _shape(rows[0])
    for place, row in enumerate(rows):
        if _shape(row) != first:
            return f'"instances" is ragged: instances[0] {first}, instances[{place}] {_shape(row)}'
    return '"instances" is ragged: rows differ in shape'


def _shape(row: Any) -> str:
    return f"has {len(row)} values" if isinstance(row, list) else "is not a list"


def _odd_element(rows: list[Any]) -> str:
    for place, row in enumerate(rows):
        for column, value in enumerate(row if isinstance(row, list) else [row]):
            if type(value) not in ELEMENTS:
                return f"instances[{place}][{column}] is {type_name(value)}, not a number or text"
    return '"instances" holds values that are neither numbers nor text'
