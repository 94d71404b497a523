"""Reports that come a little early or late are one a second all the same, also for a panic window of one second."""

from __future__ import annotations

import random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from wakeful.core.scaling.buckets import Window
from wakeful.core.scaling.cadence import JITTER_S, Cadence


@pytest.mark.parametrize("phase", [0.0, 0.003, 0.5, 0.997])
def test_one_second_window_sees_the_load_at_every_decision(phase: float) -> None:
    cadence, window, chance = Cadence(), Window(1.0), random.Random(3)
    for second in range(100, 160):
        at = second + phase + chance.uniform(-0.05, 0.05)
        window.record(cadence.take(at), 5.0)
        assert window.average(cadence.as_of(at + 0.01)) == 5.0


def test_worked_number() -> None:
    cadence = Cadence()
    taken = [cadence.take(at) for at in (10.98, 12.02, 12.99, 14.01)]
    assert taken == pytest.approx([10.98, 11.98, 12.98, 13.98])


def test_a_gap_starts_a_new_beat_and_old_reports_are_not_the_present() -> None:
    cadence = Cadence()
    assert [cadence.take(at) for at in (10.0, 15.3, 16.3)] == pytest.approx([10.0, 15.3, 16.3])
    assert cadence.as_of(17.0) == pytest.approx(16.3)
    assert cadence.as_of(30.0) == 30.0


@given(st.lists(st.floats(0.0, 3.0), min_size=1, max_size=50))
def test_never_far_from_the_true_time(gaps: list[float]) -> None:
    cadence, at = Cadence(), 1000.0
    for gap in gaps:
        at += gap
        assert abs(cadence.take(at) - at) <= JITTER_S
