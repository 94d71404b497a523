"""Tensors and numpy arrays: every datatype both ways, bfloat16, and what JSON cannot carry."""

from __future__ import annotations

import struct
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from wakeful.core.errors import FailureError, InvalidError
from wakeful.core.protocol import arrays, oip

NUMERIC = sorted(set(arrays.DTYPES) - arrays.BITS)


@pytest.mark.parametrize("datatype", NUMERIC)
def test_binary_comes_back_and_is_not_copied(datatype: str) -> None:
    array = np.array([[0, 1], [1, 0], [1, 1]], arrays.DTYPES[datatype])
    sent = arrays.from_array("x", array)
    assert (sent.datatype, sent.shape) == (datatype, (3, 2))
    view = arrays.raw_view(sent)
    assert bytes(view) == arrays.raw(sent) == array.tobytes()
    received = arrays.to_array(oip.Tensor("x", (3, 2), datatype, memoryview(bytes(view))))
    assert received.dtype == array.dtype and (received == array).all()
    assert not received.flags.writeable
    array[0, 0] = 1
    assert view[: array.itemsize] == array[0, :1].tobytes()  # the very memory of the array


@pytest.mark.parametrize(
    ("number", "bits"),
    [
        (1.0, 0x3F80),
        (-2.0, 0xC000),
        (1.00390625, 0x3F80),
        (1.01171875, 0x3F82),
        (3.4e38, 0x7F80),
        (0.0, 0),
        (-0.0, 0x8000),
    ],
    ids=["one", "minus two", "tie to even down", "tie to even up", "over the top", "zero", "minus zero"],
)
def test_bfloat16_rounds_to_even(number: float, bits: int) -> None:
    assert arrays.raw(arrays.from_array("x", np.array([number]), "BF16")) == struct.pack("<H", bits)


@given(st.integers(0, 0xFFFF))
def test_every_bfloat16_comes_back(bits: int) -> None:
    raw = struct.pack("<H", bits)
    array = arrays.to_array(oip.Tensor("x", (1,), "BF16", memoryview(raw)))
    assert array.dtype == np.float32
    again = arrays.raw(arrays.from_array("x", array, "BF16"))
    if np.isnan(array[0]):
        assert np.isnan(arrays.to_array(oip.Tensor("x", (1,), "BF16", memoryview(again)))[0])
    else:
        assert again == raw


def test_bfloat16_of_plain_numbers_from_a_model() -> None:
    assert arrays.raw(oip.Tensor("x", (2,), "BF16", [1.0, -2.0])) == struct.pack("<HH", 0x3F80, 0xC000)


@pytest.mark.parametrize("datatype", ["FP16", "BF16"])
def test_halves_have_no_json_form(datatype: str) -> None:
    tensor = arrays.from_array("h", np.array([1.0]), datatype)
    with pytest.raises(InvalidError, match=f"output 'h' is or holds {datatype}, which JSON cannot carry"):
        oip.encode_json(oip.InferResponse([tensor]), [arrays.plain(tensor)])
    with pytest.raises(InvalidError, match=f"is {datatype}, which JSON cannot carry"):
        oip.complete_json(oip.Tensor("h", (1,), datatype, [1.0]))


@pytest.mark.parametrize(
    ("tensor", "what"),
    [
        (arrays.from_array("x", np.array([1.0, np.inf])), "Infinity"),
        (oip.Tensor("x", (2,), "FP64", [1.0, float("-inf")]), "Infinity"),
        (arrays.from_array("x", np.array([b"ok", b"\xff"], object)), "BYTES that are not UTF-8 text"),
    ],
    ids=["infinity", "infinity in a list", "bytes"],
)
def test_what_json_cannot_carry_is_said(tensor: oip.Tensor, what: str) -> None:
    with pytest.raises(InvalidError, match=f"output 'x' is or holds {what}.*binary_data"):
        arrays.plain(tensor)


@pytest.mark.parametrize(
    ("data", "datatype", "expected"),
    [
        (np.array([1.5, np.nan]), "FP64", b"[1.5,null]"),
        ([1, 2], "FP32", b"[1,2]"),
        (np.array(["ä", b"b"], object), "BYTES", '["ä","b"]'.encode()),
        (np.array([1, 2], ">i4"), "INT32", b"[1,2]"),
        (memoryview(b"\1\0"), "BOOL", b"[true,false]"),
        ([[1, 2], [3, 4]], "INT64", b"[1,2,3,4]"),
    ],
    ids=["nan is null", "list", "text", "big-endian", "raw", "nested"],
)
def test_what_json_can(data: Any, datatype: str, expected: bytes) -> None:
    assert oip.dump(arrays.plain(oip.Tensor("x", (2,), datatype, data)).data) == expected


def test_a_byte_that_is_no_bool_is_refused() -> None:
    with pytest.raises(InvalidError, match="input 'x' has a byte other than 0 and 1"):
        arrays.to_array(oip.Tensor("x", (2,), "BOOL", memoryview(b"\1\2")))


def test_what_v2_has_no_datatype_for() -> None:
    with pytest.raises(FailureError, match="complex128, for which V2 has no datatype"):
        arrays.from_array("x", np.array([1j]))


def test_no_elements() -> None:
    tensor = arrays.from_array("x", np.zeros((0, 3), "<f4"))
    assert (tensor.shape, arrays.raw(tensor), oip.dump(arrays.plain(tensor).data)) == ((0, 3), b"", b"[]")


@pytest.mark.parametrize("values", [[np.inf, -np.inf], [65504, 65504]], ids=["infinite", "sum"])
def test_looking_for_infinities_warns_of_nothing(values: list[float]) -> None:
    """Warnings are errors here: numpy warned of the sum that was no number, on the server's log."""
    assert not arrays.is_plain("FP16", np.array(values, np.float16))
