"""Follows Brokers and Triggers in the Kubernetes API and keeps the routes, the lanes and the store in step.

Composed by ``__main__``. Deliveries of a Trigger, or of all Triggers of a Broker, go when the object is deleted, also
when that happened while this process was away; nothing is dropped before both kinds have been listed.
Invariant: once ``routes.is_synced`` is set, every consumer with stored deliveries and an existing Trigger has a lane.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterable

from eventing.dispatcher import Dispatcher
from eventing.ports import Broker, StoreError
from eventing.routes import Routes
from wakeful.core.api import eventing
from wakeful.kit import logs
from wakeful.kit.informer import Informer
from wakeful.kit.kube import KubeClient, Obj, Resource

BROKERS = Resource("eventing.knative.dev", "v1", "brokers")
TRIGGERS = Resource("eventing.knative.dev", "v1", "triggers")
FORGET_RETRY_S = 1.0


class Watch:
    """Run ``run`` in a task."""

    def __init__(self, client: KubeClient, routes: Routes, broker: Broker, dispatcher: Dispatcher) -> None:
        self._routes = routes
        self._broker = broker
        self._dispatcher = dispatcher
        self._forgotten: asyncio.Queue[list[str]] = asyncio.Queue()
        self._brokers = Informer(client, BROKERS, self.on_broker)
        self._triggers = Informer(client, TRIGGERS, self.on_trigger)
        self._log = logs.get("watch")

    async def run(self) -> None:
        """Follow for ever."""
        async with asyncio.TaskGroup() as group:
            group.create_task(self._brokers.run())
            group.create_task(self._triggers.run())
            group.create_task(self._run_after_sync())

    def on_broker(self, type_: str, obj: Obj, _: Obj | None) -> None:
        if type_ == "DELETED" or not eventing.is_ours(obj):
            self._forget(self._routes.drop_broker(obj))
        else:
            self._wake(self._routes.put_broker(obj))

    def on_trigger(self, type_: str, obj: Obj, old: Obj | None) -> None:
        if type_ == "DELETED":
            self._forget([self._routes.drop_trigger(obj)])
            return
        if old is not None and old["metadata"].get("uid") != obj["metadata"].get("uid"):
            self._forget([self._routes.drop_trigger(old)])
        self._wake([self._routes.put_trigger(obj)])

    def _wake(self, consumers: Iterable[str]) -> None:
        if self._routes.is_synced:
            self._dispatcher.wake(consumers)

    def _forget(self, consumers: list[str]) -> None:
        if consumers and self._routes.is_synced:
            self._dispatcher.drop(consumers)
            self._forgotten.put_nowait(consumers)

    async def _run_after_sync(self) -> None:
        await self._brokers.synced()
        await self._triggers.synced()
        known = self._routes.consumers()
        self._routes.is_synced = True
        self._log.info("routes known", triggers=len(known), brokers=len(self._routes.brokers()))
        self._dispatcher.wake(known)
        stored = await self._retried_consumers()
        self._forgotten.put_nowait(sorted(stored - known))
        while True:
            await self._drop_deliveries(await self._forgotten.get())

    async def _retried_consumers(self) -> set[str]:
        while True:
            try:
                return await self._broker.consumers()
            except StoreError as error:
                self._log.error("cannot read the store", error=str(error))
                await asyncio.sleep(FORGET_RETRY_S)

    async def _drop_deliveries(self, consumers: list[str]) -> None:
        """Of those that are still gone: a Broker may have been made again meanwhile."""
        present = self._routes.consumers()
        consumers = [consumer for consumer in consumers if consumer not in present]
        try:
            dropped = await self._broker.forget(consumers)
        except StoreError as error:
            self._log.error("cannot drop deliveries of deleted Triggers", error=str(error))
            await asyncio.sleep(FORGET_RETRY_S)
            self._forgotten.put_nowait(consumers)
            return
        if dropped:
            self._log.warning("dropped deliveries of deleted Triggers", consumers=consumers, count=dropped)
