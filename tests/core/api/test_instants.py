"""Instants: both forms, other zones, and texts that are none."""

from datetime import UTC, datetime, timedelta, timezone

import pytest
from hypothesis import given
from hypothesis import strategies as st

from wakeful.core.api import instants

AT = datetime(2026, 1, 1, 0, 0, 0, 500_000, UTC)


def test_both_forms() -> None:
    assert instants.render(AT) == "2026-01-01T00:00:00Z"
    assert instants.render_micro(AT) == "2026-01-01T00:00:00.500000Z"
    assert instants.render(AT.astimezone(timezone(timedelta(hours=5)))) == "2026-01-01T00:00:00Z"


@pytest.mark.parametrize("text", ["2026-01-01T00:00:00Z", "2026-01-01T01:00:00+01:00", "2026-01-01T00:00:00"])
def test_what_is_read(text: str) -> None:
    assert instants.parse(text) == datetime(2026, 1, 1, tzinfo=UTC)


@pytest.mark.parametrize("text", [None, "", "soon", 5, {}])
def test_what_is_none_is_the_epoch(text: object) -> None:
    assert instants.parse(text) == instants.EPOCH


@given(st.integers(0, 4_000_000_000))
def test_round_trip(seconds: int) -> None:
    assert instants.parse(instants.render(instants.of_unix(seconds))) == instants.of_unix(seconds)
