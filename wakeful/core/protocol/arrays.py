"""V2 tensors and numpy arrays, both ways. It and what builds on it need numpy, so it is imported when needed.

Runtimes, users' models and the client call ``to_array``, ``from_array`` and ``stacked``; the V2 edge calls ``raw`` for
binary answers and ``plain`` for JSON ones. ``object`` arrays exist for BYTES only, and nothing is ever unpickled.

numpy has no bfloat16: BF16 becomes float32 on the way in (exactly) and is rounded to even on the way out; as tensor data
it is the bits, uint16.

Invariant: ``to_array`` of a binary tensor is a read-only view of the request's bytes: no copy (but of BF16 and BYTES).
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np
from numpy.typing import NDArray

from wakeful.core.errors import FailureError, FailureKind, InvalidError
from wakeful.core.protocol import oip, oip_binary
from wakeful.core.protocol.problem import shown

DTYPES: dict[str, Any] = {
    "BOOL": np.dtype("?"),
    "UINT8": np.dtype("u1"),
    "UINT16": np.dtype("<u2"),
    "UINT32": np.dtype("<u4"),
    "UINT64": np.dtype("<u8"),
    "INT8": np.dtype("i1"),
    "INT16": np.dtype("<i2"),
    "INT32": np.dtype("<i4"),
    "INT64": np.dtype("<i8"),
    "FP16": np.dtype("<f2"),
    "BF16": np.dtype("<u2"),
    "FP32": np.dtype("<f4"),
    "FP64": np.dtype("<f8"),
    "BYTES": np.dtype("O"),
}
"""What a tensor's elements are in memory, little-endian."""
BITS = {"BF16", "BYTES"}
"""Datatypes that no numpy type means."""
DATATYPES = {(dtype.kind, dtype.itemsize): name for name, dtype in DTYPES.items() if name not in BITS}
_BF16_NAN = 0x7FC0


def to_array(tensor: oip.Tensor) -> NDArray[Any]:
    """The tensor as an array of its shape; BYTES elements are ``str`` (from JSON) or ``bytes`` (from binary).

    Raises ``InvalidError`` for a byte that is no BOOL.
    """
    dtype = DTYPES[tensor.datatype]
    if isinstance(tensor.data, memoryview):
        found = np.frombuffer(tensor.data, dtype=dtype)
        if tensor.datatype == "BOOL" and found.view(np.uint8).max(initial=0) > 1:
            raise InvalidError(f"input {shown(tensor.name)} has a byte other than 0 and 1, which is not BOOL")
    else:
        found = np.array(tensor.data, dtype=dtype)
    if tensor.datatype == "BF16":
        found = _widened(found)
    return found.reshape(tensor.shape)


def stacked(rows: list[Any]) -> NDArray[Any]:
    """JSON rows as one array: numpy's own, but text (alone or beside anything else) stays the objects that it is.

    Of text numpy makes elements as long as the longest of all: gigabytes of one long text beside many short ones. Raises
    ``ValueError`` for ragged rows, or gives objects that are lists.
    """
    return np.array(rows, dtype=object if _has_text(rows) else None)


def _has_text(rows: list[Any], levels: int = 64) -> bool:
    """Whether there is text at any depth that an array can have."""
    kinds = set(map(type, rows))
    if str in kinds or list not in kinds or not levels:
        return str in kinds
    return any(_has_text(item, levels - 1) for item in rows if type(item) is list)


def _widened(bits: NDArray[Any]) -> NDArray[Any]:
    """float32 of bfloat16 bits: they are its upper half."""
    wide: NDArray[Any] = bits.astype("<u4") << np.uint32(16)
    return wide.view("<f4")


def _narrowed(values: NDArray[Any]) -> NDArray[Any]:
    """bfloat16 bits of numbers, rounded to even."""
    wide = np.ascontiguousarray(values, "<f4").reshape(-1)
    bits = wide.view("<u4")
    halves: NDArray[Any] = (
        (bits + (np.uint32(0x7FFF) + ((bits >> np.uint32(16)) & np.uint32(1)))) >> np.uint32(16)
    ).astype("<u2")
    halves[np.isnan(wide)] = _BF16_NAN
    return halves


def datatype_of(array: NDArray[Any]) -> str:
    """The V2 datatype of an array. Raises ``FailureError`` (internal) for what V2 cannot carry."""
    if array.dtype.kind in "OUS":
        return "BYTES"
    found = DATATYPES.get((array.dtype.kind, array.dtype.itemsize))
    if found is not None:
        return found
    if array.dtype.name == "bfloat16":
        return "BF16"
    raise FailureError(
        FailureKind.INTERNAL, f"the model answered with {array.dtype}, for which V2 has no datatype"
    )


