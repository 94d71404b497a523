"""Spaces that are put in afterwards are where Python's own json puts them, and nowhere else."""

from __future__ import annotations

import json
from typing import Any

import numpy as np
import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from wakeful.core.protocol import oip
from wakeful.core.protocol.spaced_json import spaced

TEXTS = st.text(max_size=5) | st.sampled_from(
    [",", ":", '", "', "a,b:c", "\\", '"', "1e5", "é", "\x7f", "\n"]
)
NUMBERS = (
    st.integers(-(2**63), 2**64 - 1)
    | st.floats()
    | st.sampled_from([1e16, 1e-7, 5e-324, -0.0, 1e22, 0.1, 6.25e-5, 1.5e15, 1e-4])
)
VALUES: st.SearchStrategy[Any] = st.recursive(
    st.none() | st.booleans() | NUMBERS | TEXTS,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(TEXTS, inner, max_size=4),
    max_leaves=12,
)


@given(VALUES)
def test_any_value_is_as_pythons_json_writes_it(value: Any) -> None:
    text = oip.dump(value)
    assert spaced(text) == json.dumps(orjson.loads(text)).encode()


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        ({"predictions": [[1.5, 2], []], "a,b": "c:d"}, b'{"predictions": [[1.5, 2], []], "a,b": "c:d"}'),
        ({"predictions": np.array([0.1, 1e16], "<f4")}, b'{"predictions": [0.1, 1e+16]}'),
        ({"é": "\n", "x": [{}]}, b'{"\\u00e9": "\\n", "x": [{}]}'),
        ("", b'""'),
    ],
    ids=["plain", "exponent", "escapes", "empty"],
)
def test_spaces(value: Any, expected: bytes) -> None:
    assert spaced(oip.dump(value)) == expected


def test_numbers_of_every_size() -> None:
    """orjson writes 0.00005 where Python writes 5e-05."""
    for exponent in range(-30, 30):
        for digits in ("1", "9.5", "1.2345678901234567"):
            text = oip.dump({"predictions": [float(f"{digits}e{exponent}")]})
            assert spaced(text) == json.dumps(orjson.loads(text)).encode()


def test_every_character() -> None:
    """Python writes DEL as an escape, orjson does not."""
    for code in range(0x180):
        for value in (chr(code), {f"a{chr(code)}": [1, f",{chr(code)}:"]}):
            text = oip.dump(value)
            assert spaced(text) == json.dumps(orjson.loads(text)).encode()
