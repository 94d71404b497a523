"""The decision vectors of section 2.11, one test a row, and the properties of the KPA."""

import math
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st
from scaling_builders import scaling

from wakeful.core.scaling import kpa
from wakeful.core.scaling.metrics import Averages
from wakeful.core.scaling.settings import Scaling

Step = tuple[float, int, float, float]


def run(
    settings: Scaling, steps: list[Step], state: kpa.State | None = None, is_reachable: bool = True
) -> list[kpa.Decision]:
    state = state or kpa.start(1, 0)
    found = []
    for now, ready, stable, panic in steps:
        state, decision = kpa.decide(state, settings, Averages(stable, panic), ready, is_reachable, now)
        found.append(decision)
    return found


PANICKING = kpa.State(panic_since=-5, most_in_panic=5)
ROWS: list[tuple[str, Scaling, kpa.State | None, list[Step], list[int], int | None]] = [
    ("2", scaling(target_burst_capacity=101), None, [(0, 1, 50, 10)], [5], -98),
    ("3", scaling(target=181, target_burst_capacity=-1), None, [(0, 1, 21, 26)], [1], -1),
    ("4", scaling(target_burst_capacity=0), None, [(0, 1, 50, 49)], [5], 0),
    ("5", scaling(target_burst_capacity=84), None, [(0, 1, 50, 100)], [10], -171),
    ("6", scaling(target=1, target_burst_capacity=100), PANICKING, [(0, 5, 50, 30)], [50], None),
    ("7", scaling(target=1, target_burst_capacity=100), PANICKING, [(0, 5, 20, 30)], [30], None),
    (
        "8",
        scaling(target=1, target_burst_capacity=1982, max_scale_up_rate=1.1),
        None,
        [(0, 2, 3, 3.1)],
        [3],
        None,
    ),
    (
        "9",
        scaling(target_burst_capacity=1982, max_scale_down_rate=1.1),
        None,
        [(0, 100, 1, 1)],
        [90],
        -650,
    ),
    ("11", scaling(target_burst_capacity=98), None, [(0, 8, 100, 100), (0, 8, 50, 50)], [10, 5], None),
    (
        "12",
        scaling(target=1, target_burst_capacity=98),
        None,
        [(0, 10, 11, 25), (30, 40, 30, 41), (62, 55, 50, 56)],
        [25, 41, 50],
        None,
    ),
    (
        "13",
        scaling(target=1, target_burst_capacity=98),
        None,
        [(0, 10, 11, 25), (30, 40, 30, 80)],
        [25, 80],
        None,
    ),
    (
        "14",
        scaling(target_burst_capacity=93),
        None,
        [(0, 1, 100, 100), (0, 10, 100, 1000), (30, 10, 1, 1), (61, 10, 1, 1)],
        [10, 100, 100, 1],
        None,
    ),
    (
        "15",
        scaling(target_burst_capacity=61),
        None,
        [(0, 1, 1000, 1001), (0, 10, 1000, 1001)],
        [10, 100],
        None,
    ),
    ("16", scaling(target_burst_capacity=61), None, [(0, 100, 1, 1), (0, 10, 1, 1)], [10, 1], None),
    ("17", scaling(target_burst_capacity=81), None, [(0, 0, 1000, 888)], [10], -969),
    (
        "18",
        scaling(target=1, target_burst_capacity=101),
        None,
        [(0, 1, 6, 6), (1, 6, 36, 36), (2, 36, 216, 216), (3, 216, 1296, 1296)],
        [6, 36, 216, 1296],
        None,
    ),
    (
        "19",
        scaling(target_burst_capacity=75, activation_scale=2),
        None,
        [(0, 1, 0, 0), (0, 1, 1, 0)],
        [0, 2],
        None,
    ),
    ("20", scaling(target_burst_capacity=75), None, [(0, 1, 1, 0), (0, 1, 0, 0)], [1, 0], None),
    (
        "24",
        scaling(metric="rps", target_burst_capacity=101),
        None,
        [(0, 1, 50, 50), (0, 1, 100, 99)],
        [5, 10],
        None,
    ),
]


@pytest.mark.parametrize(
    ("settings", "state", "steps", "want", "burst"), [r[1:] for r in ROWS], ids=[r[0] for r in ROWS]
)
def test_vectors(
    settings: Scaling, state: kpa.State | None, steps: list[Step], want: list[int], burst: int | None
) -> None:
    decisions = run(settings, steps, state)
    assert [decision.desired for decision in decisions] == want
    last_ready, last_panic = steps[-1][1], steps[-1][3]
    if burst is None:
        burst = math.floor(last_ready * settings.total - settings.target_burst_capacity - last_panic)
    assert decisions[-1].excess_burst_capacity == burst


