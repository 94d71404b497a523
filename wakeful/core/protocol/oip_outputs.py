"""What model code left in an output, as elements of the datatype that it names: so that every protocol says the same of it.

Called by ``serving.http_v2`` (REST and gRPC) and ``serving.translation`` (V1) for every answer that is not the server's own.
Model code leaves all sorts: numpy arrays of another width, byte order or order in memory, masked ones, scalars, torch tensors,
pandas columns, lists of any of these. What can be said in the datatype without a change is converted; anything else would be
a wrong answer in one protocol and a crash in the next, so that it is a failure that names the output, what it holds and what to
return. Worked example: [1.0, 2.0] for INT64 is [1, 2]; [1.5, 2.0] is refused, as the same list is in a request.

Invariant: of what ``settled`` gives, ``arrays.raw_view``, ``arrays.plain`` and gRPC's contents hold the same elements.
"""

from __future__ import annotations

import math
import operator
from functools import cache
from types import ModuleType
from typing import Any

from wakeful.core.errors import FailureError, FailureKind, InvalidError
from wakeful.core.protocol import json_values, oip, oip_binary, oip_elements
from wakeful.core.protocol.oip import Tensor
from wakeful.core.protocol.problem import shown

_TEXT = {str, bytes}
_FAILURES = (TypeError, ValueError, OverflowError, RuntimeError, AttributeError)
"""What foreign objects raise that cannot be elements."""


class _OddError(Exception):
    """Why data is not what its datatype says; the text goes on after "with"."""


def settled(tensor: Tensor, who: str = "the model") -> Tensor:
    """``tensor`` itself where its data is as protocols need it, else one with the same elements that is.

    Raises ``FailureError`` (internal) where it holds anything else than its shape and datatype say.
    """
    data, datatype = tensor.data, tensor.datatype
    if not isinstance(tensor.name, str):
        raise _failure(who, tensor, ", whose name is not a string")
    if not json_values.is_utf8(tensor.name):
        raise _failure(who, tensor, ", whose name is no UTF-8")
    shape = _shape(tensor.shape)
    if shape is None:
        raise _failure(
            who, tensor, f" of shape {shown(tensor.shape)}, which is not a list of whole numbers from 0"
        )
    if not (isinstance(datatype, str) and datatype in oip.ELEMENT_BYTES):
        known = ", ".join(oip.ELEMENT_BYTES)
        raise _failure(who, tensor, f" of datatype {shown(datatype)}; known are {known}")
    try:
        if type(data) is list:
            found = _of_list(data, datatype)
        elif isinstance(data, bytes | bytearray | memoryview):
            found = _of_bytes(Tensor(tensor.name, shape, datatype, data))
        else:
            found = _of_object(data, datatype)
    except _OddError as odd:
        raise _failure(who, tensor, f" of {datatype} with {odd}") from odd.__cause__
    size = math.prod(shape)
    count = size if isinstance(found, memoryview | bytes) else len(found)
    if count != size:
        raise _failure(who, tensor, f" of shape {list(shape)} with {count} elements")
    if found is data and shape is tensor.shape:
        return tensor
    return Tensor(tensor.name, shape, datatype, found, tensor.parameters)


def _failure(who: str, tensor: Tensor, text: str) -> FailureError:
    return FailureError(FailureKind.INTERNAL, f"{who} answered output {shown(tensor.name)}{text}")


def _shape(given: Any) -> tuple[int, ...] | None:
    """``given`` as a shape, itself where it is one; None for what is none."""
    if type(given) is tuple:
        for size in given:
            if type(size) is not int or size < 0:
                break
        else:
            return given
    try:
        found = tuple(map(operator.index, given))
    except TypeError:
        return None
    return None if found and min(found) < 0 else found


def _of_list(data: list[Any], datatype: str) -> Any:
    if data and type(data[0]) is list:
        try:
            data = oip_elements.flatten(data, "y")
        except InvalidError as error:
            raise _OddError("lists of different lengths: return rows of one length") from error
    if datatype == "BYTES":
        return _utf8(data if set(map(type, data)) <= _TEXT else _texts(data))
    if oip_elements.fits(data, datatype):
        return data
    return _of_object(data, datatype)


def _of_bytes(tensor: Tensor) -> Any:
    """Elements in binary form, which are as many as the shape says."""
    view = memoryview(tensor.data)
    if not view.c_contiguous:
        raise _OddError("a memoryview that is not contiguous: return bytes")
    if tensor.datatype == "BYTES":
        try:
            return oip_binary.split_bytes(tensor, view.cast("B"))
        except InvalidError as error:
            raise _OddError(
                f"{view.nbytes} bytes that are not elements, each behind its length: return a list"
            ) from error
    needed = tensor.size * oip.ELEMENT_BYTES[tensor.datatype]
    if view.nbytes != needed:
        raise _OddError(f"{view.nbytes} bytes: shape {list(tensor.shape)} takes {needed}")
    return tensor.data if type(tensor.data) is memoryview and view.format == "B" else view.cast("B")


def _of_object(data: Any, datatype: str) -> Any:
    """Elements of anything that numpy makes an array of."""
    foreign_arrays = _with_numpy()
    if foreign_arrays.is_settled(data, datatype):
        return data
    try:
        array = foreign_arrays.array_of(data)
        if datatype == "BYTES":
            return _utf8(_texts(foreign_arrays.texts_of(array)))
        return foreign_arrays.numbers_of(array, datatype)
    except foreign_arrays.OddArrayError as odd:
        raise _OddError(str(odd)) from odd
    except _FAILURES as error:
        raise _OddError(
            f"{type(data).__name__}, of which numpy makes no {datatype} ({error}): return a list or an array"[
                :300
            ]
        ) from error


@cache
def _with_numpy() -> ModuleType:
    """What needs numpy, imported by the first answer that needs it."""
    from wakeful.core.protocol import foreign_arrays

    return foreign_arrays


def _utf8(values: list[str | bytes]) -> list[str | bytes]:
    """``values``, whose text can be sent: JSON, binary form and gRPC all carry it as UTF-8."""
    for place, value in enumerate(values):
        if not value.isascii() and isinstance(value, str) and not json_values.is_utf8(value):
            raise _OddError(
                f"{ascii(value)[:60]} as element {place}, half of a surrogate pair, which is no UTF-8: return bytes"
            )
    return values


def _texts(values: list[Any]) -> list[str | bytes]:
    """Elements of BYTES; numbers as their text."""
    found: list[str | bytes] = []
    for place, value in enumerate(values):
        if isinstance(value, str | bytes):
            found.append(value)
        elif isinstance(value, bytearray | memoryview):
            found.append(bytes(value))
        elif isinstance(value, int | float) or hasattr(value, "dtype"):
            found.append(str(value))
        else:
            raise _OddError(f"{type(value).__name__} as element {place}: return text or bytes")
    return found
