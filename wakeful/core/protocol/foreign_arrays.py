"""Arrays as model code makes them (numpy's odd ones, torch's, pandas') as numpy arrays that V2 has a datatype for.

Called by ``oip_outputs``. Nothing here imports torch or pandas: they are known by their methods. Only what changes no element
is converted: byte order, order in memory, width where every number fits, whole floats to integers, missing floats to NaN.

Invariant: ``numbers_of`` gives a flat contiguous array in ``arrays.DTYPES`` of the datatype, or raises.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from wakeful.core.protocol import arrays, oip_elements

ADVICE = {
    "M": "return text, or integers by .astype('int64')",
    "m": "return integers by .astype('int64')",
    "c": "return its .real and .imag, or np.abs() of it",
    "V": "return each field as an output of its own",
    "U": "return numbers, or the datatype BYTES",
    "S": "return numbers, or the datatype BYTES",
    "O": "return an array of numbers",
}
"""What to return instead, by numpy's kind."""


class OddArrayError(Exception):
    """Why an array is no array of a datatype; the text is what it holds and what to return instead."""


def is_settled(data: Any, datatype: str) -> bool:
    """Whether ``data`` is what ``numbers_of`` would give."""
    return (
        type(data) is np.ndarray
        and data.ndim == 1
        and data.dtype == arrays.DTYPES[datatype]
        and datatype != "BYTES"
        and data.flags.c_contiguous
    )


def array_of(data: Any) -> NDArray[Any]:
    """Any array, scalar or sequence as numpy's plain array. Raises what foreign code raises, or ``OddArrayError``."""
    if data is None:
        raise OddArrayError("no data (None): return a list or an array")
    if hasattr(data, "detach"):  # torch: off the graph, off the accelerator
        data = data.detach().cpu()
        if str(data.dtype) == "torch.bfloat16":
            data = data.float()
    elif hasattr(data, "to_numpy"):  # pandas
        data = data.to_numpy()
    if isinstance(data, np.ma.MaskedArray):
        if data.dtype.kind == "f":
            data = data.filled(np.nan)
        elif np.ma.is_masked(data):
            raise OddArrayError(
                f"masked elements of {data.dtype}: fill them, or return floats, where they are NaN"
            )
    return np.asarray(data)


def texts_of(array: NDArray[Any]) -> list[Any]:
    """The elements of an array that is to be text. Raises ``OddArrayError`` for those that have none of one meaning."""
    kind = array.dtype.kind
    if kind == "M":
        array = np.datetime_as_string(array)
    elif kind in "mcV":
        raise _odd(array)
    found: list[Any] = array.reshape(-1).tolist()
    return found


def numbers_of(array: NDArray[Any], datatype: str) -> NDArray[Any]:
    """The elements of an array as ``datatype``. Raises ``OddArrayError`` where one of them is none."""
    if datatype == "BF16":
        if array.dtype != np.uint16:
            numbers = array if array.dtype.name == "bfloat16" else numbers_of(array, "FP32")
            array = arrays.from_array("", numbers, "BF16").data
        return np.ascontiguousarray(array.reshape(-1), "<u2")
    wanted = arrays.DTYPES[datatype]
    if array.dtype.kind == "O":
        array = _of_objects(array, is_float=wanted.kind == "f")
    flat = array.reshape(-1)
    if flat.dtype == wanted:
        return np.ascontiguousarray(flat)
    if flat.dtype.kind not in "biuf":
        raise _odd(array)
    return _as_floats(flat, wanted) if wanted.kind == "f" else _as_whole(flat, wanted, datatype)


def _odd(array: NDArray[Any]) -> OddArrayError:
    kind = array.dtype.kind
    return OddArrayError(f"{array.dtype}: {ADVICE.get(kind, 'return numbers')}"[:300])


def _as_floats(flat: NDArray[Any], wanted: Any) -> NDArray[Any]:
    with np.errstate(over="ignore", invalid="ignore"):
        found = flat.astype(wanted)
    lost = np.isinf(found) & np.isfinite(flat)
    if lost.any():
        raise _outside(flat, int(np.argmax(lost)), wanted)
    return found


def _as_whole(flat: NDArray[Any], wanted: Any, datatype: str) -> NDArray[Any]:
    """Integers, or 0 and 1 for BOOL."""
    if flat.dtype.kind == "f":
        parts = ~np.isfinite(flat) | (np.floor(flat) != flat)
        if parts.any():
            place = int(np.argmax(parts))
            raise OddArrayError(
                f"{flat[place]} as element {place} of {flat.dtype}, which is not whole: round it, or return FP64"
            )
    low, high = oip_elements.INTEGER_RANGES.get(datatype, (0, 1))
    convert = float if flat.dtype.kind == "f" else int
    for place in (int(flat.argmin()), int(flat.argmax())) if flat.size else ():
        if not low <= convert(flat[place]) <= high:
            raise _outside(flat, place, wanted)
    return flat.astype(wanted)


def _outside(flat: NDArray[Any], place: int, wanted: Any) -> OddArrayError:
    return OddArrayError(
        f"{flat[place]} as element {place}, which {wanted.name} does not hold: return a wider datatype"
    )


def _of_objects(array: NDArray[Any], *, is_float: bool) -> NDArray[Any]:
    """Python's own numbers (None is a missing float), decimals and the like as one array."""
    values = array.reshape(-1).tolist()
    for place, value in enumerate(values):
        try:
            if isinstance(value, str | bytes):
                raise TypeError
            if is_float:
                values[place] = np.nan if value is None else float(value)
            else:
                values[place] = int(value)
                if values[place] != value or not -(2**63) <= value < 2**64:
                    raise TypeError
        except (TypeError, ValueError, OverflowError):
            kind = type(value).__name__
            said = f"{value!r:.40}" if isinstance(value, int | float) else kind
            raise OddArrayError(
                f"{said} as element {place}: return {'numbers' if is_float else 'whole numbers'}"
            ) from None
    return np.array(values, np.float64 if is_float else None)
