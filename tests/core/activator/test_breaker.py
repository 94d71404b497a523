"""Slots and queue: tables for what the spec says, a state machine against a ten-line model for the rest."""

from __future__ import annotations

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from wakeful.core.scaling.breaker import Admitted, Bounds, Breaker, Handover, Queued, Refusal, Refused


def breaker(slots: int, *pods: str, **bounds: int | bool) -> Breaker:
    made = Breaker(Bounds(slots, **bounds))  # type: ignore[arg-type]
    made.set_pods(pods)
    return made


def test_without_pods_requests_wait_and_leave_in_order() -> None:
    waiting = breaker(1)
    assert [waiting.arrive(n) for n in (1, 2, 3)] == [Queued(1), Queued(2), Queued(3)]
    assert waiting.set_pods(["a"]) == [Handover(1, "a")]
    assert waiting.leave("a") == [Handover(2, "a")]
    assert waiting.leave("a") == [Handover(3, "a")]
    assert waiting.leave("a") == [] and waiting.in_flight == 0


def test_no_limit_waits_only_for_a_first_pod_and_spreads_by_load() -> None:
    free = breaker(0, "a", "b")
    assert sorted(a.pod for a in [free.arrive(n) for n in range(4)] if isinstance(a, Admitted)) == list(
        "aabb"
    )


@pytest.mark.parametrize(
    ("slots", "expected"),
    [(1, "abc"), (3, "aaabbbccc"), (4, "abcabcabcabc"), (5, "abcabcabcabcabc")],
    ids=["first free", "first free 3", "round robin 4", "round robin 5"],
)
def test_choice_of_pod(slots: int, expected: str) -> None:
    chosen = breaker(slots, "a", "b", "c")
    got = [chosen.arrive(n) for n in range(3 * slots)]
    assert "".join(a.pod for a in got if isinstance(a, Admitted)) == expected
    assert chosen.arrive(99) == Queued(1)


@pytest.mark.parametrize(
    ("slots", "pods", "direct", "limit"),
    [
        (2, "abc", True, 60),
        (2, "abc", False, 10_000),
        (2, "", True, 10_000),
        (0, "a", True, 10_000),
        (2_000, "a", True, 10_000),
    ],
    ids=["queue-proxies' bound", "activator in path", "no pod yet", "no limit", "activator's bound is lower"],
)
def test_bound_of_the_queue(slots: int, pods: str, direct: bool, limit: int) -> None:
    assert breaker(slots, *pods, is_direct_when_ready=direct).limit == limit


def test_worked_number_of_the_docstring() -> None:
    full = breaker(2, "a", "b", "c", is_direct_when_ready=True)
    answers = [full.arrive(n) for n in range(67)]
    assert sum(isinstance(a, Admitted) for a in answers) == 6
    assert sum(isinstance(a, Queued) for a in answers) == 60
    assert answers[-1] == Refused(Refusal.QUEUE_FULL, 60, 60)


def test_bytes_are_bounded() -> None:
    full = breaker(1, queue_limit_bytes=100)
    assert full.arrive(1, 60) == Queued(1)
    assert full.arrive(2, 50) == Refused(Refusal.BYTES_FULL, 60, 100)
    assert full.arrive(3, 40) == Queued(2) and full.waiting_bytes == 100
    assert full.withdraw(1) and not full.withdraw(1)
    assert full.waiting_bytes == 40


def test_redial_goes_first_even_over_the_bound() -> None:
    full = breaker(1, queue_limit=1)
    full.arrive(1)
    assert full.rejoin(2) == Queued(1)
    assert full.set_pods(["a"]) == [Handover(2, "a")]
    other = breaker(1, "a")
    assert other.rejoin(1) == Admitted("a")


def test_pod_that_leaves_keeps_what_it_has_and_gets_nothing_new() -> None:
    draining = breaker(1, "a")
    draining.arrive(1)
    draining.arrive(2)
    assert draining.set_pods([]) == []
    assert draining.leave("a") == [] and draining.waiting == 1
    assert draining.set_pods(["a"]) == [Handover(2, "a")]


class Model(RuleBasedStateMachine):
    """Any sequence of arrivals, ends, withdrawals and pod changes."""

    def __init__(self) -> None:
        super().__init__()
        self.slots = 2
        self.real = Breaker(Bounds(self.slots, queue_limit=5))
        self.pods: set[str] = set()
        self.queue: list[int] = []
        self.at: list[str] = []
        self.ticket = 0

    def handed(self, handovers: list[Handover]) -> None:
        for handover in handovers:
            assert handover.ticket == self.queue.pop(0)
            assert handover.pod in self.pods
            self.at.append(handover.pod)

    @rule()
    def arrive(self) -> None:
        self.ticket += 1
        match self.real.arrive(self.ticket):
            case Admitted(pod):
                assert not self.queue and pod in self.pods
                self.at.append(pod)
            case Queued(position):
                self.queue.append(self.ticket)
                assert position == len(self.queue)
            case Refused():
                assert len(self.queue) == 5

    @precondition(lambda self: self.at)
    @rule(data=st.data())
    def leave(self, data: st.DataObject) -> None:
        pod = data.draw(st.sampled_from(self.at))
        self.at.remove(pod)
        self.handed(self.real.leave(pod))

    @precondition(lambda self: self.queue)
    @rule(data=st.data())
    def withdraw(self, data: st.DataObject) -> None:
        ticket = data.draw(st.sampled_from(self.queue))
        self.queue.remove(ticket)
        assert self.real.withdraw(ticket)

    @rule(pods=st.sets(st.sampled_from("abc")))
    def change_pods(self, pods: set[str]) -> None:
        self.pods = pods
        self.handed(self.real.set_pods(sorted(pods)))

    @invariant()
    def agrees(self) -> None:
        assert self.real.waiting == len(self.queue) <= 5
        assert self.real.in_flight == len(self.at)
        assert all(self.at.count(pod) == self.real.in_flight_at(pod) <= self.slots for pod in "abc")
        if self.queue:
            assert all(self.at.count(pod) >= self.slots for pod in self.pods), "waits although a slot is free"


TestModel = Model.TestCase
TestModel.settings = settings(max_examples=60, stateful_step_count=30, database=None)
