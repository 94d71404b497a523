"""``split.choose``: shares are kept, every point has one owner, bad input is refused."""

from collections import Counter

import pytest
from hypothesis import given
from hypothesis import strategies as st

from wakeful.core.traffic import split

shares = st.lists(st.integers(0, 100), min_size=1, max_size=6).filter(any)


@given(shares, st.floats(0, 1, exclude_max=True))
def test_only_positive_shares_are_chosen(percents: list[int], point: float) -> None:
    splits = [(f"r{i}", percent) for i, percent in enumerate(percents)]
    assert dict(splits)[split.choose(splits, point)] > 0


@given(shares)
def test_each_name_gets_exactly_its_share(percents: list[int]) -> None:
    splits = [(f"r{i}", percent) for i, percent in enumerate(percents)]
    total = sum(percents)
    counts = Counter(split.choose(splits, (i + 0.5) / total) for i in range(total))
    assert counts == {name: percent for name, percent in splits if percent}


@pytest.mark.parametrize(
    ("splits", "point", "text"),
    [
        ([], 0.0, "no choice"),
        ([("a", 0)], 0.0, "no choice"),
        ([("a", -1), ("b", 101)], 0.0, "'a' is -1"),
        ([("a", 100)], 1.0, "point is 1.0"),
        ([("a", 100)], -0.1, "point is -0.1"),
    ],
)
def test_bad_input(splits: list[tuple[str, int]], point: float, text: str) -> None:
    with pytest.raises(ValueError, match=text):
        split.choose(splits, point)
