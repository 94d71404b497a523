"""V2 tensors and numpy arrays, both ways. The only module of core that needs numpy, so it is imported when needed.

Runtimes, users' models and the client call ``to_array`` and ``from_array``; the V2 edge calls ``raw`` for binary answers and
``plain`` for JSON ones. ``object`` arrays exist for BYTES only, and nothing is ever unpickled.

Invariant: ``to_array`` of a binary tensor is a read-only view of the request's bytes: no copy.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from wakeful.core.errors import FailureError, FailureKind
from wakeful.core.protocol import oip, oip_binary

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
    "FP32": np.dtype("<f4"),
    "FP64": np.dtype("<f8"),
    "BYTES": np.dtype("O"),
}
DATATYPES = {(dtype.kind, dtype.itemsize): name for name, dtype in DTYPES.items() if name != "BYTES"}


def to_array(tensor: oip.Tensor) -> NDArray[Any]:
    """The tensor as an array of its shape; BYTES elements are ``str`` (from JSON) or ``bytes`` (from binary)."""
    dtype = DTYPES[tensor.datatype]
    if isinstance(tensor.data, memoryview):
        return np.frombuffer(tensor.data, dtype=dtype).reshape(tensor.shape)
    return np.array(tensor.data, dtype=dtype).reshape(tensor.shape)


def datatype_of(array: NDArray[Any]) -> str:
    """The V2 datatype of an array. Raises ``FailureError`` (internal) for what V2 cannot carry."""
    if array.dtype.kind in "OUS":
        return "BYTES"
    found = DATATYPES.get((array.dtype.kind, array.dtype.itemsize))
    if found is None:
        raise FailureError(
            FailureKind.INTERNAL, f"the model answered with {array.dtype}, for which V2 has no datatype"
        )
    return found


def from_array(name: str, array: NDArray[Any], datatype: str | None = None) -> oip.Tensor:
    """A tensor of ``array``, in its own datatype or (converted) in the one given."""
    kind = datatype or datatype_of(array)
    wanted = DTYPES[kind]
    flat = np.ascontiguousarray(array).reshape(-1)
    if kind != "BYTES" and flat.dtype != wanted:
        flat = flat.astype(wanted)
    return oip.Tensor(name, tuple(array.shape), kind, flat)


def raw(tensor: oip.Tensor) -> bytes:
    """The tensor's bytes in V2 binary form."""
    if tensor.datatype == "BYTES":
        values = tensor.data.tolist() if isinstance(tensor.data, np.ndarray) else tensor.data
        return oip_binary.join_bytes([v if isinstance(v, bytes) else str(v) for v in values])
    if isinstance(tensor.data, bytes | memoryview):
        return bytes(tensor.data)
    return np.ascontiguousarray(tensor.data, dtype=DTYPES[tensor.datatype]).tobytes()


def plain(tensor: oip.Tensor) -> oip.Tensor:
    """The tensor with data that JSON can carry: flat, numbers as they are, BYTES as text."""
    data = tensor.data
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
    if tensor.datatype == "BYTES" and isinstance(data, list):
        data = [v.decode("utf-8", "replace") if isinstance(v, bytes) else v for v in data]
    return oip.Tensor(tensor.name, tensor.shape, tensor.datatype, data, tensor.parameters)
