"""Long JSON in pieces: the same bytes as in one go, in pieces that are short, and a question that knows long from small."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from wakeful.core.errors import FailureError
from wakeful.core.protocol import json_pieces, json_values

NUMBERS = [0.1 * number for number in range(40_000)]
NAN = float("nan")
SCALARS = st.none() | st.booleans() | st.integers(-(2**63), 2**64 - 1) | st.floats() | st.text(max_size=8)
VALUES = st.recursive(
    SCALARS, lambda inner: st.lists(inner) | st.dictionaries(st.text(max_size=4), inner), max_leaves=20
)

LONG: dict[str, Any] = {
    "flat": {"predictions": NUMBERS},
    "rows": {"predictions": [NUMBERS[:8]] * 5_000},
    "one-row": {"predictions": [NUMBERS]},
    "few-long-rows": {"predictions": [[NUMBERS], [[1, NAN, None]], [NUMBERS]]},
    "last-is-long": {"predictions": [[1.0], NUMBERS]},
    "objects": {"predictions": [{"a": 1.5, "b": ["text", NAN]}] * 10_000},
    "deep": {"a": {"b": {"c": [[[NUMBERS]]]}}},
    "second-member": {"predictions": [1], "raw": NUMBERS},
    "array": {"predictions": np.arange(60_000, dtype="f4").reshape(300, 200)},
    "cube": {"predictions": np.ones((2, 30_000, 3))},
    "turned": {"predictions": np.arange(60_000).reshape(300, 200).T},
    "texts": {"predictions": ["x" * 2_000_000, "ü"]},
    "bits": {"predictions": [True, False] * 20_000},
}


@pytest.mark.parametrize("case", LONG)
def test_what_is_long_is_known_and_comes_out_the_same(case: str) -> None:
    assert json_pieces.is_long(LONG[case])
    assert json_values.dump(json_pieces.split(LONG[case])) == json_values.dump(LONG[case])


@pytest.mark.parametrize(
    "answer",
    [
        {},
        {"predictions": []},
        {"predictions": [0, 1]},
        {"predictions": ["setosa"] * 64},
        {"predictions": [[0.1, 0.2]] * 64},
        {"predictions": [{"a": 1, "b": "text"}] * 2},
        {"predictions": np.zeros((100, 100))},
        {"predictions": 1, "text": "abc", "no": None},
        {"predictions": [[]]},
        {"predictions": NUMBERS[:16_384]},
        {"predictions": object()},
    ],
)
def test_what_is_small_stays_as_it_is(answer: dict[str, Any]) -> None:
    assert not json_pieces.is_long(answer)
    assert json_pieces.split(answer) is answer


@given(VALUES, st.integers(0, 6))
def test_any_value_comes_out_the_same(value: Any, piece: int) -> None:
    before = json_pieces.PIECE
    try:
        json_pieces.PIECE = piece
        assert json_values.dump(json_pieces.split(value)) == json_values.dump(value)
    finally:
        json_pieces.PIECE = before


def test_pieces_are_short(monkeypatch: pytest.MonkeyPatch) -> None:
    sizes = []
    dump = json_values.dump

    def seen(value: Any) -> bytes:
        sizes.append(json_pieces.weight(value))
        return dump(value)

    monkeypatch.setattr(json_values, "dump", seen)
    for case in ("flat", "rows", "one-row", "few-long-rows", "objects", "deep", "array", "cube"):
        json_pieces.split(LONG[case])
    assert max(sizes) <= 2 * json_pieces.PIECE and len(sizes) > 16


def test_a_long_value_without_a_form_fails_as_a_short_one() -> None:
    with pytest.raises(FailureError, match="set is not JSON serializable"):
        json_pieces.split({"predictions": [*NUMBERS, {1}]})


def test_values_that_hold_themselves_end() -> None:
    held: list[Any] = [0] * 20_000
    held[0] = held
    with pytest.raises(FailureError, match="Recursion limit"):
        json_values.dump(json_pieces.split({"predictions": held}))
