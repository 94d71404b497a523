"""When a batch closes and who is in it; how the pace of a model is learnt."""

from __future__ import annotations

from collections.abc import Hashable
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from wakeful.core.scaling.batch import Batch, BatchQueue, BatchReason, Hold, Pace, Waiting


def waiting(
    rows: int = 1, signature: Hashable = "f8x4", arrived: float = 0.0, deadline: float = 100.0
) -> Waiting:
    return Waiting(rows, signature, arrived, deadline)


def filled(*calls: Waiting, max_rows: int = 100, max_latency_s: float = 0.0) -> BatchQueue[Waiting]:
    queue: BatchQueue[Waiting] = BatchQueue(max_rows, max_latency_s)
    for call in calls:
        queue.add(call)
    return queue


def taken(queue: BatchQueue[Waiting], now: float = 1.0) -> Any:
    found = queue.take(now)
    assert isinstance(found, Batch), found
    return found


def test_a_free_model_takes_all_that_waits() -> None:
    calls = [waiting() for _ in range(3)]
    queue = filled(*calls)
    batch = taken(queue)
    assert (batch.calls, batch.late, batch.rows, batch.reason) == (calls, [], 3, BatchReason.FREE)
    assert queue.take(1.0) is None


def test_the_worked_number() -> None:
    calls = [waiting(rows=2) for _ in range(64)]
    queue = filled(*calls)
    batch = taken(queue)
    assert (len(batch.calls), batch.rows, batch.reason, len(queue)) == (50, 100, BatchReason.FULL, 14)
    assert taken(queue).calls == calls[50:]


def test_signatures_never_mix_and_the_oldest_goes_first() -> None:
    old, new, newer = (
        waiting(signature="i8"),
        waiting(signature="f8", arrived=1),
        waiting(signature="i8", arrived=2),
    )
    queue = filled(new, old, newer)
    assert taken(queue, 3.0).calls == [old, newer]
    assert taken(queue, 3.0).calls == [new]


def test_none_as_signature_and_too_many_rows_go_alone() -> None:
    alone, large, small = waiting(signature=None), waiting(rows=500), waiting()
    queue = filled(alone, large, small)
    assert sorted([len(taken(queue).calls) for _ in range(3)]) == [1, 1, 1]


def test_late_calls_are_dropped_and_take_no_room() -> None:
    late, good = waiting(rows=60, deadline=1.0), waiting(rows=60)
    batch = taken(filled(late, good), now=1.0)
    assert (batch.late, batch.calls, batch.rows) == ([late], [good], 60)


@pytest.mark.parametrize(
    ("now", "rows", "reason"),
    [(0.05, 10, BatchReason.FULL), (0.2, 1, BatchReason.LATENCY)],
    ids=["full before its time", "time before it is full"],
)
def test_max_latency_holds_until_full_or_over(now: float, rows: int, reason: BatchReason) -> None:
    queue = filled(waiting(rows=rows), max_rows=10, max_latency_s=0.2)
    assert taken(queue, now).reason is reason


def test_hold_says_until_when() -> None:
    queue = filled(waiting(arrived=5.0), waiting(signature="i8", arrived=4.0), max_latency_s=0.5)
    assert queue.take(4.1) == Hold(4.5)
    assert queue.take(4.6).calls[0].signature == "i8"  # type: ignore[union-attr]
    assert queue.take(4.6) == Hold(5.5)


def test_a_held_call_whose_deadline_passes_is_dropped_then() -> None:
    call = waiting(deadline=0.1)
    batch = taken(filled(call, max_latency_s=5.0), now=0.1)
    assert (batch.calls, batch.late) == ([], [call])


def test_a_discarded_call_is_gone_and_its_rows_too() -> None:
    first, second, alone = waiting(rows=9), waiting(), waiting(signature=None)
    queue = filled(first, second, alone, max_rows=10, max_latency_s=9.0)
    assert queue.discard(first) and not queue.discard(first)
    assert queue.discard(alone)
    assert queue.take(1.0) == Hold(9.0)
    assert len(queue) == 1
    assert queue.discard(second)
    assert queue.take(1.0) is None


CALLS = st.lists(
    st.tuples(st.integers(1, 40), st.sampled_from(["a", "b", None]), st.floats(0, 5), st.floats(0, 10)),
    max_size=40,
)


@given(CALLS, st.integers(1, 50), st.sampled_from([0.0, 0.5]), st.sets(st.integers(0, 39)))
def test_every_call_leaves_once_in_a_batch_that_is_allowed(
    raw: list[tuple[int, Any, float, float]], max_rows: int, max_latency_s: float, discarded: set[int]
) -> None:
    calls = [waiting(rows, signature, arrived, deadline) for rows, signature, arrived, deadline in raw]
    queue = filled(*calls, max_rows=max_rows, max_latency_s=max_latency_s)
    gone = [call for place, call in enumerate(calls) if place in discarded and queue.discard(call)]
    seen: list[Waiting] = []
    while (batch := queue.take(20.0)) is not None:
        assert isinstance(batch, Batch)
        assert batch.calls or batch.late
        assert batch.rows == sum(call.rows for call in batch.calls)
        assert batch.rows <= max_rows or len(batch.calls) == 1
        assert len({call.signature for call in batch.calls}) <= 1
        assert all(call.signature is not None for call in batch.calls) or len(batch.calls) == 1
        seen += [*batch.calls, *batch.late]
    assert len(queue) == 0
    assert sorted(map(id, seen + gone)) == sorted(map(id, calls))


def test_pace_is_known_by_size() -> None:
    pace = Pace()
    assert not pace.is_brief(1) and not pace.is_long(1)
    pace.observe(100, 0.0004)
    assert pace.is_brief(64) and pace.is_brief(127)
    assert not pace.is_brief(128)
    for _ in range(20):
        pace.observe(100, 0.02)
    assert pace.is_long(100) and not pace.is_brief(100)
    for _ in range(30):
        pace.observe(100, 0.0001)
    assert pace.is_brief(100)
