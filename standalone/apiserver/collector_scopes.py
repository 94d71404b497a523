"""Empties what is being deleted as a whole: namespaces, and the objects of a CustomResourceDefinition.

Runs in this process. A namespace under deletion loses all its objects, then its ``kubernetes`` finalizer; a
definition loses its instances, then its cleanup finalizer. Objects with finalizers, and pods whose node is still
ending them, are waited for: every change in the scope makes the next look.

Invariant: decided from the present state alone, so it goes on after a crash where it was.
"""

from __future__ import annotations

import asyncio

from standalone.apiserver import errors, handlers_definitions
from standalone.apiserver.deletion import DeleteOptions
from standalone.apiserver.handlers_context import Context
from standalone.apiserver.handlers_delete import Deleter
from standalone.apiserver.handlers_rules import CRD_FINALIZER, NAMESPACE_FINALIZER
from standalone.apiserver.kinds_core import CRD_RESOURCE
from standalone.apiserver.store import StaleWriteError
from standalone.apiserver.store_bucket import Place
from standalone.apiserver.store_entries import DELETED, Entry, Event, Obj
from wakeful.kit import logs

_log = logs.get("apiserver.scopes")
NAMESPACES = "namespaces"
RETRY_S = 1.0


class ScopeCollector:
    """See the module. ``on_events`` is a listener of the store; ``run`` is a task."""

    def __init__(self, context: Context, deleter: Deleter) -> None:
        self._context = context
        self._store = context.store
        self._deleter = deleter
        self._queue: asyncio.Queue[Place] = asyncio.Queue()
        self._waiting: set[Place] = set()
        for resource in (NAMESPACES, CRD_RESOURCE):
            for entry in self._store.bucket(resource).ordered():
                if entry.is_deleting:
                    self._add((resource, entry.key))

    def on_events(self, events: list[Event]) -> None:
        for event in events:
            entry = event.entry
            if entry.resource in (NAMESPACES, CRD_RESOURCE):
                if entry.is_deleting and event.type != DELETED:
                    self._add((entry.resource, entry.key))
                elif entry.resource == CRD_RESOURCE and event.type == DELETED:
                    for other in self._store.bucket(CRD_RESOURCE).ordered():
                        self._add((CRD_RESOURCE, other.key))
            elif event.type == DELETED:
                self._add_if_deleting(NAMESPACES, entry.key[0])
                self._add_if_deleting(CRD_RESOURCE, entry.resource)

    def _add_if_deleting(self, resource: str, name: str) -> None:
        scope = self._store.get(resource, ("", name))
        if scope is not None and scope.is_deleting:
            self._add((resource, scope.key))

    def _add(self, place: Place) -> None:
        if place not in self._waiting:
            self._waiting.add(place)
            self._queue.put_nowait(place)

    async def run(self) -> None:
        """Work for ever. A failure is logged and tried again a second later."""
        loop = asyncio.get_running_loop()
        while True:
            place = await self._queue.get()
            self._waiting.discard(place)
            try:
                await self._work(place)
            except (errors.StatusError, StaleWriteError) as error:
                _log.info("emptying postponed", scope=place, error=str(error) or "changed meanwhile")
                loop.call_later(RETRY_S, self._add, place)
            except Exception as error:  # one odd object must leave the loop, and the process, alive
                _log.error("emptying failed", scope=place, error=repr(error))
                loop.call_later(RETRY_S, self._add, place)

    async def _work(self, place: Place) -> None:
        entry = self._store.latest(*place)
        if entry is None:
            return
        if not entry.is_deleting:
            await self._reconsider(entry)
            return
        contents = self._contents(entry)
        for item in contents:
            if not item.is_deleting:
                await self._delete(item)
        if not self._contents(entry):
            await self._finish(place)
        else:
            await self._report(place, contents)

    async def _reconsider(self, entry: Entry) -> None:
        """Accept a definition whose names were in use by one that is gone."""
        obj = entry.load()
        if entry.resource == CRD_RESOURCE and not handlers_definitions.is_established(obj):
            handlers_definitions.set_status(self._context, obj, entry.load())
            if obj != entry.load():
                await self._store.put(entry.resource, entry.key, obj, entry)

    def _contents(self, scope: Entry) -> list[Entry]:
        name = scope.key[1]
        if scope.resource == CRD_RESOURCE:
            return self._store.bucket(name).ordered()
        found: list[Entry] = []
        for resource in self._store.resources():
            if self._store.bucket(resource).count(name):
                found += self._store.bucket(resource).ordered(name)
        return found

    async def _delete(self, item: Entry) -> None:
        kind = self._context.registry.of_resource(item.resource)
        if kind is None:  # its definition is not served: nobody else can delete it
            await self._store.remove(item.resource, item.key, item.load(), item)
            return
        try:
            await self._deleter.delete(kind, item.key, DeleteOptions(policy="Background", uid=item.uid))
        except errors.StatusError as error:
            if error.code not in (404, 409):
                raise

    async def _finish(self, place: Place) -> None:
        current = self._store.latest(*place)
        if current is None:
            return
        obj = current.load()
        metadata = obj["metadata"]
        if place[0] == NAMESPACES:
            spec = obj.get("spec") or {}
            left = [name for name in spec.get("finalizers") or () if name != NAMESPACE_FINALIZER]
            obj["spec"] = {**spec, "finalizers": left}
        else:
            metadata["finalizers"] = [
                name for name in metadata.get("finalizers") or () if name != CRD_FINALIZER
            ]
        if metadata.get("finalizers") or (place[0] == NAMESPACES and obj["spec"]["finalizers"]):
            if obj != current.load():
                await self._store.put(*place, obj, current)
        else:
            await self._store.remove(*place, obj, current)

    async def _report(self, place: Place, contents: list[Entry]) -> None:
        """Say in the scope's status what it waits for."""
        current = self._store.latest(*place)
        if current is None:
            return
        obj = current.load()
        listed, held = _count(contents)
        if place[0] == NAMESPACES:
            conditions = [
                _condition(
                    "NamespaceContentRemaining",
                    "SomeResourcesRemain",
                    f"Some resources are remaining: {listed}",
                )
            ]
            if held:
                text = f"Some content in the namespace has finalizers remaining: {held}"
                conditions.append(_condition("NamespaceFinalizersRemaining", "SomeFinalizersRemain", text))
        else:
            text = f"CustomResource deletion is in progress: {listed}"
            conditions = [_condition("Terminating", "InstanceDeletionInProgress", text)]
        changes = [_set_condition(obj, condition, self._context.stamp()) for condition in conditions]
        if any(changes):
            await self._store.put(*place, obj, current)


