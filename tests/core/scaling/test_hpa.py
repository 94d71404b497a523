"""The HPA class: targets, tolerance, stabilisation, the limit on rises; and what holds for any history."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from wakeful.core.scaling import hpa
from wakeful.core.scaling.hpa import Reason, Settings, State, Usage

PREFIX = "autoscaling.knative.dev/"


@pytest.mark.parametrize(
    ("notes", "settings"),
    [
        ({}, Settings("cpu", 80.0, 0.0, 300.0)),
        ({"target": "55.5"}, Settings("cpu", 56.0)),
        ({"metric": "memory", "target": "100"}, Settings("memory", 100 * hpa.MIB)),
        ({"metric": "memory"}, Settings("cpu", 80.0)),
        ({"metric": "queue-length", "target": "5"}, Settings("queue-length", 5.0)),
        ({"window": "60s"}, Settings("cpu", 80.0, 60.0, 60.0)),
        ({"window": "soon", "target": "inf"}, Settings("cpu", 80.0, 0.0, 300.0)),
        ({"window": "999999h", "target": "-1"}, Settings("cpu", 80.0, 0.0, 300.0)),
    ],
)
def test_settings(notes: dict[str, str], settings: Settings) -> None:
    assert hpa.read({PREFIX + key: value for key, value in notes.items()}) == settings


@pytest.mark.parametrize(
    ("current", "usage", "desired", "reason"),
    [
        (3, Usage(3, 120.0, 0), 5, Reason.UP),
        (3, Usage(3, 87.0, 0), 3, Reason.STEADY),
        (3, Usage(3, 73.0, 0), 3, Reason.STEADY),
        (4, Usage(4, 20.0, 0), 1, Reason.DOWN),
        (3, Usage(1, 160.0, 0), 3, Reason.STEADY),
        (2, Usage(2, 8000.0, 0), 6, Reason.LIMITED),
        (10, Usage(10, 8000.0, 0), 20, Reason.LIMITED),
        (3, None, 3, Reason.NOT_MEASURED),
        (3, Usage(3, None, 0), 3, Reason.NOT_MEASURED),
        (3, Usage(0, 50.0, 0), 3, Reason.NOT_MEASURED),
        (0, None, 1, Reason.STEADY),
    ],
    ids=str,
)
def test_one_decision(current: int, usage: Usage | None, desired: int, reason: Reason) -> None:
    _, decision = hpa.decide(State(), Settings(), current, usage, 0.0)
    assert (decision.desired, decision.reason) == (desired, reason)


def test_memory_and_a_metric_that_nobody_measures() -> None:
    memory = Settings("memory", 100.0)
    assert hpa.decide(State(), memory, 2, Usage(2, None, 210.0), 0.0)[1].desired == 5
    other = Settings("queue-length", 5.0)
    assert hpa.decide(State(), other, 2, Usage(2, 500.0, 210.0), 0.0)[1].reason is Reason.NOT_MEASURED


def test_down_waits_for_the_highest_wish_of_five_minutes() -> None:
    state = hpa.start(4, 0.0)
    for now in range(15, 300, 15):
        state, decision = hpa.decide(state, Settings(), 4, Usage(4, 10.0, 0), float(now))
        assert (decision.desired, decision.reason) == (4, Reason.STABILISED)
    _, decision = hpa.decide(state, Settings(), 4, Usage(4, 10.0, 0), 301.0)
    assert decision.desired == 1


def test_rises_of_fifteen_seconds_count_together() -> None:
    state, first = hpa.decide(State(), Settings(), 2, Usage(2, 900.0, 0), 0.0)
    assert first.desired == 6
    state, second = hpa.decide(state, Settings(), 6, Usage(6, 900.0, 0), 5.0)
    assert (second.desired, second.reason) == (6, Reason.LIMITED)
    _, third = hpa.decide(state, Settings(), 6, Usage(6, 900.0, 0), 16.0)
    assert third.desired == 12


@given(
    st.lists(st.tuples(st.integers(1, 50), st.floats(0, 1e6), st.floats(0.1, 60)), max_size=40),
    st.sampled_from([Settings(), Settings("cpu", 80.0, 60.0, 60.0)]),
)
def test_whatever_is_measured(steps: list[tuple[int, float, float]], settings: Settings) -> None:
    state, current, now = State(), 1, 0.0
    for measured, percent, pause_s in steps:
        now += pause_s
        state, decision = hpa.decide(state, settings, current, Usage(measured, percent, 0), now)
        assert 1 <= decision.desired <= max(2 * current, current + hpa.UP_PODS)
        assert len(state.wishes) <= 40 and len(state.rises) <= 40
        if abs(percent / 80 - 1) <= 0.1:
            assert decision.desired >= current
        current = decision.desired
