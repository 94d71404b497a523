"""One stored object (``Entry``) and one change of it (``Event``), as bytes that are ready to be sent.

Used by the store, the watch hub and the read handlers. Objects are kept as JSON bytes, parsed only when somebody
must look inside; what indexes and label selectors need is kept beside them.

Invariant: an ``Entry`` never changes; ``raw`` begins with ``{"apiVersion":"...","kind":"..."``, so that serving
another version of the kind (conversion strategy None) only replaces those bytes.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import orjson

Obj = dict[str, Any]
Key = tuple[str, str]
"""(namespace or "", name)."""

ADDED, MODIFIED, DELETED = "ADDED", "MODIFIED", "DELETED"


@dataclass(frozen=True, slots=True, eq=False)
class Entry:
    """One version of one object. Compared by identity: that is what an update checks."""

    id: int
    resource: str
    key: Key
    uid: str
    version: int
    raw: bytes
    labels: dict[str, str]
    owners: tuple[str, ...]
    is_deleting: bool

    def load(self) -> Obj:
        """A fresh dictionary, the caller's to change."""
        obj: Obj = orjson.loads(self.raw)
        return obj

    def raw_as(self, api_version: str) -> bytes:
        """The bytes under another version of the kind."""
        return with_api_version(self.raw, api_version)


def with_api_version(raw: bytes, api_version: str) -> bytes:
    """Replace the leading ``apiVersion`` of canonical bytes."""
    head = b'{"apiVersion":"' + api_version.encode() + b'",'
    if raw.startswith(head):
        return raw
    return head + raw[raw.index(b",") + 1 :]


def build_entry(identity: int, resource: str, key: Key, version: int, obj: Obj) -> Entry:
    """Serialise ``obj`` with ``version`` as its resourceVersion (0: none). Changes ``obj['metadata']``."""
    metadata = obj["metadata"]
    if version:
        metadata["resourceVersion"] = str(version)
    canonical = {"apiVersion": obj["apiVersion"], "kind": obj["kind"], "metadata": metadata}
    canonical.update(obj)
    return _entry(identity, resource, key, version, orjson.dumps(canonical), metadata)


def restore_entry(identity: int, resource: str, key: Key, raw: bytes) -> Entry:
    """The entry of bytes read from the database."""
    metadata = orjson.loads(raw)["metadata"]
    return _entry(identity, resource, key, int(metadata["resourceVersion"]), raw, metadata)


def _entry(identity: int, resource: str, key: Key, version: int, raw: bytes, metadata: Obj) -> Entry:
    owners = metadata.get("ownerReferences")
    return Entry(
        id=identity,
        resource=resource,
        key=key,
        uid=metadata["uid"],
        version=version,
        raw=raw,
        labels=metadata.get("labels") or _NO_LABELS,
        owners=tuple(str(owner.get("uid")) for owner in owners) if owners else (),
        is_deleting="deletionTimestamp" in metadata,
    )


_NO_LABELS: dict[str, str] = {}


@dataclass(frozen=True, slots=True, eq=False)
class Event:
    """One change: the new state (for DELETED the last one, with the deletion's version) and the state before."""

    type: str
    entry: Entry
    previous: Entry | None

    @property
    def version(self) -> int:
        return self.entry.version

    def size_bytes(self) -> int:
        """What keeping this event holds in memory, both states counted."""
        return len(self.entry.raw) + (len(self.previous.raw) if self.previous else 0) + 512
