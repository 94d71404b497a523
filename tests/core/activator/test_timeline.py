"""Phases of a wake: named, never negative, their sum is the total."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from activator_hooks import timeline
from activator_hooks.timeline import Instants

instant = st.floats(min_value=0, max_value=100)


def phases(**at: float) -> list[float]:
    built = timeline.build("ns", "r", "p", Instants(**at))
    return [round(built.phases_ms[name]) for name in timeline.PHASES]


@pytest.mark.parametrize(
    ("at", "expected"),
    [
        (
            {
                "seen": 1,
                "decided": 1.01,
                "started": 1.06,
                "ready": 1.26,
                "answered": 1.3,
                "import_ms": 100,
                "load_ms": 60,
            },
            [10, 50, 100, 60, 40, 40],
        ),
        ({"seen": 1, "ready": 1.2, "answered": 1.3}, [0, 0, 0, 0, 200, 100]),
        ({"seen": 1, "started": 0.5, "ready": 1.2, "answered": 1.3}, [0, 0, 0, 0, 200, 100]),
        ({"seen": 1, "ready": 0.5, "answered": 1.3}, [0, 0, 0, 0, 0, 300]),
        ({"seen": 1, "ready": 1.1, "answered": 1.3, "import_ms": 500, "load_ms": 9}, [0, 0, 100, 0, 0, 200]),
    ],
    ids=[
        "all known",
        "nothing reported",
        "pod was on its way",
        "pod was ready",
        "reports exceed the wall clock",
    ],
)
def test_phases(at: dict[str, float], expected: list[float]) -> None:
    assert phases(**at) == expected


@given(instant, instant, instant, st.none() | instant, st.none() | instant, instant, instant)
def test_phases_add_up_whatever_was_observed(
    seen: float,
    ready: float,
    answered: float,
    decided: float | None,
    started: float | None,
    one: float,
    two: float,
) -> None:
    at = Instants(seen, ready, answered, decided, started, one * 1000, two * 1000)
    built = timeline.build("ns", "r", "p", at)
    assert all(value >= 0 for value in built.phases_ms.values())
    assert built.total_ms == pytest.approx((max(answered, ready, seen) - seen) * 1000, abs=0.001)


def test_header_and_json() -> None:
    built = timeline.build("ns", "r", "p", Instants(seen=1, ready=1.5, answered=1.75))
    assert built.server_timing() == (
        "decide;dur=0.0, start;dur=0.0, import;dur=0.0, load;dur=0.0, probe;dur=500.0, answer;dur=250.0"
    )
    assert built.to_json()["total_ms"] == 750.0
    assert timeline.parse_server_timing(built.server_timing())["probe"] == 500.0


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        ("import;dur=12.5, load;dur=3", {"import": 12.5, "load": 3.0}),
        ('Import; desc="x"; dur="1"', {"import": 1.0}),
        ("import;dur=x, load", {}),
        ("import;dur=-1, load;dur=inf, a;dur=nan", {}),
        ("", {}),
    ],
    ids=["plain", "parameters", "no numbers", "not durations", "empty"],
)
def test_reading_server_timing(value: str, expected: dict[str, float]) -> None:
    assert timeline.parse_server_timing(value) == expected