def test_1_no_data_changes_nothing() -> None:
    state = kpa.State(panic_since=3, most_in_panic=4)
    after, decision = kpa.decide(state, scaling(), None, 3, True, 10)
    assert after == state
    assert not decision.is_valid and decision.reason is kpa.Reason.NO_DATA


def test_10_unreachable_falls_at_once() -> None:
    settings = scaling(target_burst_capacity=1982, max_scale_down_rate=1.1)
    assert run(settings, [(0, 100, 1, 1)], is_reachable=False)[0].desired == 1


DELAYED = scaling(panic_threshold=100, scale_down_delay_s=300)


def test_21_delay_is_forgotten_exactly_one_delay_later() -> None:
    steps = [(2.0, 1, 40.0, 40.0), (300.0, 1, 0.0, 0.0), (302.0, 1, 0.0, 0.0)]
    decisions = run(DELAYED, steps)
    assert [d.desired for d in decisions] == [4, 4, 0]
    assert decisions[1].reason is kpa.Reason.DELAYED


def test_22_delay_goes_down_in_steps() -> None:
    load = [(9, 40.0), (10, 30.0), (11, 0.0), (14, 0.0), (15, 0.0)]
    assert [d.desired for d in run(DELAYED, [(m * 60.0, 1, v, v) for m, v in load])] == [4, 4, 4, 3, 0]


def test_23_unreachable_ignores_the_delay() -> None:
    state = kpa.start(1, 0)
    found = []
    for now, value, is_reachable in [(2, 40, True), (60, 0, True), (62, 0, False)]:
        state, decision = kpa.decide(state, DELAYED, Averages(value, value), 1, is_reachable, now)
        found.append(decision.desired)
    assert found == [4, 4, 0]


@pytest.mark.parametrize(("ready", "panics"), [(0, False), (1, False), (2, True)])
def test_25_a_restart_with_several_pods_starts_in_panic(ready: int, panics: bool) -> None:
    state = kpa.start(ready, 7)
    assert (state.panic_since is not None) is panics
    assert state.most_in_panic == ready


def test_a_restart_keeps_the_pods_for_a_window() -> None:
    settings = scaling()
    steps: list[Step] = [(7, 5, 0, 0), (60, 5, 0, 0), (68, 5, 0, 0)]
    assert [d.desired for d in run(settings, steps, kpa.start(5, 7))] == [5, 5, 0]


def test_reasons_and_sentence() -> None:
    over = run(scaling(), [(0, 1, 50, 100)])[0]
    assert over.reason is kpa.Reason.PANIC
    assert kpa.render(over) == (
        "10 pods wanted (Panic): average 50 over the stable window, 100 over the panic window, target 10 a pod, 1 ready"
    )
    assert run(scaling(), [(0, 1, 1000, 1001)])[0].reason is kpa.Reason.UP_LIMITED
    assert run(scaling(), [(0, 100, 1, 1)])[0].reason is kpa.Reason.DOWN_LIMITED
    assert "nothing" in kpa.render(kpa.decide(kpa.State(), scaling(), None, 0, True, 0)[1])


loads = st.floats(0, 1e5, allow_nan=False)
counts = st.integers(0, 200)


@given(loads, loads, counts, st.booleans())
def test_within_the_rate_limits(stable: float, panic: float, ready: int, is_reachable: bool) -> None:
    settings = scaling()
    decision = run(settings, [(0, ready, stable, panic)], kpa.State(), is_reachable)[0]
    pods = max(1, ready)
    assert (pods // 10 if is_reachable else 0) <= decision.desired <= 10 * pods


@given(loads, loads, loads, counts)
def test_more_load_never_means_fewer_pods(low: float, more: float, panic: float, ready: int) -> None:
    settings = scaling()
    few = run(settings, [(0, ready, low, panic)], kpa.State())[0]
    many = run(settings, [(0, ready, low + more, panic + more)], kpa.State())[0]
    assert few.desired <= many.desired


@given(st.lists(st.tuples(loads, counts), min_size=1, max_size=20))
def test_panic_never_goes_down(ticks: list[tuple[float, int]]) -> None:
    state, settings = kpa.start(2, 0), replace(scaling(), window_s=600)
    before = 0
    for index, (load, ready) in enumerate(ticks):
        state, decision = kpa.decide(state, settings, Averages(load, load), ready, True, index * 2.0)
        assert decision.desired >= before
        before = decision.desired
