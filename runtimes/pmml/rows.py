"""Requests as columns of values for a PMML document's fields, and its answers in the form of the request.

Called by ``model`` and ``evaluator``. V1: rows as lists in the order of the active fields, or as objects by field name;
V2: a tensor a field, or one matrix of all of them. A field that is not there is a missing value, as null is: the document says what that means.
What a value must be is the document's too (JPMML checks it); only shapes and names are checked here.

Invariant: every column has the same number of values, plain ones or None.
"""

from __future__ import annotations

from collections.abc import Sequence
from collections.abc import Set as AbstractSet
from dataclasses import dataclass
from typing import Any

import numpy as np

from wakeful.core.errors import FailureError, FailureKind, InvalidError
from wakeful.core.protocol import arrays
from wakeful.core.protocol.oip import InferRequest, InferResponse, Tensor
from wakeful.core.protocol.problem import shown, type_name

Columns = list[list[Any]]
SHOWN_NAMES = 20
DATATYPES = {"string": "BYTES", "integer": "INT64", "float": "FP32", "double": "FP64", "boolean": "BOOL"}
"""V2's, by PMML's. Moments travel as text in their ISO form."""


@dataclass(frozen=True, slots=True)
class Field:
    """A field of the document: what it is called, and PMML's name of its type."""

    name: str
    kind: str

    @property
    def datatype(self) -> str:
        return DATATYPES.get(self.kind, "BYTES")


@dataclass(frozen=True, slots=True)
class RowError:
    """Why a row has no answer, and whether the document is to blame, whatever was asked."""

    text: str
    is_documents: bool


@dataclass(frozen=True, slots=True)
class Answers:
    """A value a row for each result field, and for each row what is wrong with it, or None."""

    columns: list[list[Any]]
    errors: list[RowError | None]


def of_rows(rows: list[Any], names: Sequence[str]) -> Columns:
    """Columns of V1 rows. Raises ``InvalidError`` with the place."""
    known = frozenset(names)
    table: list[Sequence[Any]] = []
    for place, row in enumerate(rows):
        where = f"instances[{place}]"
        if isinstance(row, dict):
            if unknown := [name for name in row if name not in known]:
                raise InvalidError(
                    f"{where} has {shown(unknown[0])}, which is no field of the model; {_takes(names)}"
                )
            values: Sequence[Any] = [row.get(name) for name in names]
        elif isinstance(row, list):
            values = row
        else:
            values = [row]
        if len(values) != len(names):
            raise InvalidError(
                f"{where} has {len(values)} value{'s' * (len(values) != 1)}; {_takes(names)}, in this order, null for a missing one"
            )
        for column, value in enumerate(values):
            if isinstance(value, list | dict):
                raise InvalidError(
                    f"{where}, {names[column]!r}, is {type_name(value)}: a field takes one value"
                )
        table.append(values)
    return [list(column) for column in zip(*table, strict=True)]


def of_request(request: InferRequest, names: Sequence[str]) -> Columns:
    """Columns of V2 tensors. Raises ``InvalidError``."""
    tensors = request.inputs
    first = tensors[0]
    if not first.size:
        raise InvalidError(f"input {shown(first.name)} has no rows: send at least one")
    is_matrix = len(first.shape) == 2 and first.shape[1] == len(names)
    if len(tensors) == 1 and (first.name not in names or is_matrix):
        if not is_matrix:
            raise InvalidError(
                f"input {shown(first.name)} has shape {list(first.shape)}: as one matrix the model takes [rows, {len(names)}]; "
                f"{_takes(names)}"
            )
        return _columns(first)
    given: dict[str, list[Any]] = {}
    for tensor in tensors:
        if tensor.name not in names:
            raise InvalidError(f"input {shown(tensor.name)} is no field of the model; {_takes(names)}")
        if len(tensor.shape) > 2 or tensor.shape[1:] not in ((), (1,)) or not tensor.shape:
            raise InvalidError(
                f"input {shown(tensor.name)} has shape {list(tensor.shape)}: a field takes [rows] or [rows, 1]"
            )
        if tensor.shape[0] != first.shape[0]:
            raise InvalidError(
                f"input {shown(tensor.name)} has {tensor.shape[0]} rows, {shown(first.name)} has {first.shape[0]}"
            )
        given[tensor.name] = _values(tensor)
    missing = [None] * first.shape[0]
    return [given.get(name, missing) for name in names]


