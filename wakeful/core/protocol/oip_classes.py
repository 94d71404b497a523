"""Triton's classification extension: the highest elements of an output as text, instead of the output itself.

Called by ``oip.select_outputs`` (REST and gRPC alike) for an output whose parameter ``classification`` is N. Source: Triton's
``extension_classification``: BYTES elements ``value:index``, highest first; values as C++'s ``to_string`` writes them (six
decimals of a float). Models here have no labels, so there is no third part. The first of several dimensions counts requests
of a batch, the others together are the classes; an output of one dimension is one request's.
Worked example: [[0.1, 0.7, 0.2]] with N = 2 is [["0.700000:1", "0.200000:2"]], of shape [1, 2].

Invariant: what it gives has min(N, classes) elements a row, equal values in the order of their index, NaN last.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from wakeful.core.errors import InvalidError
from wakeful.core.protocol import arrays
from wakeful.core.protocol.oip import Tensor
from wakeful.core.protocol.problem import shown

WITHOUT_CLASSES = frozenset({"BYTES", "BOOL", "FP16", "BF16"})


def classified(tensor: Tensor, count: Any) -> Tensor:
    """The ``count`` highest classes of ``tensor``, as BYTES; ``tensor`` for a count of 0, as Triton has it. Raises ``InvalidError``."""
    name = shown(tensor.name)
    if type(count) is not int or not 0 <= count < 2**31:
        raise InvalidError(f"output {name}: classification is {shown(count)}, not a number of classes")
    if not count:
        return tensor
    if tensor.datatype in WITHOUT_CLASSES:
        raise InvalidError(
            f"output {name} is {tensor.datatype}, which has no classification: ask for it as it is"
        )
    if not tensor.size:
        raise InvalidError(
            f"output {name} has shape {list(tensor.shape)}, of which there is no classification"
        )
    batch = tensor.shape[:1] if len(tensor.shape) > 1 else ()
    flat = np.frombuffer(arrays.raw_view(tensor), arrays.DTYPES[tensor.datatype])
    values = flat.reshape(*(batch or (1,)), -1)
    keys = np.where(np.isnan(values), -np.inf, values) if values.dtype.kind == "f" else values
    width = values.shape[1]
    order = width - 1 - np.argsort(keys[:, ::-1], axis=1, kind="stable")[:, ::-1][:, :count]
    form = "%f:%d" if values.dtype.kind == "f" else "%d:%d"
    chosen = np.take_along_axis(values, order, axis=1)
    elements = [form % pair for pair in zip(chosen.ravel().tolist(), order.ravel().tolist(), strict=True)]
    return Tensor(tensor.name, (*batch, order.shape[1]), "BYTES", elements, tensor.parameters)
