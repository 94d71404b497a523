"""The list ``metadata.managedFields``: decoded to managers and their sets, changed, encoded again.

Used by ``managed``. Invariant: a manager without fields has no entry; at most ``MAX_UPDATERS`` entries of operation
Update are kept apart, older ones are joined under ``ancient-changes`` as Kubernetes does.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import Any, Self

from standalone.apiserver.apply import fieldset
from standalone.apiserver.apply.fieldset import FieldSet

Obj = dict[str, Any]
Key = tuple[str, str, str, str]
"""(manager, operation, API version for Update, subresource)."""
MAX_UPDATERS = 10
ANCIENT = "ancient-changes"


@dataclass(frozen=True, slots=True)
class Entry:
    """One manager's entry."""

    manager: str
    operation: str
    api_version: str
    subresource: str
    time: str
    fields: FieldSet

    @staticmethod
    def key_of(manager: str, operation: str, api_version: str, subresource: str) -> Key:
        """The identity of a manager: an applier is one whatever version it speaks."""
        return manager, operation, api_version if operation == "Update" else "", subresource

    @property
    def key(self) -> Key:
        return self.key_of(self.manager, self.operation, self.api_version, self.subresource)

    def encode(self) -> Obj:
        entry: Obj = {"manager": self.manager, "operation": self.operation, "apiVersion": self.api_version}
        if self.time:
            entry["time"] = self.time
        entry["fieldsType"] = "FieldsV1"
        entry["fieldsV1"] = self.fields
        if self.subresource:
            entry["subresource"] = self.subresource
        return entry


def describe(entry: Entry) -> str:
    """A manager as conflict messages name it."""
    text = json.dumps(entry.manager)
    if entry.subresource:
        text += f" with subresource {json.dumps(entry.subresource)}"
    if entry.operation == "Update":
        text += f" using {entry.api_version}"
    return text


class Managers:
    """The managers of one object while one write is worked out."""

    def __init__(self, entries: list[Entry]) -> None:
        self._entries = {entry.key: entry for entry in entries}

    @classmethod
    def of(cls, obj: Obj) -> Self:
        """From ``metadata.managedFields``; entries that cannot be read are dropped, a broken list is empty."""
        listed = (obj.get("metadata") or {}).get("managedFields")
        return cls([entry for one in listed if (entry := _decode(one))] if isinstance(listed, list) else [])

    @property
    def is_empty(self) -> bool:
        return not self._entries

    def fields(self, key: Key) -> FieldSet:
        """What a manager owns; empty when it is unknown."""
        entry = self._entries.get(key)
        return entry.fields if entry is not None else {}

    def union_except(self, key: Key) -> FieldSet:
        """What all others own together."""
        owned: FieldSet = {}
        for entry in self._entries.values():
            if entry.key != key:
                owned = fieldset.union(owned, entry.fields)
        return owned

    def conflicts(self, key: Key, changed: FieldSet) -> list[tuple[Entry, FieldSet]]:
        """Who else owns fields that change, and which."""
        found = []
        for entry in self._entries.values():
            if entry.key != key:
                shared = fieldset.intersection(entry.fields, changed)
                if shared:
                    found.append((entry, shared))
        return found

    def take(self, key: Key, changed: FieldSet, removed: FieldSet) -> None:
        """Take what changed, and what is gone, from everybody but ``key``."""
        for other, entry in list(self._entries.items()):
            if other == key:
                continue
            left = fieldset.difference(fieldset.difference(entry.fields, changed), removed)
            if not left:
                del self._entries[other]
            elif left != entry.fields:
                self._entries[other] = _with_fields(entry, left)

    def set(self, key: Key, api_version: str, fields: FieldSet, at: str, *, keep_time: bool) -> None:
        """Say what ``key`` owns now; its time is ``at`` unless it is kept."""
        old = self._entries.pop(key, None)
        if fields:
            time = old.time if old is not None and keep_time else at
            self._entries[key] = Entry(key[0], key[1], api_version, key[3], time, fields)

    def encode(self) -> list[Obj]:
        """The list to store."""
        self._join_ancient()
        ordered = sorted(
            self._entries.values(),
            key=lambda one: (one.operation, one.time, one.manager, one.api_version, one.subresource),
        )
        return [entry.encode() for entry in ordered]

    def _join_ancient(self) -> None:
        updaters = [entry for entry in self._entries.values() if entry.operation == "Update"]
        if len(updaters) <= MAX_UPDATERS:
            return
        updaters.sort(key=lambda one: one.time)
        for entry in updaters[: len(updaters) - MAX_UPDATERS + 1]:
            del self._entries[entry.key]
            bucket = Entry(ANCIENT, "Update", entry.api_version, "", entry.time, entry.fields)
            before = self._entries.get(bucket.key)
            joined = fieldset.union(before.fields, entry.fields) if before is not None else entry.fields
            self._entries[bucket.key] = _with_fields(bucket, joined)


def _with_fields(entry: Entry, fields: FieldSet) -> Entry:
    return Entry(entry.manager, entry.operation, entry.api_version, entry.subresource, entry.time, fields)


def _decode(one: Any) -> Entry | None:
    if not isinstance(one, dict) or not isinstance(one.get("fieldsV1"), dict):
        return None
    operation = one.get("operation")
    if operation not in ("Apply", "Update"):
        return None
    return Entry(
        str(one.get("manager") or ""),
        operation,
        str(one.get("apiVersion") or ""),
        str(one.get("subresource") or ""),
        str(one.get("time") or ""),
        one["fieldsV1"],
    )
