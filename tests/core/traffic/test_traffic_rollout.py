"""Gradual rollout: the documented steps, interruptions, changed percents, and the sum as a property."""

from hypothesis import given
from hypothesis import strategies as st

from wakeful.core.traffic import rollout
from wakeful.core.traffic.rollout import Rollout


def goal(revision: str, percent: int = 100) -> Rollout:
    return Rollout("svc", "", percent, ((revision, percent),))


def test_documented_steps() -> None:
    state = rollout.step(goal("r1"), goal("r2"), 5, now=0)
    seen = [state.revisions[-1][1]]
    while not state.is_done:
        state = rollout.step(state, goal("r2"), 5, now=state.next_step_at)
        seen.append(state.revisions[-1][1])
    assert seen == [1, 26, 51, 76, 100]
    assert state == goal("r2")


def test_first_one_and_tiny_shares_switch_at_once() -> None:
    assert rollout.step(None, goal("r1"), 60, 0) == goal("r1")
    assert rollout.step(goal("r1", 1), goal("r2", 1), 60, 0) == goal("r2", 1)
    assert rollout.step(goal("r1"), goal("r2"), 0, 0) == goal("r2")


def test_another_revision_takes_one_percent_of_the_newest() -> None:
    state = rollout.step(goal("r1"), goal("r2"), 5, 0)
    state = rollout.step(state, goal("r2"), 5, 1)
    assert rollout.step(state, goal("r3"), 5, 1).revisions == (("r1", 74), ("r2", 25), ("r3", 1))


def test_raised_and_lowered_percent() -> None:
    state = rollout.step(goal("r1", 50), goal("r2", 50), 50, 0)
    assert rollout.step(state, goal("r2", 60), 50, 0).revisions == (("r1", 49), ("r2", 11))
    assert rollout.step(state, goal("r2", 20), 50, 0).revisions == (("r1", 19), ("r2", 1))
    assert rollout.step(state, goal("r2", 0), 50, 0) == goal("r2", 0)


def test_nothing_moves_before_its_time() -> None:
    state = rollout.step(goal("r1"), goal("r2"), 100, 10)
    assert rollout.step(state, goal("r2"), 100, 10.5) == state


def test_state_survives_as_text() -> None:
    state = rollout.step(goal("r1"), goal("r2"), 100, 10)
    assert rollout.parse_state(rollout.render_state([state])) == [state]
    assert rollout.parse_state("{") == rollout.parse_state('{"configurations":[{}]}') == []


changes = st.lists(
    st.tuples(st.sampled_from(["a", "b", "c", "d"]), st.integers(0, 100), st.floats(0, 40)), max_size=20
)


@given(changes, st.integers(0, 120))
def test_shares_always_sum_to_the_percent(inputs: list[tuple[str, int, float]], duration_s: int) -> None:
    state, now = goal("z"), 0.0
    for revision, percent, wait_s in inputs:
        now += wait_s
        state = rollout.step(state, goal(revision, percent), duration_s, now)
        assert sum(share for _, share in state.revisions) == percent
        assert state.revisions[-1][0] == revision
        assert len({name for name, _ in state.revisions}) == len(state.revisions)
