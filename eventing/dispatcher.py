"""Takes due deliveries out of the broker and has them attempted: one lane for each Trigger, bounded in each and in all.

Composed by ``__main__``; told by ingress and watcher which consumers have something new. A lane leases as many
deliveries as it has free places, runs them side by side, and sleeps until it is woken, a place is free, or the next
delivery is due. Nothing is polled.
Invariant: at most ``per_lane`` attempts of a Trigger and ``total`` of all run at once; after ``run`` ended no attempt runs,
and deliveries that were cut off are due again without the attempt being counted.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field

from eventing.attempt import Attempts, Result
from eventing.metrics import Metrics
from eventing.ports import Again, Batch, Broker, Done, FullError, Leased, Settlement, StoreError
from eventing.routes import Routes, Subscription
from wakeful.kit import logs

LEASE_MARGIN_S = 30.0
DRAIN_S = 3.0
STORE_RETRY_S = 1.0


@dataclass(frozen=True, slots=True)
class Concurrency:
    """How many attempts run at once."""

    per_lane: int
    total: int
    total_bytes: int = 256 * 1024 * 1024
    """Data of events being delivered; beyond it no lane takes another one."""


@dataclass(slots=True)
class _Lane:
    """The work of one consumer."""

    consumer: str
    wake: asyncio.Event = field(default_factory=asyncio.Event)
    running: dict[asyncio.Task[None], Leased] = field(default_factory=dict)
    loop: asyncio.Task[None] | None = None


class Dispatcher:
    """Run ``run`` in a task; call ``wake`` from the same event loop."""

    def __init__(
        self,
        broker: Broker,
        routes: Routes,
        attempts: Attempts,
        metrics: Metrics,
        clock: Callable[[], float],
        concurrency: Concurrency,
        timeout_s: float,
    ) -> None:
        self._broker = broker
        self._routes = routes
        self._attempts = attempts
        self._metrics = metrics
        self._clock = clock
        self._concurrency = concurrency
        self._timeout_s = timeout_s
        self._lanes: dict[str, _Lane] = {}
        self._starved: set[str] = set()
        self._in_flight = 0
        self._in_flight_bytes = 0
        self._is_stopping = False
        self._log = logs.get("dispatcher")

    def wake(self, consumers: Iterable[str]) -> None:
        """Look at these consumers' deliveries now. New ones get a lane, those whose Trigger is gone none."""
        if self._is_stopping:
            return
        for consumer in consumers:
            lane = self._lanes.get(consumer)
            if lane is None:
                if self._routes.subscription(consumer) is None:
                    continue
                lane = self._lanes[consumer] = _Lane(consumer)
                lane.loop = asyncio.create_task(self._run_lane(lane), name=f"lane {consumer}")
            lane.wake.set()

    def drop(self, consumers: Iterable[str]) -> None:
        """Stop the lanes of consumers that no longer exist; attempts in flight are cut off."""
        for consumer in consumers:
            lane = self._lanes.pop(consumer, None)
            if lane is not None:
                for task in (lane.loop, *lane.running):
                    if task is not None:
                        task.cancel()

    async def run(self) -> None:
        """Wait to be cancelled, then stop the lanes, let attempts finish for ``DRAIN_S`` and hand back the rest."""
        try:
            await asyncio.Event().wait()
        finally:
            await self._stop()

    async def _run_lane(self, lane: _Lane) -> None:
        while True:
            lane.wake.clear()
            try:
                wait_s = await self._fill(lane)
            except Exception as error:  # a lane that ends would leave its Trigger without deliveries for ever
                self._log.error("cannot take deliveries", consumer=lane.consumer, error=repr(error))
                wait_s = STORE_RETRY_S
            try:
                async with asyncio.timeout(wait_s):
                    await lane.wake.wait()
            except TimeoutError:
                continue

    async def _fill(self, lane: _Lane) -> float | None:
        """Start what is due and fits; seconds until there can be more, None: not before ``wake``."""
        subscription = self._routes.subscription(lane.consumer)
        free = min(self._concurrency.per_lane - len(lane.running), self._concurrency.total - self._in_flight)
        if subscription is None:
            return None
        if free <= 0 or self._in_flight_bytes >= self._concurrency.total_bytes:
            self._starved.add(lane.consumer)
            return None
        lease_s = (subscription.policy.timeout_s or self._timeout_s) + LEASE_MARGIN_S
        self._in_flight += free
        unused = free
        try:
            batch = await self._broker.lease(lane.consumer, free, lease_s)
            self._start(lane, batch)
            unused -= len(batch.items)
        finally:
            self._give_back(unused)
        if len(batch.items) == free or batch.next_due_at is None:
            return None
        if self._in_flight_bytes >= self._concurrency.total_bytes:
            self._starved.add(lane.consumer)
            return None
        return max(batch.next_due_at - self._clock(), 0.001)

    def _start(self, lane: _Lane, batch: Batch) -> None:
        for item in batch.items:
            task = asyncio.create_task(self._attempt(item))
            lane.running[task] = item
            self._in_flight_bytes += len(item.event.data or b"")
            task.add_done_callback(lambda done: self._ended(lane, done))

    def _ended(self, lane: _Lane, task: asyncio.Task[None]) -> None:
        item = lane.running.pop(task)
        self._in_flight_bytes -= len(item.event.data or b"")
        lane.wake.set()
        self._give_back(1)
        if not task.cancelled() and task.exception() is not None:
            self._log.error("attempt failed", consumer=lane.consumer, error=repr(task.exception()))

    def _give_back(self, places: int) -> None:
        """Places in the total are free again: lanes that found none look again."""
        self._in_flight -= places
        starved, self._starved = self._starved, set()
        self.wake(consumer for consumer in starved if consumer in self._lanes)

    async def _attempt(self, item: Leased) -> None:
        subscription = self._routes.subscription(item.consumer)
        if subscription is None:
            return
        result = await self._attempts.make(item, subscription)
        try:
            settled = await self._settle(item, subscription, result.settlement)
        except FullError as error:
            result = self._attempts.refused_reply(item, subscription, str(error))
            settled = await self._settle(item, subscription, result.settlement)
        if settled is None:
            self._log.warning("lease lost", consumer=item.consumer, event_id=item.event.id[:128])
            return
        self._count(subscription, result)
        if isinstance(settled, Done):
            self.wake({name for reply in settled.replies for name in reply.consumers})

    async def _settle(
        self, item: Leased, subscription: Subscription, settlement: Settlement
    ) -> Settlement | None:
        """Settle, again and again while the disk refuses: what was delivered should not be delivered twice.

        Returns what took effect, None where the lease was lost.
        """
        while True:
            try:
                return settlement if await self._broker.settle(item, settlement) else None
            except StoreError as error:
                self._log.error("cannot settle", consumer=item.consumer, error=str(error))
                await asyncio.sleep(STORE_RETRY_S)
                settlement = self._attempts.readdress(item, subscription, settlement)

    def _count(self, subscription: Subscription, result: Result) -> None:
        if result.outcome:
            labels = (subscription.namespace, subscription.trigger, result.outcome)
            self._metrics.outcomes.labels(*labels).inc()

    async def _stop(self) -> None:
        self._is_stopping = True
        lanes = list(self._lanes.values())
        loops = [lane.loop for lane in lanes if lane.loop is not None]
        for loop in loops:
            loop.cancel()
        await asyncio.gather(*loops, return_exceptions=True)
        running = {task: item for lane in lanes for task, item in lane.running.items()}
        if running:
            await asyncio.wait(running, timeout=DRAIN_S)
        cut = {task: item for task, item in running.items() if not task.done()}
        for task in cut:
            task.cancel()
        await asyncio.gather(*cut, return_exceptions=True)
        now = self._clock()
        handed = (self._broker.settle(item, Again(now, item.attempts - 1)) for item in cut.values())
        await asyncio.gather(*handed, return_exceptions=True)