def _count(contents: list[Entry]) -> tuple[str, str]:
    """How many objects of which resources, and of which finalizers, as Kubernetes lists them."""
    counts: dict[str, int] = {}
    finalizers: dict[str, int] = {}
    for item in contents:
        named = item.resource if "." in item.resource else f"{item.resource}."
        counts[named] = counts.get(named, 0) + 1
        for name in item.load()["metadata"].get("finalizers") or ():
            finalizers[name] = finalizers.get(name, 0) + 1
    listed = ", ".join(f"{name} has {count} resource instances" for name, count in sorted(counts.items()))
    held = ", ".join(f"{name} in {count} resource instances" for name, count in sorted(finalizers.items()))
    return listed, held


def _condition(name: str, reason: str, message: str) -> dict[str, str]:
    return {"type": name, "status": "True", "reason": reason, "message": message}


def _set_condition(obj: Obj, condition: dict[str, str], stamp: str) -> bool:
    """Put the condition into the status; whether that changed anything but time."""
    status = obj.setdefault("status", {})
    conditions = status.get("conditions") or []
    before = next((item for item in conditions if item["type"] == condition["type"]), None)
    if before is not None and all(before.get(key) == value for key, value in condition.items()):
        return False
    others = [item for item in conditions if item["type"] != condition["type"]]
    status["conditions"] = [*others, {**condition, "lastTransitionTime": stamp}]
    return True
