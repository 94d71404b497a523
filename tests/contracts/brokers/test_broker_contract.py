"""The behaviour of the Broker port, run on every adapter (SQLite today): durability, leases, fencing, bounds."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from pathlib import Path

import pytest

from eventing.brokers.sqlite import Bounds, SqliteBroker
from eventing.brokers.sqlite_schema import OpenError
from eventing.ports import Again, Broker, Depth, Done, FullError, Publication, Stage, ToDeadLetter
from wakeful.core.protocol.cloudevents import Event


class Clock:
    now = 1_000.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock() -> Clock:
    return Clock()


Opener = Callable[..., SqliteBroker]


@pytest.fixture
async def opened(tmp_path: Path, clock: Clock) -> AsyncIterator[Opener]:
    brokers: list[SqliteBroker] = []

    def make(**bounds: float) -> SqliteBroker:
        brokers.append(SqliteBroker.open(tmp_path / "events.db", Bounds(**bounds), clock))  # type: ignore[arg-type]
        return brokers[-1]

    yield make
    for broker in brokers:
        try:
            await broker.close()
        except OSError:
            continue  # closed by the test


def event(name: str = "1", **more: object) -> Event:
    return Event(name, "/s", "t", **more)  # type: ignore[arg-type]


async def publish(broker: Broker, *names: str, to: tuple[str, ...] = ("c",)) -> None:
    for name in names:
        await broker.publish(Publication("ns/b", event(name), to))


async def test_events_come_back_as_they_went_in(opened: Opener) -> None:
    broker = opened()
    sent = event(data=b"\x00\xff", time="2026-01-01T00:00:00Z", datacontenttype="a/b", extensions={"n": "1"})
    await broker.publish(Publication("ns/b", sent, ("c",), (("traceparent", "00-1"),)))
    (leased,) = (await broker.lease("c", 10, 30)).items
    assert (leased.event, leased.headers, leased.attempts, leased.stage) == (
        sent,
        (("traceparent", "00-1"),),
        1,
        Stage.SUBSCRIBER,
    )
    assert (leased.broker, leased.consumer) == ("ns/b", "c")


async def test_each_consumer_gets_each_event_once(opened: Opener) -> None:
    broker = opened()
    await publish(broker, "1", "2", to=("c", "d"))
    for consumer in ("c", "d"):
        batch = await broker.lease(consumer, 10, 30)
        assert [item.event.id for item in batch.items] == ["1", "2"]
        assert (await broker.lease(consumer, 10, 30)).items == ()
        for item in batch.items:
            assert await broker.settle(item, Done())
        assert await broker.lease(consumer, 10, 30) == type(batch)((), None)
    assert broker.depth("ns/b") == Depth(0, 0)


async def test_the_limit_is_kept(opened: Opener) -> None:
    broker = opened()
    await publish(broker, *"12345")
    assert len((await broker.lease("c", 2, 30)).items) == 2
    assert len((await broker.lease("c", 9, 30)).items) == 3


async def test_an_expired_lease_is_given_again_and_the_first_holder_is_fenced(
    opened: Opener, clock: Clock
) -> None:
    broker = opened()
    await publish(broker, "1")
    (first,) = (await broker.lease("c", 1, 30)).items
    assert (await broker.lease("c", 1, 30)).next_due_at == clock.now + 30
    clock.now += 30
    (second,) = (await broker.lease("c", 1, 30)).items
    assert second.attempts == 2
    reply = Publication("ns/b", event("r"), ("d",))
    assert not await broker.settle(first, Done((reply,)))
    assert (await broker.lease("d", 1, 30)).items == ()
    assert await broker.settle(second, Done((reply,)))
    assert not await broker.settle(second, Done())
    assert len((await broker.lease("d", 1, 30)).items) == 1


async def test_postponed_deliveries_keep_count_and_time_over_a_restart(opened: Opener, clock: Clock) -> None:
    broker = opened()
    await publish(broker, "1")
    (item,) = (await broker.lease("c", 1, 30)).items
    assert await broker.settle(item, Again(clock.now + 100, 1))
    await broker.close()
    broker = opened()
    batch = await broker.lease("c", 1, 30)
    assert (batch.items, batch.next_due_at) == ((), clock.now + 100)
    clock.now += 100
    (again,) = (await broker.lease("c", 1, 30)).items
    assert again.attempts == 2


async def test_leases_of_a_dead_process_are_void_and_fenced(opened: Opener) -> None:
    broker = opened()
    await publish(broker, "1")
    (old,) = (await broker.lease("c", 1, 3_600)).items
    await broker.close()
    broker = opened()
    assert not await broker.settle(old, Done())
    (new,) = (await broker.lease("c", 1, 30)).items
    assert (new.event.id, new.attempts) == ("1", 2)
    assert not await broker.settle(old, Done())
    assert await broker.settle(new, Done())


async def test_dead_letter_stage_starts_counting_anew(opened: Opener) -> None:
    broker = opened()
    await publish(broker, "1")
    (item,) = (await broker.lease("c", 1, 30)).items
    await broker.settle(item, ToDeadLetter({"knativeerrorcode": "500"}))
    (dead,) = (await broker.lease("c", 1, 30)).items
    assert (dead.stage, dead.attempts, dict(dead.marks)) == (
        Stage.DEAD_LETTER,
        1,
        {"knativeerrorcode": "500"},
    )


async def test_a_repeated_event_is_an_event_of_its_own(opened: Opener) -> None:
    broker = opened()
    await publish(broker, "1", "1")
    assert len((await broker.lease("c", 9, 30)).items) == 2


async def test_a_drained_backlog_gives_the_disk_back(opened: Opener, clock: Clock, tmp_path: Path) -> None:
    broker = opened()
    for number in range(20):
        await broker.publish(Publication("ns/b", event(str(number), data=b"x" * 500_000), ("c",)))
    for item in (await broker.lease("c", 99, 30)).items:
        clock.now += 1
        await broker.settle(item, Done())
    await broker.close()
    assert (tmp_path / "events.db").stat().st_size < 1_000_000


async def test_a_full_broker_refuses_and_recovers(opened: Opener) -> None:
    broker = opened(max_deliveries=3)
    await publish(broker, "1", "2", "3")
    with pytest.raises(FullError, match="ns/b"):
        await publish(broker, "4")
    await broker.publish(Publication("ns/other", event(), ("c2",)))
    (item,) = (await broker.lease("c", 1, 30)).items
    with pytest.raises(FullError):
        await broker.settle(item, Done((Publication("ns/b", event("r"), ("d", "e")),)))
    assert await broker.settle(item, Done())
    await publish(broker, "4")


async def test_a_reply_takes_the_place_of_its_event_in_a_full_broker(opened: Opener) -> None:
    broker = opened(max_deliveries=2)
    await publish(broker, "1", "2")
    (item,) = (await broker.lease("c", 1, 30)).items
    assert await broker.settle(item, Done((Publication("ns/b", event("r"), ("d",)),)))
    assert broker.depth("ns/b").deliveries == 2


async def test_a_reply_takes_the_bytes_of_its_event(opened: Opener) -> None:
    broker = opened(max_bytes=10_000)
    await broker.publish(Publication("ns/b", event(data=b"x" * 8_000), ("c",)))
    (item,) = (await broker.lease("c", 1, 30)).items
    assert await broker.settle(item, Done((Publication("ns/b", event("r", data=b"y" * 8_000), ("d",)),)))


async def test_all_brokers_together_are_bounded(opened: Opener) -> None:
    broker = opened(max_total_bytes=10_000)
    await broker.publish(Publication("ns/a", event(data=b"x" * 6_000), ("c",)))
    with pytest.raises(FullError, match="together"):
        await broker.publish(Publication("ns/b", event(data=b"x" * 6_000), ("d",)))
    await broker.publish(Publication("ns/b", event(data=b"x" * 6_000), ()))
    assert broker.depth("ns/b").deliveries == 0


async def test_bytes_are_bounded(opened: Opener) -> None:
    broker = opened(max_bytes=10_000)
    big = Publication("ns/b", event(data=b"x" * 6_000), ("c", "d"))
    await broker.publish(big)
    with pytest.raises(FullError):
        await broker.publish(big)
    assert broker.depth("ns/b").deliveries == 2


async def test_forget(opened: Opener) -> None:
    broker = opened()
    await publish(broker, "1", "2", to=("c", "d"))
    assert await broker.consumers() == {"c", "d"}
    assert await broker.forget(["c", "nobody"]) == 2
    assert await broker.consumers() == {"d"}
    assert broker.depth("ns/b").deliveries == 2
    await broker.forget(["d"])
    assert broker.depth("ns/b") == Depth(0, 0)


async def test_one_process_owns_the_file(opened: Opener) -> None:
    opened()
    with pytest.raises(OpenError, match="in use by another process"):
        opened()


async def test_concurrent_publishers_all_arrive(opened: Opener) -> None:
    broker = opened()
    await asyncio.gather(*(publish(broker, str(number)) for number in range(300)))
    batch = await broker.lease("c", 1_000, 30)
    assert sorted(int(item.event.id) for item in batch.items) == list(range(300))


async def test_load_survives_a_restart(opened: Opener) -> None:
    broker = opened()
    await publish(broker, "1", "2", to=("c", "d"))
    before = broker.depth("ns/b")
    assert before.deliveries == 4
    await broker.close()
    assert opened().depth("ns/b") == before


async def test_a_lease_of_big_events_ends_early_and_the_rest_is_due(opened: Opener, clock: Clock) -> None:
    broker = opened()
    for number in range(5):
        await broker.publish(Publication("ns/b", event(str(number), data=b"x" * 8 * 1024 * 1024), ("c",)))
    batch = await broker.lease("c", 16, 30)
    assert [item.event.id for item in batch.items] == ["0", "1"]
    assert batch.next_due_at == clock.now
    assert [item.event.id for item in (await broker.lease("c", 16, 30)).items] == ["2", "3"]
