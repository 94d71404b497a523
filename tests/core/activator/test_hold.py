"""The futures around the breaker: order, cancellation, failure, bounds; nothing is lost or left over."""

from __future__ import annotations

import asyncio

import pytest

from activator_hooks.hold import ByteBudget, Hold, HoldFullError, WakeFailedError
from wakeful.core.scaling.breaker import Bounds


def hold(slots: int = 1, budget: int = 1000, **bounds: int) -> Hold:
    return Hold(Bounds(slots, **bounds), ByteBudget(budget))


async def waiting(room: Hold, count: int, size: int = 1) -> list[asyncio.Task[str]]:
    tasks = [asyncio.create_task(room.enter(size)) for _ in range(count)]
    await asyncio.sleep(0)
    return tasks


async def test_slot_is_handed_over_in_order() -> None:
    room = hold()
    first, second = await waiting(room, 2)
    room.set_pods(["a"])
    assert await first == "a" and not second.done()
    room.leave("a")
    assert await second == "a"
    room.leave("a")
    assert room.breaker.in_flight == 0


async def test_slot_handed_to_one_that_is_cancelled_goes_to_the_next() -> None:
    room = hold()
    first, second = await waiting(room, 2)
    room.set_pods(["a"])
    first.cancel()  # it was handed the slot, but has not run yet
    assert await second == "a"
    assert first.cancelled() and room.breaker.in_flight == 1


async def test_cancelled_waiter_frees_its_place() -> None:
    room = hold(queue_limit=1)
    (task,) = await waiting(room, 1)
    with pytest.raises(HoldFullError):
        await room.enter(1)
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)
    assert room.breaker.waiting == 0 and not room._waiters
    assert room._budget.used_bytes == 0


async def test_budget_is_shared_and_given_back() -> None:
    budget = ByteBudget(10)
    one, two = Hold(Bounds(1), budget), Hold(Bounds(1), budget)
    (task,) = await waiting(one, 1, size=8)
    with pytest.raises(HoldFullError):
        await two.enter(3)
    assert two.breaker.waiting == 0
    one.set_pods(["a"])
    await task
    assert budget.used_bytes == 0


async def test_fail_ends_those_who_came_before() -> None:
    room = hold()
    old = await waiting(room, 2)
    now = asyncio.get_running_loop().time()
    assert room.fail("no image", now) == 2
    for task in old:
        with pytest.raises(WakeFailedError, match="no image"):
            await task
    (young,) = await waiting(room, 1)
    assert room.fail("no image", now - 1) == 0
    room.set_pods(["a"])
    assert await young == "a"


async def test_nobody_overtakes_by_the_short_way() -> None:
    room = hold()
    room.set_pods(["a"])
    assert room.try_enter() == "a"
    assert room.try_enter() is None and room.breaker.waiting == 0
    (task,) = await waiting(room, 1)
    room.leave("a")
    assert room.try_enter() is None
    assert await task == "a"


async def test_a_pod_that_comes_as_thousands_hang_up_goes_to_the_next() -> None:
    """Each waiter that had ended took two stack frames more: the table of pods was not updated at the limit."""
    room = hold(budget=10_000)
    *gone, last = await waiting(room, 3001)
    for task in gone:
        task.cancel()  # they have ended, but have not run yet
    room.set_pods(["a"])
    assert await last == "a" and room.breaker.in_flight == 1
    await asyncio.gather(*gone, return_exceptions=True)
    assert room.breaker.waiting == 0 and room.breaker.in_flight == 1
