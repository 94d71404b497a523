"""Requests that are recognised at once are read as those that are looked at closely, whatever is in them."""

from __future__ import annotations

import copy
import math
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from wakeful.core.errors import FailureError
from wakeful.core.protocol import oip, oip_elements

TENSOR = {"name": "x", "shape": [2, 2], "datatype": "FP64", "data": [1.5, 2, 3, 4]}
ODD = st.sampled_from(
    [None, True, 0, 1, -1, 2.0, 2.5, "", "a", [], [1], {}, {"binary_data": True}, 2**63, 2**70]
)
PARAMETERS = st.dictionaries(
    st.sampled_from(["binary_data", "shared_memory_region", "p"]), st.booleans() | st.just("r"), max_size=2
)
INPUT = st.fixed_dictionaries(
    {},
    optional={
        "name": st.sampled_from(["x", "y", "é"]) | ODD,
        "shape": st.lists(st.integers(1, 3) | ODD, max_size=3) | ODD,
        "datatype": st.sampled_from([*oip.ELEMENT_BYTES, "fp32", "X"]) | ODD,
        "data": st.lists(st.integers(-1, 300) | ODD, max_size=4) | ODD,
        "parameters": PARAMETERS | ODD,
        "more": ODD,
    },
)
PLAIN_INPUT = st.fixed_dictionaries(
    {
        "name": st.sampled_from("xyz"),
        "shape": st.just([2, 2]),
        "datatype": st.just("FP64"),
        "data": st.just([1, 2, 3, 4]),
    },
    optional={"parameters": PARAMETERS | st.none()},
)
OUTPUT = (
    st.fixed_dictionaries({"name": st.sampled_from("ab")}, optional={"parameters": PARAMETERS | ODD}) | ODD
)
REQUEST = st.fixed_dictionaries(
    {"inputs": st.lists(PLAIN_INPUT | INPUT | ODD, max_size=3) | ODD},
    optional={
        "id": st.text(max_size=2) | ODD,
        "outputs": st.lists(OUTPUT, max_size=3) | ODD,
        "parameters": PARAMETERS | ODD,
        "more": ODD,
    },
)


def closely(value: Any) -> Any:
    try:
        return oip._from_any(value)
    except FailureError as error:
        return str(error)


@given(REQUEST | ODD)
def test_both_ways_read_the_same(value: Any) -> None:
    quickly = oip._plain(copy.deepcopy(value))
    if quickly is not None:
        assert quickly == closely(value)


@pytest.mark.parametrize(
    "request_",
    [
        {"inputs": [TENSOR]},
        {"inputs": [TENSOR | {"parameters": {}}], "id": "7"},
        {"inputs": [TENSOR, TENSOR | {"name": "y", "datatype": "BYTES", "data": ["a"] * 4}]},
        {"inputs": [TENSOR], "outputs": [{"name": "o", "parameters": {"binary_data": True}}]},
        {"inputs": [TENSOR], "parameters": {"a": 1}, "outputs": None, "id": None},
        {"inputs": [{"name": "x", "shape": [1], "datatype": "FP32", "parameters": {"binary_data_size": 4}}]},
    ],
    ids=["one", "id", "several", "outputs", "parameters", "binary"],
)
def test_what_most_clients_send_is_recognised(request_: Any) -> None:
    assert oip._plain(request_) == closely(request_)


def fits(value: Any, datatype: str) -> bool:
    """What ``check`` says of one element, in other words."""
    if datatype == "BYTES":
        return type(value) is str
    if datatype == "BOOL":
        return type(value) is bool or (type(value) is int and value in (0, 1))
    if datatype in oip_elements.INTEGER_RANGES:
        low, high = oip_elements.INTEGER_RANGES[datatype]
        return bool(type(value) in (int, float) and value == math.floor(value) and low <= value <= high)
    if datatype == "FP32" and type(value) in (int, float):
        return bool(abs(value) <= oip_elements.FP32_MAX)
    return type(value) in (int, float, type(None))


VALUES = [
    0,
    1,
    -1,
    255,
    256,
    2**31,
    2**63,
    -(2**63),
    2**64,
    0.0,
    1.5,
    3.0,
    -2.0,
    1e39,
    -1e39,
    True,
    None,
    "a",
    [1],
]
KINDS = sorted(set(oip.ELEMENT_BYTES) - oip.BINARY_ONLY)


@given(st.lists(st.sampled_from(VALUES), min_size=1, max_size=4), st.sampled_from(KINDS))
def test_elements_pass_exactly_if_each_fits(values: list[Any], datatype: str) -> None:
    given_ = list(values)
    try:
        oip_elements.check(given_, datatype, "x")
    except FailureError:
        assert not all(fits(value, datatype) for value in values)
        return
    assert all(fits(value, datatype) for value in values)
    assert [value for value in given_ if value == value] == [value for value in values if value is not None]
    if datatype in oip_elements.INTEGER_RANGES:
        assert all(type(value) is int for value in given_)
