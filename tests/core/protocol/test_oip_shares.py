"""A request's share of one array says in JSON or in binary form, byte for byte, what its tensors would, or leaves it to them."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from wakeful.core.protocol import arrays, oip, oip_binary
from wakeful.core.protocol.oip_shares import Share, Whole

DTYPES = ["<f4", "<f8", "<f2", ">f8", "<i8", "<i4", "i1", "<u8", "?", "<U3", "O"]
VALUES = [0, 1, -1.5, 3.0, 1e-7, 1e30, 0.1, float("nan"), float("inf"), 127]


@st.composite
def arrays_of_rows(draw: st.DrawFn) -> np.ndarray[Any, Any]:
    rows, more = draw(st.integers(1, 5)), draw(st.lists(st.integers(0, 3), max_size=2))
    count = rows * int(np.prod(more))
    values = draw(st.lists(st.sampled_from(VALUES), min_size=count, max_size=count))
    with np.errstate(all="ignore"):
        array = np.array(values, "<f8").reshape(rows, *more).astype(draw(st.sampled_from(DTYPES)))
    return np.asfortranarray(array) if draw(st.booleans()) else array


def tensor_of(array: Any) -> oip.Tensor:
    return arrays.from_array("out é", array)


def closely(array: Any, answer_id: str) -> bytes:
    tensor = arrays.plain(tensor_of(array))
    return oip.encode_json(oip.InferResponse([tensor], "m", answer_id), [tensor])


def closely_binary(array: Any, answer_id: str) -> tuple[bytes, int]:
    tensor = tensor_of(array)
    response = oip.InferResponse([tensor], "m", answer_id)
    buffers, length = oip_binary.encode(response, [tensor], {tensor.name: arrays.raw_view(tensor)})
    return b"".join(buffers), length


def binary(share: Share, answer_id: str) -> tuple[bytes, int] | None:
    found = share.as_binary(answer_id)
    return None if found is None else (b"".join(found[0]), found[1])


@given(arrays_of_rows(), st.text(max_size=4), st.data())
def test_shares_are_the_bytes_of_their_tensors(array: Any, answer_id: str, data: st.DataObject) -> None:
    whole = Whole("m", array, tensor_of)
    start = data.draw(st.integers(0, len(array)))
    end = data.draw(st.integers(start, len(array)))
    found = Share(whole, start, end).as_json(answer_id)
    if found is not None:
        assert found == closely(array[start:end], answer_id)
    raw = binary(Share(whole, start, end), answer_id)
    assert raw == (None if array.dtype.kind in "OU" else closely_binary(array[start:end], answer_id))


@pytest.mark.parametrize("dtype", ["<f4", "<f8", "<i8", "u1", "?"])
def test_numbers_are_taken(dtype: str) -> None:
    array = np.array([[1, 0], [0, 1], [1, 1]], dtype)
    assert Share(Whole("m", array, tensor_of), 1, 3).as_json("7") == closely(array[1:], "7")


@pytest.mark.parametrize("rows", [1, 5000])
def test_short_elements_are_copied_and_long_ones_are_not(rows: int) -> None:
    array = np.arange(rows * 2.0)
    found = Share(Whole("m", array, tensor_of), rows, rows * 2).as_binary("7")
    assert found is not None and len(found[0]) == (1 if rows == 1 else 2)
    if rows > 1:
        array[rows] = -1.0  # what is sent is the model's array
    assert (b"".join(found[0]), found[1]) == closely_binary(array[rows:], "7")


@pytest.mark.parametrize(
    "array",
    [
        np.array([1.0, np.nan]),
        np.array([1.0, -np.inf]),
        np.array(["a", "b"]),
        np.array([1, 2], "<f2"),
    ],
    ids=["nan", "infinite", "text", "half"],
)
def test_what_needs_a_closer_look_is_left_to_it(array: Any) -> None:
    assert Share(Whole("m", array, tensor_of), 0, 1).as_json("7") is None


def test_a_share_is_the_answer_it_stands_for() -> None:
    share = Share(Whole("m", np.arange(6).reshape(3, 2), tensor_of), 1, 3)
    (tensor,) = share.outputs
    assert (tensor.shape, tensor.data.tolist()) == ((2, 2), [2, 3, 4, 5])
    assert (share.as_json("7"), share.as_binary("7")) == (None, None)  # it may have been changed
    share.outputs = [tensor_of(np.array([9]))]
    assert share.outputs[0].data.tolist() == [9]
    changed = Share(Whole("m", np.arange(3), tensor_of), 0, 1)
    changed.parameters = {"a": 1}
    assert (changed.as_json("7"), changed.as_binary("7")) == (None, None)


@pytest.mark.parametrize("dtype", ["<f4", "<i8", "?"])
def test_a_long_share_is_the_same_in_pieces(dtype: str) -> None:
    array = np.arange(90_000).reshape(30_000, 3).astype(dtype)
    share = Share(Whole("m", array, tensor_of), 1_000, 29_000)
    assert share.is_long and not Share(Whole("m", array, tensor_of), 1_000, 1_010).is_long
    assert share.as_json("a") == closely(array[1_000:29_000], "a")
