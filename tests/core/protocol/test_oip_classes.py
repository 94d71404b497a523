"""Triton's classification of an output: which elements, in which order, written how; and what has none."""

from __future__ import annotations

import struct
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from wakeful.core.errors import InvalidError
from wakeful.core.protocol import oip
from wakeful.core.protocol.oip_classes import classified

NAN, INF = float("nan"), float("inf")


def tensor(data: Any, *shape: int, datatype: str = "FP32") -> oip.Tensor:
    return oip.Tensor("y", shape, datatype, data)


@pytest.mark.parametrize(
    ("given_tensor", "count", "shape", "expected"),
    [
        (tensor([1, 5, 10, 4], 4, datatype="INT32"), 2, (2,), ["10:2", "5:1"]),
        (tensor([1.1, 3.3, 0.5, 2.4], 4, datatype="FP64"), 2, (2,), ["3.300000:1", "2.400000:3"]),
        (tensor([0.25, 0.75], 1, 2), 1, (1, 1), ["0.750000:1"]),
        (tensor([1, 2, 4, 3], 2, 2), 5, (2, 2), ["2.000000:1", "1.000000:0", "4.000000:0", "3.000000:1"]),
        (tensor([1, 2, 3, 4, 0, 0, 0, 9], 2, 2, 2, datatype="UINT8"), 2, (2, 2), ["4:3", "3:2", "9:3", "0:0"]),
        (tensor([3, 1, 3, 3], 4, datatype="INT8"), 3, (3,), ["3:0", "3:2", "3:3"]),
        (tensor([NAN, 1, -INF, INF], 4), 4, (4,), ["inf:3", "1.000000:1", "nan:0", "-inf:2"]),
        (tensor([0, 2**64 - 1], 2, datatype="UINT64"), 1, (1,), [f"{2**64 - 1}:1"]),
        (tensor([-(2**63), 0], 2, datatype="INT64"), 2, (2,), ["0:1", f"{-(2**63)}:0"]),
        (tensor(memoryview(struct.pack("<2f", 1, 2)), 2), 1, (1,), ["2.000000:1"]),
        (tensor(np.array([[1, 2], [4, 3]], ">f4").reshape(-1), 2, 2), 1, (2, 1), ["2.000000:1", "4.000000:0"]),
    ],
    ids=["ints", "floats", "batch-of-one", "more-than-there-are", "three-dimensions", "ties", "not-finite", "uint64", "int64",
         "bytes", "array"],
)  # fmt: skip
def test_the_highest_come_first(
    given_tensor: oip.Tensor, count: int, shape: tuple[int, ...], expected: list[str]
) -> None:
    found = classified(given_tensor, count)
    assert (found.name, found.datatype, found.shape, found.data) == ("y", "BYTES", shape, expected)


def test_no_classes_is_the_output_itself() -> None:
    whole = tensor([1.0], 1)
    assert classified(whole, 0) is whole


@pytest.mark.parametrize("count", [-1, True, 1.0, "2", None, [1], 2**31, 2**70])
def test_counts_that_are_none(count: Any) -> None:
    with pytest.raises(InvalidError, match=r"output 'y': classification is .*, not a number of classes"):
        classified(tensor([1.0], 1), count)


@pytest.mark.parametrize(
    "given_tensor",
    [
        tensor(["a"], 1, datatype="BYTES"),
        tensor([True], 1, datatype="BOOL"),
        tensor(np.zeros(1, "<f2"), 1, datatype="FP16"),
        tensor([], 0),
    ],
    ids=["text", "bool", "half", "empty"],
)
def test_outputs_without_classes(given_tensor: oip.Tensor) -> None:
    with pytest.raises(InvalidError, match="output 'y'"):
        classified(given_tensor, 1)


@given(st.lists(st.integers(-3, 3), min_size=1, max_size=12), st.integers(1, 12))
def test_as_sorted_by_value_then_index(values: list[int], count: int) -> None:
    ranked = sorted(range(len(values)), key=lambda place: (-values[place], place))[:count]
    found = classified(tensor(values, len(values), datatype="INT16"), count)
    assert found.data == [f"{values[place]}:{place}" for place in ranked]
