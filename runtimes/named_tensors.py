"""Requests as the named tensors that a graph takes (ONNX, PyTorch): names, shapes and datatypes checked beforehand.

Called by ``runtimes.onnx`` and ``runtimes.torch`` with what the model says of its inputs, so that a wrong request is told
in the caller's words and not in the framework's. Kinder than Triton: numbers of the same kind are converted (FP64 for
FP32, INT32 for INT64) where every value fits; the name does not matter where there is one tensor on both sides.

Invariant: what ``of_request`` and ``of_rows`` return has exactly the model's inputs, in its order and datatypes.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from wakeful.core.errors import InvalidError
from wakeful.core.protocol import arrays
from wakeful.core.protocol.oip import InferRequest
from wakeful.core.protocol.problem import shown
from wakeful.serving.model import TensorSpec

Arrays = dict[str, NDArray[Any]]


def of_request(request: InferRequest, specs: Mapping[str, TensorSpec]) -> Arrays:
    """The model's inputs from a V2 request. Raises ``InvalidError``."""
    given = {tensor.name: tensor for tensor in request.inputs}
    if len(given) == 1 and len(specs) == 1:
        given = dict(zip(specs, given.values(), strict=True))
    if unknown := [name for name in given if name not in specs]:
        raise InvalidError(f"input {shown(unknown[0])} is none of the model's: it takes {', '.join(specs)}")
    if missing := [name for name in specs if name not in given]:
        raise InvalidError(f"input {missing[0]!r} is missing; the model takes {', '.join(specs)}")
    return {
        name: fitted(arrays.to_array(given[name]), spec, f"input {shown(given[name].name)}")
        for name, spec in specs.items()
    }


def of_rows(rows: list[Any], specs: Mapping[str, TensorSpec | None]) -> Arrays:
    """The model's inputs from V1 rows: values for the only input, or objects by input name. Raises ``InvalidError``.

    A spec of None: the model does not say what it takes; numbers with a fraction are FP32 then, others INT64.
    """
    if not isinstance(rows[0], dict):
        if len(specs) > 1:
            raise InvalidError(f"the model takes {', '.join(specs)}: send rows as objects with these members")
        return {
            name: _fitted(_stacked(rows, "instances"), spec, '"instances"') for name, spec in specs.items()
        }
    stacked: Arrays = {}
    for name, spec in specs.items():
        for place, row in enumerate(rows):
            if not isinstance(row, dict) or name not in row:
                raise InvalidError(f"instances[{place}] has no {name!r}; the model takes {', '.join(specs)}")
        what = f"the {name!r} of the instances"
        stacked[name] = _fitted(_stacked([row[name] for row in rows], what), spec, what)
    return stacked


def by_row(results: Arrays, count: int) -> Any:
    """V1's predictions: the only output's values a row; objects by output name a row, where there are several.

    Outputs that are not one value for each of ``count`` rows come whole, by name.
    """
    plain = {name: array.tolist() for name, array in results.items()}
    if len(plain) == 1:
        return next(iter(plain.values()))
    if any(not isinstance(values, list) or len(values) != count for values in plain.values()):
        return plain
    return [{name: values[place] for name, values in plain.items()} for place in range(count)]


def _stacked(values: list[Any], what: str) -> NDArray[Any]:
    try:
        array = arrays.stacked(values)
    except (ValueError, TypeError, OverflowError) as error:
        raise InvalidError(f"{what} are ragged: rows differ in shape") from error
    if array.dtype.kind != "O":
        return array
    kinds = set(map(type, array.reshape(-1)))
    if kinds <= {int, float, type(None)}:  # null is a missing value
        return array.astype(np.float64)
    if kinds == {str}:
        return array
    if list in kinds:
        raise InvalidError(f"{what} are ragged: rows differ in shape")
    raise InvalidError(f"{what} hold values that are neither all numbers nor all text")


def _fitted(array: NDArray[Any], spec: TensorSpec | None, what: str) -> NDArray[Any]:
    if spec is None:
        return array.astype(np.float32) if array.dtype.kind == "f" else array
    return fitted(array, spec, what)


def fitted(array: NDArray[Any], spec: TensorSpec, what: str) -> NDArray[Any]:
    """``array`` in the datatype and shape of ``spec``. Raises ``InvalidError`` that begins with ``what``."""
    wanted = spec.shape
    if len(array.shape) != len(wanted) or any(
        size not in (-1, given) for size, given in zip(wanted, array.shape, strict=False)
    ):
        raise InvalidError(f"{what} has shape {list(array.shape)}: the model takes {list(wanted)}")
    if spec.datatype == "BYTES":
        return _text(array, what)
    target = arrays.DTYPES[spec.datatype]
    if array.dtype == target:
        return array
    source = array.dtype.kind
    if source in "OUS" or not (
        source in "iu" if target.kind in "iu" else target.kind == "f" and source in "fiu"
    ):
        raise InvalidError(f"{what} holds {_named(array)}: the model takes {spec.datatype}")
    if target.kind in "iu":
        bounds = np.iinfo(target)
        if array.size and (int(array.min()) < bounds.min or int(array.max()) > bounds.max):
            raise InvalidError(
                f"{what} holds numbers that are no {spec.datatype}: it takes {bounds.min} to {bounds.max}"
            )
    with np.errstate(over="ignore"):  # a number beyond FP32 is its infinity there
        return array.astype(target)


def _text(array: NDArray[Any], what: str) -> NDArray[Any]:
    if array.dtype.kind not in "OUS":
        raise InvalidError(f"{what} holds {_named(array)}: the model takes text (BYTES)")
    try:
        flat = [value.decode() if isinstance(value, bytes) else value for value in array.reshape(-1)]
    except UnicodeDecodeError as error:
        raise InvalidError(f"{what} has BYTES that are not UTF-8 text") from error
    return np.array(flat, dtype=object).reshape(array.shape)


def _named(array: NDArray[Any]) -> str:
    return "text" if array.dtype.kind in "OUS" else arrays.datatype_of(array)
