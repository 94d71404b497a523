"""Elements of V2 tensors in JSON: flat from nested, right types, right ranges.

Called by ``oip`` only. The checks are single passes of built-ins over the list (``set(map(type, ...))``, ``min``,
``max``), about 30 ns an element, so that strictness costs less than parsing. JSON knows neither the difference
between 1 and 1.0 nor widths: whole floats are taken for integers (3.0 for INT32), 3.5 and 300 for UINT8 are refused
instead of cut off. ``null`` among floats is NaN: that is how an answer's NaN is written, JSON having no word for it.

Invariant: a list that passes ``check`` converts to its numpy type without overflow and without loss of the whole part.
"""

from __future__ import annotations

import math
import operator
from collections.abc import Sequence
from itertools import accumulate, chain
from typing import Any

from wakeful.core.errors import InvalidError
from wakeful.core.protocol.problem import shown, type_name

INTEGER_RANGES = {
    "UINT8": (0, 2**8 - 1),
    "UINT16": (0, 2**16 - 1),
    "UINT32": (0, 2**32 - 1),
    "UINT64": (0, 2**64 - 1),
    "INT8": (-(2**7), 2**7 - 1),
    "INT16": (-(2**15), 2**15 - 1),
    "INT32": (-(2**31), 2**31 - 1),
    "INT64": (-(2**63), 2**63 - 1),
}
FP32_MAX = 3.4028235677973362e38
"""The largest double that is a finite FP32 once rounded: the shortest text of FP32's own maximum, 3.4028235e38, is over it."""
MAX_DEPTH = 1024
"""Levels of nested lists, as many as JSON has at most: a list that holds itself has no end."""
_NAN = float("nan")
_NUMBERS = {int, float}


def flatten(data: list[Any], name: str, shape: Sequence[int] | None = None) -> list[Any]:
    """The elements of nested lists, row by row.

    Raises ``InvalidError`` where rows differ in length or depth, or (where ``shape`` is given) are cut otherwise: [3, 2] nested is
    no [2, 3], though both hold six. Levels may be joined or split: [2, 4] nested is a [2, 2, 2].
    """
    level = data
    depth = 1
    nested = [len(data)]
    while level and type(level[0]) is list:
        if depth > MAX_DEPTH:
            raise InvalidError(f"input {name}: data is nested more than {MAX_DEPTH} levels deep")
        width = len(level[0])
        for place, row in enumerate(level):
            if type(row) is not list or len(row) != width:
                got = f"has {len(row)} elements" if type(row) is list else f"is {type_name(row)}"
                raise InvalidError(
                    f"input {name}: data is ragged: at depth {depth}, the first row has {width} elements and "
                    f"row {place} {got}"
                )
        level = list(chain.from_iterable(level))
        depth += 1
        nested.append(width)
    if shape is not None and len(level) == math.prod(shape):
        given, wanted = _blocks(nested), _blocks(shape)
        if not (given <= wanted or wanted <= given):
            raise InvalidError(
                f"input {name}: data is nested as {shown(nested)}, not as its shape {list(shape)}"
            )
    return level


def _blocks(shape: Sequence[int]) -> set[int]:
    """How many elements a step along each dimension passes: what a shape says of the order, whatever its ones."""
    return set(accumulate(reversed(shape), operator.mul)) - {1}


def fits(flat: list[Any], datatype: str) -> bool:
    """Whether ``flat`` holds nothing but Python's own numbers, each as ``datatype`` has it. False: look closer."""
    types = set(map(type, flat))
    if datatype == "BOOL":
        return types <= {bool}
    return types <= _NUMBERS and (datatype == "FP64" or _are_fit(flat, types, datatype))


def check(flat: list[Any], datatype: str, name: str) -> None:
    """Refuse elements that ``datatype`` cannot hold. Whole floats become integers in place. Raises ``InvalidError``."""
    types = set(map(type, flat))
    if types <= _NUMBERS and (datatype == "FP64" or _are_fit(flat, types, datatype)):
        return
    name = shown(name)
    if datatype == "BYTES":
        _expect(flat, types, {str}, datatype, name)
    elif datatype == "BOOL":
        _expect(flat, types, {bool, int}, datatype, name)
        if int in types and any(value not in (0, 1) for value in flat):
            raise InvalidError(f"input {name}: BOOL takes true and false")
    elif datatype in INTEGER_RANGES:
        _expect(flat, types, {int, float}, datatype, name)
        if float in types:
            _make_whole(flat, datatype, name)
        low, high = INTEGER_RANGES[datatype]
        _in_range(flat, low, high, datatype, name)
    else:
        _expect(flat, types, {int, float, type(None)}, datatype, name)
        if datatype == "FP32":
            _in_range(flat, -FP32_MAX, FP32_MAX, datatype, name)
        if type(None) in types:
            flat[:] = [_NAN if value is None else value for value in flat]


def _expect(flat: list[Any], types: set[type], allowed: set[type], datatype: str, name: str) -> None:
    wrong = types - allowed
    if not wrong:
        return
    place, value = next((place, value) for place, value in enumerate(flat) if type(value) in wrong)
    text = f"{type_name(value)}" if value is None or isinstance(value, list | dict) else shown(value)
    raise InvalidError(f"input {name}: element {place} of data is {text}, which is not {datatype}")


def _make_whole(flat: list[Any], datatype: str, name: str) -> None:
    for place, value in enumerate(flat):
        if type(value) is float:
            if not value.is_integer():
                raise InvalidError(
                    f"input {name}: element {place} of data is {value}, which is not {datatype}"
                )
            flat[place] = int(value)


def _are_fit(flat: list[Any], types: set[type], datatype: str) -> bool:
    """Whether plain numbers are what ``datatype`` holds as they are; False: look closer."""
    if not flat:
        return True
    if datatype == "FP32":
        return bool(min(flat) >= -FP32_MAX and max(flat) <= FP32_MAX)
    bounds = INTEGER_RANGES.get(datatype)
    if bounds is None or float in types:
        return False
    return bool(bounds[0] <= min(flat) and max(flat) <= bounds[1])


def _in_range(flat: list[Any], low: float, high: float, datatype: str, name: str) -> None:
    """Refuse what is outside; nulls (whose check came before) have no size."""
    given = flat
    if datatype == "FP32" and type(None) in set(map(type, flat)):
        given = [value for value in flat if value is not None] or [low]
    for extreme in (min(given), max(given)):
        if not low <= extreme <= high:
            place = flat.index(extreme)
            raise InvalidError(
                f"input {name}: element {place} of data is {shown(extreme)}, outside {datatype} ({low} to {high})"
            )
