"""Outputs as model code leaves them: converted where no element changes, else refused with the output, what it holds and what to do."""

from __future__ import annotations

import datetime
from decimal import Decimal
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from wakeful.core.errors import FailureError, FailureKind
from wakeful.core.protocol import arrays, json_values, oip, oip_outputs

NAN, INF = float("nan"), float("inf")
A = np.array


class Torch:
    """A tensor as torch has it: on a graph, and (bfloat16) of a type that numpy has not."""

    def __init__(self, values: Any, dtype: str = "torch.float32") -> None:
        self._values, self.dtype, self._steps = values, dtype, set[str]()

    def detach(self) -> Torch:
        self._steps.add("detached")
        return self

    def cpu(self) -> Torch:
        self._steps.add("here")
        return self

    def float(self) -> Torch:
        self.dtype = "torch.float32"
        return self

    def __array__(self, dtype: Any = None, copy: Any = None) -> Any:
        assert self._steps == {"detached", "here"} and self.dtype == "torch.float32"
        return A(self._values, np.float32)


class Column:
    """A column as pandas has it."""

    def to_numpy(self) -> Any:
        return A([1, None, 3], object)


def settled(data: Any, datatype: str, *shape: int) -> Any:
    found = oip_outputs.settled(oip.Tensor("y", shape or (2,), datatype, data))
    count = found.size * oip.ELEMENT_BYTES[datatype]
    if count:
        assert len(bytes(arrays.raw_view(found))) == count
    return arrays.to_array(found).tolist() if not isinstance(found.data, list) else found.data


@pytest.mark.parametrize(
    ("data", "datatype", "shape", "expected"),
    [
        (A([1, 2], ">f4"), "FP32", (), [1.0, 2.0]),
        (A([1, -2], ">i8"), "INT64", (), [1, -2]),
        (A([1, 2], np.longdouble), "FP64", (), [1.0, 2.0]),
        (A([1.5, 2], "f8"), "FP32", (), [1.5, 2.0]),
        (A([1, 2], "u8"), "FP16", (), [1.0, 2.0]),
        (A([1.0, 2.0]), "INT64", (), [1, 2]),
        (A([255, 0]), "UINT8", (), [255, 0]),
        (A([1, 0]), "BOOL", (), [True, False]),
        ([True, False], "INT64", (), [1, 0]),
        ([1, 2.0], "INT32", (), [1, 2]),
        (A(3.0), "FP32", (1,), [3.0]),
        (3.0, "FP32", (1,), [3.0]),
        (np.float16(3), "FP64", (1,), [3.0]),
        (A([[1, 2, 3], [4, 5, 6]], "f4").T, "FP32", (3, 2), [[1, 4], [2, 5], [3, 6]]),
        (A([[1, 2], [3, 4]], "f4")[:, 1], "FP32", (2,), [2, 4]),
        (np.ma.masked_array(A([1, 2]), [False, False]), "INT64", (), [1, 2]),
        (A([np.float32(1.5), 2], object), "FP64", (), [1.5, 2.0]),
        ([Decimal("1.5"), 2], "FP64", (), [1.5, 2.0]),
        ([Decimal(1), np.int8(2)], "INT16", (), [1, 2]),
        ((1.0, 2.0), "FP32", (), [1.0, 2.0]),
        (range(2), "INT64", (), [0, 1]),
        ([[1.0], [2.0]], "FP32", (2, 1), [1.0, 2.0]),
        (b"\0\0\x80\x3f" * 2, "FP32", (), [1.0, 1.0]),
        (bytearray(2), "UINT8", (), [0, 0]),
        (A([1.0, 2.0], "<f4").data, "FP32", (), [1.0, 2.0]),
        (b"\1\0\0\0a\0\0\0\0", "BYTES", (), [b"a", b""]),
        (Torch([1.5, 2]), "FP32", (), [1.5, 2.0]),
        (Torch([1.5, 2], "torch.bfloat16"), "BF16", (), [1.5, 2.0]),
        (A([1.5, 2], ">f8"), "BF16", (), [1.5, 2.0]),
        (A([b"a", b"b"]), "BYTES", (), [b"a", b"b"]),
        (A(["a", b"\0"], object), "BYTES", (), ["a", b"\0"]),
        ([b"a\0", np.str_("b")], "BYTES", (), [b"a\0", "b"]),
        ([bytearray(b"a"), memoryview(b"b")], "BYTES", (), [b"a", b"b"]),
        (A(["a", 1], object), "BYTES", (), ["a", "1"]),
        (A(["2020-01-01", "2020-01-02"], "M8[ns]"), "BYTES", (),
         ["2020-01-01T00:00:00.000000000", "2020-01-02T00:00:00.000000000"]),
        ("text", "BYTES", (1,), ["text"]),
    ],
)  # fmt: skip
def test_what_can_be_said_is_converted(
    data: Any, datatype: str, shape: tuple[int, ...], expected: Any
) -> None:
    assert settled(data, datatype, *shape) == expected


