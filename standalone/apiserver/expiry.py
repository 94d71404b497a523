"""Events live for an hour after their last write, as on a cluster (kube-apiserver's ``--event-ttl``, one hour).

A listener of the store and a task, put together in ``server_assembly``. Times are kept in memory: what a restart
finds counts as written at the restart. Left out: other kinds with a time to live (none is served).

Invariant: at most one entry is kept for each Event, in order of its last write, so a sweep looks at the old ones only.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable

from standalone.apiserver.errors import StatusError
from standalone.apiserver.store import StaleWriteError, Store
from standalone.apiserver.store_bucket import Place
from standalone.apiserver.store_entries import DELETED, Event
from wakeful.kit import logs

RESOURCES = ("events", "events.events.k8s.io")
LIFE_S = 3600.0
SWEEP_S = 60.0


class EventExpiry:
    """See the module. ``clock`` gives seconds that only rise."""

    def __init__(self, store: Store, clock: Callable[[], float]) -> None:
        self._store, self._clock = store, clock
        self._log = logs.get("apiserver.expiry")
        self._written: dict[Place, float] = {}
        for resource in RESOURCES:
            for entry in store.bucket(resource).ordered():
                self._written[(resource, entry.key)] = clock()

    def on_events(self, events: list[Event]) -> None:
        """Note when Events were written."""
        for event in events:
            if event.entry.resource in RESOURCES:
                place = (event.entry.resource, event.entry.key)
                self._written.pop(place, None)  # so that it comes last again
                if event.type != DELETED:
                    self._written[place] = self._clock()

    async def run(self) -> None:
        """Sweep for ever."""
        while True:
            await asyncio.sleep(SWEEP_S)
            try:
                await self.sweep()
            except Exception as error:  # old Events are no reason to end the API server
                self._log.error("events not swept", error=repr(error))

    async def sweep(self) -> None:
        """Remove what is older than an hour."""
        before = self._clock() - LIFE_S
        while (place := next(iter(self._written), None)) is not None and self._written[place] <= before:
            del self._written[place]
            entry = self._store.latest(*place)
            if entry is not None:
                try:
                    await self._store.remove(entry.resource, entry.key, entry.load(), entry)
                except (StaleWriteError, StatusError):  # written meanwhile, or a full disk: another hour
                    self._written[place] = self._clock()
