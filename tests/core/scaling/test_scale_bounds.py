"""Bounds, the path to zero (2.6), the Active condition (2.8) and reachability (2.9)."""

from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from scaling_builders import scaling

from wakeful.core.scaling import bounds
from wakeful.core.scaling.activity import Reason as Why
from wakeful.core.scaling.activity import decide_activity, decide_reachability
from wakeful.core.scaling.bounds import Activity, Observed, Reachability, Reason


def seen(**changes: Any) -> Observed:
    base = Observed(1, Activity.ACTIVE, 1000.0, 1000.0, Reachability.REACHABLE, True)
    return replace(base, **changes)


GONE = {"reachability": Reachability.UNREACHABLE}
IDLE = {"activity": Activity.INACTIVE, "activity_age_s": 1.0}
WAKING = {"activity": Activity.ACTIVATING}
ROWS: list[tuple[str, int, dict[str, Any], dict[str, Any], int | None, int, Reason]] = [
    ("undecided", -1, {}, {}, None, -1, Reason.UNDECIDED),
    ("undecided and activating: bounds hold", -1, {"min_scale": 2}, WAKING, 2, 2, Reason.MIN_SCALE),
    ("wish", 3, {}, {}, 3, 3, Reason.DESIRED),
    ("min", 1, {"min_scale": 2}, {}, 2, 2, Reason.MIN_SCALE),
    ("min of a superseded one", 1, {"min_scale": 2}, GONE, 1, 1, Reason.DESIRED),
    ("max", 9, {"max_scale": 4}, {}, 4, 4, Reason.MAX_SCALE),
    ("initial", 1, {"initial_scale": 3}, {"is_initialized": False}, 3, 3, Reason.MIN_SCALE),
    ("initial, reached once", 1, {"initial_scale": 3}, {}, 1, 1, Reason.DESIRED),
    ("initial, superseded", 1, {"initial_scale": 3}, {"is_initialized": False, **GONE}, 1, 1, Reason.DESIRED),
    ("no zero", 0, {"enable_scale_to_zero": False}, {}, 1, 1, Reason.SCALE_TO_ZERO_OFF),
    ("activating", 0, {}, {**WAKING, "activity_age_s": 629.0}, None, -1, Reason.ACTIVATING),
    ("never up", 0, {}, {**WAKING, "activity_age_s": 630.0}, 0, 0, Reason.ACTIVATION_TIMED_OUT),
    ("active", 0, {}, {"activity_age_s": 59.0}, 1, 1, Reason.STILL_ACTIVE),
    ("active long enough", 0, {}, {"activity_age_s": 60.0}, None, 0, Reason.BECOMING_INACTIVE),
    ("inactive, fast path", 0, {}, IDLE, 0, 0, Reason.SCALED_TO_ZERO),
    ("inactive, young", 0, {}, {**IDLE, "proxied_s": 9.0}, None, 0, Reason.GRACE_PERIOD),
    (
        "inactive for grace",
        0,
        {},
        {**IDLE, "activity_age_s": 30.0, "proxied_s": 0.0},
        0,
        0,
        Reason.SCALED_TO_ZERO,
    ),
    ("retained", 0, {"retention_s": 90.0}, {**IDLE, "activity_age_s": 80.0}, None, 0, Reason.RETAINED),
    (
        "retained, over",
        0,
        {"retention_s": 90.0},
        {**IDLE, "activity_age_s": 90.0},
        0,
        0,
        Reason.SCALED_TO_ZERO,
    ),
    (
        "retention of a superseded one",
        0,
        {"retention_s": 90.0},
        {**IDLE, **GONE},
        0,
        0,
        Reason.SCALED_TO_ZERO,
    ),
]


@pytest.mark.parametrize(
    ("desired", "settings", "state", "write", "want", "reason"),
    [r[1:] for r in ROWS],
    ids=[r[0] for r in ROWS],
)
def test_bound(
    desired: int,
    settings: dict[str, Any],
    state: dict[str, Any],
    write: int | None,
    want: int,
    reason: Reason,
) -> None:
    found = bounds.bound(desired, scaling(**settings), seen(**state))
    assert (found.replicas, found.want, found.reason) == (write, want, reason)