@pytest.mark.parametrize(
    ("data", "datatype", "words"),
    [
        (A(["2020-01-01"] * 2, "M8[D]"), "INT64", "datetime64[D]: return text, or integers by .astype('int64')"),
        (A([1, 2], "m8[s]"), "FP64", "timedelta64[s]: return integers"),
        (np.zeros(2, [("a", "f4")]), "FP32", "return each field as an output of its own"),
        (np.zeros(2, "V4"), "BYTES", "|V4"),
        (A([1j, 2]), "FP32", "complex128: return its .real"),
        (A([1j, 2]), "BYTES", "complex128"),
        (np.ma.masked_array(A([1, 2]), [True, False]), "INT64", "masked elements of int64"),
        (A([1.5, 2]), "INT64", "1.5 as element 0 of float64, which is not whole"),
        ([1, 2.5], "INT64", "2.5 as element 1 of float64, which is not whole"),
        (A([1, NAN]), "INT32", "nan as element 1"),
        (A([1, 300]), "UINT8", "300 as element 1, which uint8 does not hold"),
        ([1, 2**70], "INT64", "as element 1: return whole numbers"),
        (A([2**63, 1], "u8"), "INT64", "9223372036854775808 as element 0"),
        (A([2.0**63, 1]), "INT64", "as element 0, which int64"),
        (A([1e300, 1]), "FP32", "1e+300 as element 0, which float32"),
        (A([70000, 1]), "FP16", "70000 as element 0, which float16"),
        (A([2, 0]), "BOOL", "2 as element 0, which bool"),
        (["1.5", "2"], "FP32", "return numbers, or the datatype BYTES"),
        (A(["1", 2], object), "INT64", "str as element 0: return whole numbers"),
        ([None, 2], "INT64", "NoneType as element 0: return whole numbers"),
        ([datetime.date(2020, 1, 1)] * 2, "FP32", "date as element 0: return numbers"),
        (["a", None], "BYTES", "NoneType as element 1: return text or bytes"),
        (["a", {"b": 1}], "BYTES", "dict as element 1: return text or bytes"),
        ({"a": 1}, "FP32", "dict as element 0: return numbers"),
        (None, "FP32", "no data (None)"),
        (object(), "FP32", "object as element 0"),
        ([[1, 2], [3]], "FP32", "lists of different lengths"),
        ([A([1, 2]), A([3])], "FP32", "list, of which numpy makes no FP32"),
        (b"\0" * 7, "FP32", "7 bytes: shape [2] takes 8"),
        (memoryview(bytes(16))[::2], "FP32", "not contiguous"),
        (b"abc", "BYTES", "3 bytes that are not elements"),
        ([1.0], "FP32", "of shape [2] with 1 elements"),
        ("ab", "BYTES", "of shape [2] with 1 elements"),
    ],
)  # fmt: skip
def test_what_cannot_be_said_is_refused(data: Any, datatype: str, words: str) -> None:
    with pytest.raises(FailureError) as caught:
        oip_outputs.settled(oip.Tensor("y", (2,), datatype, data), "model m")
    assert caught.value.kind is FailureKind.INTERNAL
    assert str(caught.value).startswith("model m answered output 'y' of ") and words in str(caught.value)


@pytest.mark.parametrize(
    ("tensor", "words"),
    [
        (oip.Tensor(5, (1,), "FP32", [1.0]), "output 5, whose name is not a string"),  # type: ignore[arg-type]
        (oip.Tensor("y", (1.5,), "FP32", [1.0]), "of shape (1.5,), which is not a list of whole"),  # type: ignore[arg-type]
        (oip.Tensor("y", None, "FP32", [1.0]), "of shape None"),  # type: ignore[arg-type]
        (oip.Tensor("y", (-1,), "FP32", [1.0]), "of shape (-1,)"),
        (oip.Tensor("y", (1,), np.dtype("f4"), [1.0]), "of datatype dtype('float32'); known are BOOL"),  # type: ignore[arg-type]
        (oip.Tensor("y", (1,), [], [1.0]), "of datatype []; known are BOOL"),  # type: ignore[arg-type]
    ],
    ids=["name", "shape", "no-shape", "negative", "dtype", "list"],
)  # fmt: skip
def test_names_shapes_and_datatypes_that_are_none(tensor: oip.Tensor, words: str) -> None:
    with pytest.raises(FailureError) as caught:
        oip_outputs.settled(tensor)
    assert words in str(caught.value) and caught.value.kind is FailureKind.INTERNAL


