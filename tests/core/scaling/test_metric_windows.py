"""Averages over windows: the documented example, young series, silence, late writes; the wake counted once."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from wakeful.core.scaling.buckets import Window
from wakeful.core.scaling.metrics import Averages, RevisionMetrics
from wakeful.core.scaling.settings import AutoscalerConfig, build_scaling


def filled(window_s: float, *values: float) -> Window:
    window = Window(window_s)
    for second, value in enumerate(values):
        window.record(second, value)
    return window


@pytest.mark.parametrize(("now", "average"), [(4, 3), (5, 3.5), (6, 4), (8, 5), (9, 0), (100, 0)])
def test_documented_example(now: float, average: float) -> None:
    assert filled(5, 1, 2, 3, 4, 5).average(now) == average


def test_a_young_series_is_averaged_over_its_lifetime() -> None:
    assert filled(60, 10, 20).average(1) == 15


def test_gaps_between_writes_are_zeros_but_the_silent_end_is_not() -> None:
    window = Window(10)
    window.record(0, 4)
    window.record(3, 4)
    assert window.average(3) == 2
    assert window.average(5) == 2


def test_the_same_second_adds_up_and_old_writes_are_ignored() -> None:
    window = filled(5, 1, 1, 1, 1, 1, 1)
    window.record(5.9, 2)
    window.record(0, 100)
    assert window.average(5) == 7 / 5
    window.record(2, 5)
    assert window.average(5) == 12 / 5


def test_silence_longer_than_the_window_clears_the_history() -> None:
    window = filled(5, 9, 9, 9)
    window.record(20, 4)
    assert window.average(20) == 4


def test_weighted_average_starts_low_and_converges() -> None:
    window = Window(60)
    window.record(0, 10)
    first = window.weighted_average(0)
    for second in range(1, 60):
        window.record(second, 10)
    assert first == pytest.approx(2.0)
    assert window.weighted_average(59) == pytest.approx(10, rel=0.001)
    assert window.weighted_average(200) == 0


def test_too_short_a_window_is_refused() -> None:
    with pytest.raises(ValueError, match="at least 1 s"):
        Window(0.5)


writes = st.lists(st.tuples(st.floats(0, 50), st.floats(0, 100)), max_size=40)


@given(writes, st.floats(0, 80))
def test_averages_stay_between_zero_and_the_largest_bucket(
    found: list[tuple[float, float]], later: float
) -> None:
    window = Window(6)
    buckets: dict[int, float] = {}
    for now, value in sorted(found):
        window.record(now, value)
        buckets[int(now)] = buckets.get(int(now), 0) + value
    now = max([n for n, _ in found], default=0) + later
    top = max(buckets.values(), default=0) + 1e-6
    assert 0 <= window.average(now) <= top
    assert 0 <= window.weighted_average(now) <= top


def test_no_data_is_not_no_traffic() -> None:
    metrics = RevisionMetrics(build_scaling(AutoscalerConfig(), {}, 0))
    assert metrics.snapshot(0) is None
    metrics.record(0, 0, 0)
    assert metrics.snapshot(0) == Averages(0, 0)


def test_the_waking_request_is_counted_once() -> None:
    metrics = RevisionMetrics(build_scaling(AutoscalerConfig(), {}, 0))
    metrics.record_wake(10)
    metrics.record_wake(10)
    assert metrics.snapshot(10) == Averages(1, 1)
    metrics.record(10, 1, 1)
    assert metrics.snapshot(10) == Averages(1, 1)
    metrics.record(11, 3, 0)
    assert metrics.snapshot(11) == Averages(2, 2)


def test_rps_metric_exponential_and_resize() -> None:
    notes = {"autoscaling.knative.dev/metric": "rps", "autoscaling.knative.dev/window": "6s"}
    metrics = RevisionMetrics(build_scaling(AutoscalerConfig(), notes, 0))
    metrics.record(0, 1, 30)
    assert metrics.snapshot(0) == Averages(30, 30)
    weighted = {**notes, "autoscaling.knative.dev/metric-aggregation-algorithm": "weighted-exponential"}
    metrics.resize(build_scaling(AutoscalerConfig(), weighted, 0))
    found = metrics.snapshot(0)
    assert found is not None and found.stable < 30
    metrics.resize(build_scaling(AutoscalerConfig(), {**notes, "autoscaling.knative.dev/window": "8s"}, 0))
    assert metrics.snapshot(0) is None