def test_recheck_is_when_the_answer_may_change() -> None:
    assert bounds.bound(0, scaling(), seen(activity_age_s=59.0)).recheck_s == 1.0
    assert bounds.bound(0, scaling(), seen(**IDLE, proxied_s=10.0)).recheck_s == 20.0
    assert bounds.bound(0, scaling(retention_s=90.0), seen(**IDLE)).recheck_s == 89.0


states = st.builds(
    Observed,
    st.integers(0, 9),
    st.sampled_from(Activity),
    st.floats(0, 1000),
    st.floats(0, 1000),
    st.sampled_from(Reachability),
    st.booleans(),
)


@given(st.integers(-1, 50), states, st.integers(0, 5), st.integers(0, 5))
def test_min_and_max_hold(desired: int, state: Observed, least: int, extra: int) -> None:
    settings = scaling(min_scale=least, max_scale=least + extra if extra else 0)
    found = bounds.bound(desired, settings, state)
    if found.replicas is not None and state.reachability is not Reachability.UNREACHABLE:
        assert found.replicas >= least
        if settings.max_scale:
            assert found.replicas <= max(settings.max_scale, 1)
    if found.replicas == 0:
        assert state.activity is not Activity.ACTIVE


ACTIVE, QUEUED = (Activity.ACTIVE, Why.ACTIVE), (Activity.ACTIVATING, Why.QUEUED)
NO_TRAFFIC, TIMED_OUT = (Activity.INACTIVE, Why.NO_TRAFFIC), (Activity.INACTIVE, Why.TIMED_OUT)


@pytest.mark.parametrize(
    ("settings", "want", "ready", "initialized", "previous", "expected"),
    [
        ({}, -1, 0, False, None, (*QUEUED, False)),
        ({}, -1, 1, False, QUEUED, (*ACTIVE, True)),
        ({}, 0, 1, True, ACTIVE, (*NO_TRAFFIC, True)),
        ({}, 0, 0, False, QUEUED, (*TIMED_OUT, False)),
        ({}, 0, 0, False, TIMED_OUT, (*TIMED_OUT, False)),
        ({}, -1, 0, True, NO_TRAFFIC, (*NO_TRAFFIC, True)),
        ({}, -1, 1, True, NO_TRAFFIC, (*NO_TRAFFIC, True)),
        ({}, 1, 0, True, NO_TRAFFIC, (*QUEUED, True)),
        ({}, 1, 1, True, QUEUED, (*ACTIVE, True)),
        ({"min_scale": 5}, 5, 4, True, ACTIVE, (*QUEUED, True)),
        ({"initial_scale": 0}, -1, 0, False, None, (*NO_TRAFFIC, True)),
        ({"initial_scale": 3}, 3, 2, False, QUEUED, (*QUEUED, False)),
        ({"initial_scale": 3}, 3, 3, False, QUEUED, (*ACTIVE, True)),
    ],
)
def test_activity(
    settings: dict[str, Any],
    want: int,
    ready: int,
    initialized: bool,
    previous: tuple[Activity, Why] | None,
    expected: tuple[Activity, Why, bool],
) -> None:
    found = decide_activity(scaling(**settings), want, ready, initialized, Reachability.REACHABLE, previous)
    assert (found.activity, found.reason, found.is_initialized) == expected


def test_messages() -> None:
    found = decide_activity(scaling(), 0, 0, True, Reachability.REACHABLE, None)
    assert found.message == "The target is not receiving traffic."


@pytest.mark.parametrize(
    ("state", "failed", "expected"),
    [
        ("active", False, Reachability.REACHABLE),
        ("reserve", False, Reachability.UNREACHABLE),
        ("pending", False, Reachability.UNKNOWN),
        ("", False, Reachability.UNKNOWN),
        ("active", True, Reachability.UNREACHABLE),
    ],
)
def test_reachability(state: str, failed: bool, expected: Reachability) -> None:
    assert decide_reachability(state, failed) is expected