def test_shapes_of_other_integers_are_shapes() -> None:
    for shape in ([2], (np.int64(2),), np.array([2])):
        found = oip_outputs.settled(oip.Tensor("y", shape, "FP32", [1.0, 2.0]))  # type: ignore[arg-type]
        assert found.shape == (2,) and type(found.shape[0]) is int
    empty = oip_outputs.settled(oip.Tensor("y", (0, 4), "FP32", np.zeros((0, 4), ">f4")))
    assert empty.shape == (0, 4) and len(empty.data) == 0


def test_missing_and_infinite_floats_stay() -> None:
    for data in ([None, INF], A([None, INF], object), np.ma.masked_array(A([1.0, INF]), [True, False])):
        first, second = settled(data, "FP32")
        assert first != first and second == INF
    column = oip_outputs.settled(oip.Tensor("y", (3,), "FP64", Column()))
    assert str(column.data.tolist()) == "[1.0, nan, 3.0]"


@pytest.mark.parametrize(
    ("data", "datatype"),
    [([1.0, 2.0], "FP32"), ([1, 2], "INT8"), (["a", b"b"], "BYTES"), (A([1.0, 2.0]), "FP64"), (A([1, 2], "<u2"), "BF16")],
)  # fmt: skip
def test_what_is_right_is_left_alone(data: Any, datatype: str) -> None:
    tensor = oip.Tensor("y", (2,), datatype, data)
    assert oip_outputs.settled(tensor) is tensor


@given(
    st.lists(st.integers(-300, 300) | st.floats(-300, 300), min_size=1, max_size=6),
    st.sampled_from(["INT8", "UINT8", "INT16", "FP32", "FP64", "BOOL"]),
    st.sampled_from([list, np.array, lambda values: np.array(values, object)]),
)
def test_lists_and_arrays_of_the_same_numbers_fare_alike(values: list[Any], datatype: str, kind: Any) -> None:
    """Whatever holds them: the same elements in JSON and in binary form, or refused."""
    expected: Any = "refused"
    if datatype.startswith("FP") or all(float(value).is_integer() for value in values):
        low, high = {"INT8": (-128, 127), "UINT8": (0, 255), "BOOL": (0, 1)}.get(datatype, (-(2**15), 2**15))
        if datatype.startswith("FP") or all(low <= value <= high for value in values):
            expected = np.array(values).astype(arrays.DTYPES[datatype]).tolist()
    try:
        found = oip_outputs.settled(oip.Tensor("y", (len(values),), datatype, kind(values)))
    except FailureError:
        assert expected == "refused"
    else:
        assert np.frombuffer(arrays.raw_view(found), arrays.DTYPES[datatype]).tolist() == expected


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        ({"a": A([1, 2], ">f4")}, b'{"a":[1.0,2.0]}'),
        ([np.longdouble("1.5"), A([1], np.longdouble), np.float64(2)], b"[1.5,[1.0],2.0]"),
        ([A([1], ">i2"), A(["2020-01-01"], "M8[D]"), NAN], b'[[1],["2020-01-01T00:00:00"],null]'),
        ([A([1], ">i2"), A(["a", None], object), {1: True}], b'[[1],["a",null],{"1":true}]'),
    ],
)  # fmt: skip
def test_json_of_odd_arrays(value: Any, expected: bytes) -> None:
    assert json_values.dump(value) == expected


@pytest.mark.parametrize(
    ("value", "words"),
    [
        (A([1j]), "complex128 is not JSON serializable: return its .real"),
        (A([1], "m8[s]"), "timedelta64"),
        ([b"a"], "bytes is not JSON serializable: return text"),
        ({"x": {1}}, "set is not JSON serializable: return dicts, lists"),
        (2**70, "64-bit"),
    ],
)
def test_what_has_no_json_says_what_to_return(value: Any, words: str) -> None:
    with pytest.raises(TypeError, match=words):
        json_values.dump(value)