def as_objects(answers: Answers, fields: Sequence[Field]) -> dict[str, Any]:
    """V1's answer: an object of the result fields a row. Raises ``FailureError`` for the first row without an answer."""
    _check(answers, "instances[{}]")
    names = [field.name for field in fields]
    return {"predictions": [dict(zip(names, row, strict=True)) for row in zip(*answers.columns, strict=True)]}


def as_tensors(answers: Answers, fields: Sequence[Field], wanted: AbstractSet[str]) -> InferResponse:
    """V2's answer: a tensor a result field, of those ``wanted`` (all, where there are none or an unknown one).

    Raises ``FailureError`` for the first row without an answer.
    """
    _check(answers, "row {}")
    if not wanted or not wanted <= {field.name for field in fields}:
        wanted = {field.name for field in fields}
    columns = zip(fields, answers.columns, strict=True)
    return InferResponse([_tensor(field, values) for field, values in columns if field.name in wanted])


def _check(answers: Answers, where: str) -> None:
    for place, error in enumerate(answers.errors):
        if error is None:
            continue
        if error.is_documents:
            text = f"{where.format(place)}: the PMML document is at fault: {error.text}"
            raise FailureError(FailureKind.INTERNAL, text)
        raise InvalidError(f"{where.format(place)}: {error.text}")


def _takes(names: Sequence[str]) -> str:
    more = f", ... ({len(names)} in all)" if len(names) > SHOWN_NAMES else ""
    return f"it takes {', '.join(names[:SHOWN_NAMES])}{more}"


def _columns(matrix: Tensor) -> Columns:
    count, width = matrix.shape
    values = _values(matrix)
    return [values[column::width] for column in range(width)] if count else [[] for _ in range(width)]


def _values(tensor: Tensor) -> list[Any]:
    """A tensor's elements as plain values, flat: text decoded, NaN as None. Raises ``InvalidError``."""
    values: list[Any] = arrays.to_array(tensor).reshape(-1).tolist()
    if tensor.datatype != "BYTES":
        return [None if value != value else value for value in values]
    try:
        return [value.decode() if isinstance(value, bytes) else value for value in values]
    except UnicodeDecodeError as error:
        raise InvalidError(f"input {shown(tensor.name)} has BYTES that are not UTF-8 text") from error


def _tensor(field: Field, values: list[Any]) -> Tensor:
    """One result field. Numbers without an answer are NaN (whole ones FP64 then, as in KServe); text has no such value."""
    absent = next((place for place, value in enumerate(values) if value is None), None)
    odd = next((place for place, value in enumerate(values) if isinstance(value, list | dict)), None)
    if odd is not None:
        raise InvalidError(
            f"row {odd}: the result {field.name!r} has several values, which V2 has no form for: ask by V1"
        )
    if field.datatype in ("BYTES", "BOOL"):
        if absent is not None:
            raise InvalidError(
                f"row {absent}: the model has no {field.name!r} for it, a value that it needs is missing; V1 answers null there"
            )
        if field.datatype == "BOOL":
            return arrays.from_array(field.name, np.array(values, dtype=bool))
        return Tensor(field.name, (len(values),), "BYTES", [str(value) for value in values])
    if field.datatype == "INT64" and absent is None:
        return arrays.from_array(field.name, np.array(values, dtype=np.int64))
    return arrays.from_array(field.name, np.array(values, dtype=np.float64))
