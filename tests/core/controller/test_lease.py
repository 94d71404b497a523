"""The rules of the Lease: who renews, who takes over and when, and that two replicas never both hold it."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from controller import lease
from controller.lease import Seen, Step

AT = "2026-01-01T00:00:00.000000Z"


def held(holder: str, renewed: str = AT, duration: int | None = 15) -> dict[str, Any]:
    spec: dict[str, Any] = {"holderIdentity": holder, "renewTime": renewed, "leaseTransitions": 3}
    if duration is not None:
        spec["leaseDurationSeconds"] = duration
    return {"metadata": {"resourceVersion": "7"}, "spec": spec}


@pytest.mark.parametrize(
    ("found", "since", "now", "step"),
    [
        pytest.param({"metadata": {}}, 100, 100, Step.TAKE, id="as installed, without a spec"),
        pytest.param(held("me"), 100, 100, Step.RENEW, id="own"),
        pytest.param(held("me"), 100, 900, Step.RENEW, id="own and long expired"),
        pytest.param(held("other"), 100, 114.9, Step.WAIT, id="held by another"),
        pytest.param(held("other"), 100, 115, Step.TAKE, id="expired"),
        pytest.param(held("", duration=1), 100, 100, Step.TAKE, id="released"),
        pytest.param(held("other", duration=None), 100, 100, Step.TAKE, id="no duration"),
    ],
)
def test_decide(found: dict[str, Any], since: float, now: float, step: Step) -> None:
    seen = lease.look(found, Seen(), since)
    assert lease.decide(found, seen, "me", now) is step


def test_a_renewal_starts_the_wait_again_and_the_same_state_does_not() -> None:
    first = lease.look(held("other"), Seen(), 100)
    assert lease.look(held("other"), first, 110) == first
    assert lease.look(held("other", "2026-01-01T00:00:10.000000Z"), first, 110).since == 110


def test_taking_over_counts_and_renewing_does_not() -> None:
    taken = lease.written(held("other"), Step.TAKE, "me", "now", 15)
    assert taken["spec"] == {
        "holderIdentity": "me",
        "renewTime": "now",
        "acquireTime": "now",
        "leaseTransitions": 4,
        "leaseDurationSeconds": 15,
    }
    renewed = lease.written(taken, Step.RENEW, "me", "later", 15)
    assert (renewed["spec"]["acquireTime"], renewed["spec"]["leaseTransitions"]) == ("now", 4)
    assert renewed["metadata"]["resourceVersion"] == "7", "the write is guarded by what was read"


def test_a_released_lease_is_taken_at_the_next_look() -> None:
    free = lease.released(held("me"), "now")
    assert lease.decide(free, lease.look(free, Seen(), 5), "other", 5) is Step.TAKE


@given(st.lists(st.tuples(st.sampled_from("ab"), st.floats(0.1, 20)), max_size=40))
def test_never_two_holders(steps: list[tuple[str, float]]) -> None:
    """Two replicas look in any order and rhythm; a write fails when the object changed since it was read."""
    stored: dict[str, Any] = {"metadata": {"resourceVersion": "0"}}
    seen = {"a": Seen(), "b": Seen()}
    renewed = {"a": -100.0, "b": -100.0}
    now, version = 100.0, 0
    for who, pause in steps:
        now += pause
        seen[who] = lease.look(stored, seen[who], now)
        step = lease.decide(stored, seen[who], who, now)
        if step is Step.WAIT:
            continue
        version += 1
        stored = lease.written(stored, step, who, str(version), 15)
        renewed[who] = now
        acting = [name for name, at in renewed.items() if now - at < 10]
        assert acting == [who], "whoever could not renew for the deadline (10 s) has stopped"
