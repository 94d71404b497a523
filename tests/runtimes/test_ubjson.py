"""The walk over XGBoost's binary files: every file that XGBoost writes passes, none that is cut off does."""

from __future__ import annotations

import struct

import numpy as np
import pytest
import xgboost

from runtimes.xgboost import ubjson


def model(**params: object) -> bytes:
    rows = np.random.default_rng(0).random((40, 3))
    rows[::7, 1] = np.nan
    data = xgboost.DMatrix(rows, (rows[:, 0] * 3).astype(int), feature_names=["a", "é", "c"])
    return bytes(xgboost.train({"nthread": 1, **params}, data, 2).save_raw("ubj"))


@pytest.mark.parametrize(
    "params",
    [{}, {"booster": "gblinear"}, {"booster": "dart"}, {"objective": "multi:softprob", "num_class": 3}],
    ids=["trees", "linear", "dart", "classes"],
)
def test_what_xgboost_writes_passes_and_no_beginning_of_it_does(params: dict[str, object]) -> None:
    whole = model(**params)
    ubjson.check(whole)
    for end in range(1, len(whole)):
        with pytest.raises(ubjson.DamagedError):
            ubjson.check(whole[:end])


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (b"{L" + struct.pack(">q", -1) + b"ai\1}", "the length -1 at byte 1"),
        (b"{L" + struct.pack(">q", 1 << 62) + b"ai\1}", "says that"),
        (b"{i\1a[$d#L" + struct.pack(">q", 1 << 61) + b"\0\0\0\0}", "values at byte"),
        (b"{i\1a[$Z#L" + struct.pack(">q", 1 << 61) + b"}", "values at byte"),
        (b"{i\1a[$d#i\2\0\0\0\0}", "says that"),
        (b"{i\1a[#i\3i\1i\2", "within a value"),
        (b"{i\1aS" + b"U\xff" + b"x}", "says that"),
        (b"{i\1a" * 1000, "levels"),
        (b"{", "within a value"),
        (b"{L\0\0", "says that"),
    ],
    ids=[
        "negative",
        "long key",
        "floats",
        "nothings",
        "one float short",
        "count",
        "text",
        "deep",
        "brace",
        "length",
    ],
)
def test_lengths_that_lie_are_told(content: bytes, words: str) -> None:
    with pytest.raises(ubjson.DamagedError, match=words):
        ubjson.check(content)


@pytest.mark.parametrize(
    "content",
    [
        b"{}",
        b"{i\1a{}i\1b[]i\1c[$i#i\3\1\2\3i\1d[#i\2i\1Si\1xi\1eTi\1fZi\1gH" + b"i\0011}",
        b"{$i#i\2i\1a\5i\1b\6",
        b"{i\1a[$[#i\2i\1]]}",
        b"[$S#i\2i\1ai\1b",
        b"{x",
        b'{"learner": {}}',
    ],
    ids=["empty", "all kinds", "typed object", "typed arrays", "typed texts", "unknown", "JSON"],
)
def test_what_is_whole_or_unknown_is_left_to_xgboost(content: bytes) -> None:
    ubjson.check(content)
