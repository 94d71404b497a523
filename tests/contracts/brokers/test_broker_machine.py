"""A state machine drives the broker and a small model together: nothing lost, nothing after settle, leases fenced."""

from __future__ import annotations

import asyncio
import shutil
import tempfile
from pathlib import Path
from typing import Any

from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule

from eventing.brokers.sqlite import Bounds, SqliteBroker
from eventing.ports import Again, Done, Leased, Publication
from wakeful.core.protocol.cloudevents import Event

CONSUMERS = ("a", "b")
LEASE_S = 10.0


class BrokerMachine(RuleBasedStateMachine):
    """The model: (consumer, event id) -> [due at, attempts]; a lease is a due time in the future."""

    def __init__(self) -> None:
        super().__init__()
        self.folder = Path(tempfile.mkdtemp())
        self.now = 1_000.0
        self.runner = asyncio.Runner()
        self.broker = self.reopen()
        self.published = 0
        self.model: dict[tuple[str, str], list[float]] = {}
        self.held: list[Leased] = []
        self.current: dict[tuple[str, str], int] = {}

    def reopen(self) -> SqliteBroker:
        return self.runner.run(self._open())

    async def _open(self) -> SqliteBroker:
        return SqliteBroker.open(self.folder / "e.db", Bounds(), lambda: self.now)

    def run(self, coroutine: Any) -> Any:
        return self.runner.run(coroutine)

    @rule(consumers=st.lists(st.sampled_from(CONSUMERS), min_size=1, max_size=2, unique=True))
    def publish(self, consumers: list[str]) -> None:
        self.published += 1
        name = str(self.published)
        self.run(self.broker.publish(Publication("n/b", Event(name, "/s", "t"), tuple(consumers))))
        for consumer in consumers:
            self.model[(consumer, name)] = [self.now, 0]

    @rule(consumer=st.sampled_from(CONSUMERS), limit=st.integers(1, 4))
    def lease(self, consumer: str, limit: int) -> None:
        batch = self.run(self.broker.lease(consumer, limit, LEASE_S))
        due = [key for key, (at, _) in self.model.items() if key[0] == consumer and at <= self.now]
        assert len(batch.items) == min(limit, len(due))
        for item in batch.items:
            key = (consumer, item.event.id)
            assert key in due
            self.model[key] = [self.now + LEASE_S, self.model[key][1] + 1]
            assert item.attempts == self.model[key][1]
            self.current[key] = item.token
            self.held.append(item)

    @rule(data=st.data(), is_done=st.booleans(), wait=st.sampled_from([0.0, 5.0]))
    def settle(self, data: st.DataObject, is_done: bool, wait: float) -> None:
        if not self.held:
            return
        item = data.draw(st.sampled_from(self.held))
        key = (item.consumer, item.event.id)
        holds = key in self.model and self.current.get(key) == item.token
        settlement = Done() if is_done else Again(self.now + wait, item.attempts)
        assert self.run(self.broker.settle(item, settlement)) is holds
        if holds:
            del self.current[key]
            if is_done:
                del self.model[key]
            else:
                self.model[key] = [self.now + wait, item.attempts]

    @rule(seconds=st.sampled_from([1.0, 6.0, 20.0]))
    def wait(self, seconds: float) -> None:
        self.now += seconds

    @rule()
    def restart(self) -> None:
        self.run(self.broker.close())
        self.broker = self.reopen()
        for key in self.current:
            self.model[key][0] = self.now
        self.current.clear()

    @invariant()
    def depth_is_right(self) -> None:
        assert self.broker.depth("n/b").deliveries == len(self.model)

    def teardown(self) -> None:
        for consumer in CONSUMERS:
            self.now += 1_000
            batch = self.run(self.broker.lease(consumer, 10_000, LEASE_S))
            assert {item.event.id for item in batch.items} == {
                key[1] for key in self.model if key[0] == consumer
            }
        self.run(self.broker.close())
        self.runner.close()
        shutil.rmtree(self.folder)


BrokerMachine.TestCase.settings = settings(
    max_examples=40, stateful_step_count=30, suppress_health_check=list(HealthCheck)
)
TestBroker = BrokerMachine.TestCase
