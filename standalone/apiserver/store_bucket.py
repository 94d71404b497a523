"""The visible objects of one resource in key order, and who owns whom across all of them.

Owned by ``store``. Sorting is put off until somebody lists, and an almost sorted list sorts in linear time.

Invariants: ``ordered`` equals the entries sorted by (namespace, name); ``OwnerIndex.dependents(uid)`` are exactly
the objects whose owner references name ``uid``.
"""

from __future__ import annotations

from standalone.apiserver.store_entries import Entry, Key

Place = tuple[str, Key]
"""(resource, key)."""


class Bucket:
    """The objects of one resource."""

    __slots__ = ("_by_namespace", "_ordered", "entries")

    def __init__(self) -> None:
        self.entries: dict[Key, Entry] = {}
        self._ordered: list[Key] | None = []
        self._by_namespace: dict[str, set[Key]] = {}

    def put(self, entry: Entry) -> None:
        if entry.key not in self.entries:
            self._by_namespace.setdefault(entry.key[0], set()).add(entry.key)
            if self._ordered is not None and (not self._ordered or self._ordered[-1] < entry.key):
                self._ordered.append(entry.key)
            else:
                self._ordered = None
        self.entries[entry.key] = entry

    def drop(self, key: Key) -> None:
        if self.entries.pop(key, None) is not None:
            self._ordered = None
            inside = self._by_namespace[key[0]]
            inside.discard(key)
            if not inside:
                del self._by_namespace[key[0]]

    def ordered(self, namespace: str | None = None) -> list[Entry]:
        """All entries, or those of one namespace, by key."""
        if namespace is not None:
            keys = sorted(self._by_namespace.get(namespace, ()))
            return [self.entries[key] for key in keys]
        if self._ordered is None:
            self._ordered = sorted(self.entries)
        return [self.entries[key] for key in self._ordered]

    def count(self, namespace: str) -> int:
        return len(self._by_namespace.get(namespace, ()))


class OwnerIndex:
    """Where each uid is, and the dependents of each owner's uid."""

    def __init__(self) -> None:
        self._places: dict[str, Place] = {}
        self._dependents: dict[str, set[Place]] = {}

    def put(self, previous: Entry | None, state: Entry | None) -> None:
        """Replace what is known of an object; ``state`` None means it is gone."""
        if previous is not None:
            for owner in previous.owners:
                self._forget(owner, (previous.resource, previous.key))
            if state is None or state.uid != previous.uid:
                self._places.pop(previous.uid, None)
        if state is not None:
            self._places[state.uid] = (state.resource, state.key)
            for owner in state.owners:
                self._dependents.setdefault(owner, set()).add((state.resource, state.key))

    def _forget(self, owner: str, place: Place) -> None:
        places = self._dependents.get(owner)
        if places is not None:
            places.discard(place)
            if not places:
                del self._dependents[owner]

    def place(self, uid: str) -> Place | None:
        """Where the object with this uid is, or None when there is none."""
        return self._places.get(uid)

    def dependents(self, uid: str) -> list[Place]:
        """The objects that name ``uid`` as an owner, in a stable order."""
        return sorted(self._dependents.get(uid, ()))
