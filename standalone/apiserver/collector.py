"""Garbage collection by owner references: dependents follow their owners, by the policy of the owner's deletion.

Runs in this process on the store's own index. An event only puts uids into a queue; ``run`` works on them one by
one, so a burst of deletions never blocks a request for long.

Rules: an object none of whose owners exists is deleted; owners that are gone are taken out of the references while
others remain; ``foregroundDeletion`` waits for dependents that block; ``orphan`` frees the dependents first.

Invariant: everything is decided from the present state of the store, so a crash or a repeated uid changes nothing.
"""

from __future__ import annotations

import asyncio

from standalone.apiserver import errors
from standalone.apiserver.deletion import FOREGROUND, ORPHAN, DeleteOptions
from standalone.apiserver.handlers_context import Context
from standalone.apiserver.handlers_delete import Deleter
from standalone.apiserver.kinds import Kind
from standalone.apiserver.store import StaleWriteError
from standalone.apiserver.store_bucket import Place
from standalone.apiserver.store_entries import DELETED, Entry, Event, Obj
from wakeful.kit import logs

_log = logs.get("apiserver.collector")
RETRY_S = 1.0


class Collector:
    """See the module. ``on_events`` is a listener of the store; ``run`` is a task."""

    def __init__(self, context: Context, deleter: Deleter) -> None:
        self._context = context
        self._store = context.store
        self._deleter = deleter
        self._queue: asyncio.Queue[str] = asyncio.Queue()
        self._waiting: set[str] = set()
        for resource in self._store.resources():
            for entry in self._store.bucket(resource).ordered():
                self._look_at(entry)

    def on_events(self, events: list[Event]) -> None:
        for event in events:
            if event.type == DELETED:
                self._add(event.entry.uid)
                for owner in event.entry.owners:
                    self._add(owner)
            else:
                self._look_at(event.entry)

    def _look_at(self, entry: Entry) -> None:
        """Queue an object that is being deleted, and one whose owners may be missing."""
        if entry.is_deleting:
            self._add(entry.uid)
        for owner in entry.owners:
            place = self._store.owners.place(owner)
            if place is None or not self._is_namespace_right(place, entry):
                self._add(entry.uid)
            elif entry.is_deleting:
                self._add(owner)

    def _add(self, uid: str) -> None:
        if uid not in self._waiting:
            self._waiting.add(uid)
            self._queue.put_nowait(uid)

    async def run(self) -> None:
        """Work for ever. A failure is logged and tried again a second later."""
        loop = asyncio.get_running_loop()
        while True:
            uid = await self._queue.get()
            self._waiting.discard(uid)
            try:
                await self._work(uid)
            except (errors.StatusError, StaleWriteError) as error:
                _log.info("collection postponed", uid=uid, error=str(error) or "changed meanwhile")
                loop.call_later(RETRY_S, self._add, uid)
            except Exception as error:  # one odd object must leave the loop, and the process, alive
                _log.error("collection failed", uid=uid, error=repr(error))
                loop.call_later(RETRY_S, self._add, uid)

    async def _work(self, uid: str) -> None:
        place = self._store.owners.place(uid)
        entry = self._store.get(*place) if place is not None else None
        if entry is None:
            for dependent in self._store.owners.dependents(uid):
                await self._judge(dependent)
            return
        if entry.owners:
            await self._judge((entry.resource, entry.key))
        if entry.is_deleting:
            await self._end(entry)

    # -- an object whose owners may be gone

    async def _judge(self, place: Place) -> None:
        entry = self._store.latest(*place)
        kind = self._context.registry.of_resource(place[0])
        if entry is None or kind is None or not entry.owners:
            return
        obj = entry.load()
        references = obj["metadata"].get("ownerReferences") or []
        solid = [owner for owner in references if self._exists(owner, entry)]
        if len(solid) == len(references):
            return
        if solid:
            obj["metadata"]["ownerReferences"] = solid
            await self._store.put(entry.resource, entry.key, obj, entry)
        elif not entry.is_deleting:
            await self._delete(kind, entry, "Background")

    def _exists(self, owner: Obj, dependent: Entry) -> bool:
        place = self._store.owners.place(str(owner.get("uid")))
        return place is not None and self._is_namespace_right(place, dependent)

    def _is_namespace_right(self, place: Place, dependent: Entry) -> bool:
        """An owner is cluster-scoped or in the dependent's own namespace."""
        return place[1][0] in ("", dependent.key[0])

    async def _delete(self, kind: Kind, entry: Entry, policy: str) -> None:
        finalizers = entry.load()["metadata"].get("finalizers") or ()
        if policy == "Background" and (ORPHAN in finalizers or FOREGROUND in finalizers):
            policy = ""
        try:
            await self._deleter.delete(kind, entry.key, DeleteOptions(policy=policy, uid=entry.uid))
        except errors.StatusError as error:
            if error.code not in (404, 409):
                raise

    # -- an object under deletion with a policy

    async def _end(self, entry: Entry) -> None:
        obj = entry.load()
        finalizers = obj["metadata"].get("finalizers") or ()
        if ORPHAN in finalizers:
            await self._orphan(entry.uid)
            await self._finish(entry, ORPHAN)
        elif FOREGROUND in finalizers and await self._empty(entry.uid):
            await self._finish(entry, FOREGROUND)

    async def _orphan(self, uid: str) -> None:
        for place in self._store.owners.dependents(uid):
            dependent = self._store.latest(*place)
            if dependent is None:
                continue
            obj = dependent.load()
            kept = [
                owner for owner in obj["metadata"].get("ownerReferences") or () if owner.get("uid") != uid
            ]
            if kept:
                obj["metadata"]["ownerReferences"] = kept
            else:
                obj["metadata"].pop("ownerReferences", None)
            await self._store.put(dependent.resource, dependent.key, obj, dependent)

    async def _empty(self, uid: str) -> bool:
        """Delete the dependents; whether none that blocks the owner is left."""
        is_empty = True
        for place in self._store.owners.dependents(uid):
            dependent = self._store.latest(*place)
            kind = self._context.registry.of_resource(place[0])
            if dependent is None or kind is None:
                continue
            references = dependent.load()["metadata"].get("ownerReferences") or ()
            blocks = any(owner.get("uid") == uid and owner.get("blockOwnerDeletion") for owner in references)
            is_empty = is_empty and not blocks
            if blocks and self._has_waiting_dependent(dependent.uid):
                dependent = await self._unblock(dependent)
                references, blocks = dependent.load()["metadata"]["ownerReferences"], False
            if not dependent.is_deleting:
                others = [
                    owner
                    for owner in references
                    if owner.get("uid") != uid and self._is_solid(owner, dependent)
                ]
                if others:
                    await self._release(dependent, uid)
                else:
                    await self._delete(kind, dependent, "Foreground" if blocks else "Background")
        return is_empty or not self._has_blocking(uid)

    def _is_solid(self, owner: Obj, dependent: Entry) -> bool:
        """The owner exists and is not itself waiting for its dependents."""
        place = self._store.owners.place(str(owner.get("uid")))
        found = self._store.get(*place) if place is not None else None
        return found is not None and not found.is_deleting and self._exists(owner, dependent)

    def _has_blocking(self, uid: str) -> bool:
        for place in self._store.owners.dependents(uid):
            dependent = self._store.latest(*place)
            for owner in (dependent.load()["metadata"].get("ownerReferences") or ()) if dependent else ():
                if owner.get("uid") == uid and owner.get("blockOwnerDeletion"):
                    return True
        return False

    def _has_waiting_dependent(self, uid: str) -> bool:
        """Whether something that itself waits for its dependents depends on ``uid``: a circle."""
        for place in self._store.owners.dependents(uid):
            found = self._store.latest(*place)
            if found is not None and found.is_deleting:
                return FOREGROUND in (found.load()["metadata"].get("finalizers") or ())
        return False

    async def _unblock(self, dependent: Entry) -> Entry:
        """Open a circle: the dependent no longer holds its owners."""
        obj = dependent.load()
        for owner in obj["metadata"]["ownerReferences"]:
            owner.pop("blockOwnerDeletion", None)
        return await self._store.put(dependent.resource, dependent.key, obj, dependent)

    async def _release(self, dependent: Entry, uid: str) -> None:
        """Other owners hold the object: it only loses this one."""
        obj = dependent.load()
        owners = obj["metadata"]["ownerReferences"]
        obj["metadata"]["ownerReferences"] = [owner for owner in owners if owner.get("uid") != uid]
        await self._store.put(dependent.resource, dependent.key, obj, dependent)

    async def _finish(self, entry: Entry, finalizer: str) -> None:
        """Take the collector's finalizer away; the object goes when it was the last."""
        current = self._store.latest(entry.resource, entry.key)
        if current is None or current.uid != entry.uid:
            return
        obj = current.load()
        metadata = obj["metadata"]
        left = [name for name in metadata.get("finalizers") or () if name != finalizer]
        if left:
            metadata["finalizers"] = left
        else:
            metadata.pop("finalizers", None)
        if left or metadata.get("deletionGracePeriodSeconds"):
            await self._store.put(entry.resource, entry.key, obj, current)
        else:
            await self._store.remove(entry.resource, entry.key, obj, current)