def from_array(name: str, array: NDArray[Any], datatype: str | None = None) -> oip.Tensor:
    """A tensor of ``array``, in its own datatype or (converted) in the one given. The array is kept, not copied."""
    kind = datatype or datatype_of(array)
    wanted = DTYPES[kind]
    flat: NDArray[Any] = array if array.ndim == 1 else array.reshape(-1)
    if not flat.flags.c_contiguous:
        flat = np.ascontiguousarray(flat)
    if kind == "BF16":
        flat = flat.view("<u2") if flat.dtype.name == "bfloat16" else _narrowed(flat)
    elif kind != "BYTES" and flat.dtype != wanted:
        flat = flat.astype(wanted)
    return oip.Tensor(name, tuple(array.shape), kind, flat)


def raw(tensor: oip.Tensor) -> bytes:
    """The tensor's bytes in V2 binary form."""
    return bytes(raw_view(tensor))


def raw_view(tensor: oip.Tensor) -> bytes | memoryview:
    """As ``raw``, without a copy where the tensor has its bytes in this form: they must not change while they are sent."""
    data = tensor.data
    if isinstance(data, bytes | memoryview):
        return data
    if tensor.datatype == "BYTES":
        values = data.tolist() if isinstance(data, np.ndarray) else data
        return oip_binary.join_bytes([v if isinstance(v, bytes) else str(v) for v in values])
    if tensor.datatype == "BF16" and not (isinstance(data, np.ndarray) and data.dtype == np.uint16):
        flat = _narrowed(np.asarray(data))
    else:
        flat = np.ascontiguousarray(data, dtype=DTYPES[tensor.datatype]).reshape(-1)
    return flat.view(np.uint8).data


def plain(tensor: oip.Tensor) -> oip.Tensor:
    """The tensor with data that JSON can carry: flat, numbers as they are (NaN becomes null), BYTES as text.

    Raises ``InvalidError`` for infinities and for BYTES that are no UTF-8: ask for those in binary form.
    """
    data = tensor.data
    if type(data) is np.ndarray and is_plain(tensor.datatype, data):
        return tensor
    if isinstance(data, bytes | memoryview):
        data = np.frombuffer(data, dtype=DTYPES[tensor.datatype])
    if isinstance(data, np.ndarray):
        data = np.ascontiguousarray(data).reshape(-1)
        if data.dtype.kind in "OUS":
            data = data.tolist()
        elif data.dtype.byteorder == ">":
            data = data.astype(data.dtype.newbyteorder("<"))
    elif data and isinstance(data[0], list):
        data = np.array(data).reshape(-1)
    if tensor.datatype == "BYTES":
        if isinstance(data, list):
            data = _text(tensor, data)
    elif tensor.datatype in ("FP32", "FP64") and np.isinf(_numbers(data)).any():
        raise oip.no_json_form(tensor, "Infinity")
    return oip.Tensor(tensor.name, tensor.shape, tensor.datatype, data, tensor.parameters)


def is_plain(datatype: str, data: NDArray[Any]) -> bool:
    """Whether an array is what JSON takes as it is: flat, in this machine's byte order, and finite as a whole."""
    if not is_raw(datatype, data):
        return False
    if data.dtype.kind != "f":
        return True
    with np.errstate(invalid="ignore", over="ignore"):  # infinities of both signs, or a sum that is one
        return math.isfinite(float(np.add.reduce(data)))


def is_raw(datatype: str, data: NDArray[Any]) -> bool:
    """Whether the memory of an array is its tensor's binary form: flat, of this datatype, little-endian."""
    return (
        data.ndim == 1 and data.dtype == DTYPES[datatype] and datatype not in BITS and data.flags.c_contiguous
    )


def _numbers(data: Any) -> Any:
    """``data`` to look for infinities in: a list without floats has none."""
    if isinstance(data, list):
        return [value for value in data if type(value) is float] or [0.0]
    return data


def _text(tensor: oip.Tensor, values: list[Any]) -> list[Any]:
    try:
        return [value.decode() if isinstance(value, bytes) else value for value in values]
    except UnicodeDecodeError as error:
        raise oip.no_json_form(tensor, "BYTES that are not UTF-8 text") from error
