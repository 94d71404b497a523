"""Objects and events as bytes in the form a client asked for: whole, as a Table, or only their metadata.

Called by the read handlers and the watch hub. The whole form only copies stored bytes. Tables come from
``tables.render_table``.

Invariant: rendering never changes an entry.
"""

from __future__ import annotations

import datetime
from collections.abc import Callable, Sequence
from typing import Literal

import orjson

from standalone.apiserver.kinds import Kind
from standalone.apiserver.routes_target import Flavor
from standalone.apiserver.store_entries import Entry, Obj

Clock = Callable[[], datetime.datetime]


def render_object(kind: Kind, entry: Entry, flavor: Flavor, now: Clock, include: str = "") -> bytes:
    """One object."""
    if flavor is Flavor.OBJECT:
        return entry.raw_as(kind.api_version)
    if flavor is Flavor.TABLE:
        return orjson.dumps(_table(kind, [entry], now, include, entry.version, True))
    return orjson.dumps(_metadata(entry))


def render_list(
    kind: Kind, entries: Sequence[Entry], flavor: Flavor, now: Clock, metadata: Obj, include: str = ""
) -> bytes:
    """A list; ``metadata`` is the list's own (resourceVersion, continue, remainingItemCount)."""
    if flavor is Flavor.TABLE:
        version = int(metadata["resourceVersion"])
        table = _table(kind, entries, now, include, version, True)
        table["metadata"] = {**(table.get("metadata") or {}), **metadata}
        return orjson.dumps(table)
    if flavor is Flavor.OBJECT:
        items = render_items(kind, entries)
        list_kind, api_version = kind.list_kind, kind.api_version
    else:
        items = b",".join(orjson.dumps(_metadata(entry)) for entry in entries)
        list_kind, api_version = "PartialObjectMetadataList", "meta.k8s.io/v1"
    head = orjson.dumps({"kind": list_kind, "apiVersion": api_version, "metadata": metadata})
    return head[:-1] + b',"items":[' + items + b"]}"


def render_items(kind: Kind, entries: Sequence[Entry]) -> bytes:
    """The items of a list. Those of a built-in kind do not say their type again, as in Kubernetes."""
    if kind.is_custom:
        return b",".join(entry.raw_as(kind.api_version) for entry in entries)
    head = f'{{"apiVersion":"{kind.api_version}","kind":"{kind.kind}",'.encode()
    size = len(head)
    return b",".join(
        b"{" + entry.raw[size:] if entry.raw.startswith(head) else entry.raw_as(kind.api_version)
        for entry in entries
    )


def render_event(
    kind: Kind, event_type: str, entry: Entry, flavor: Flavor, now: Clock, include: str = ""
) -> bytes:
    """One line of a watch, with its newline."""
    if flavor is Flavor.TABLE:
        body = orjson.dumps(_table(kind, [entry], now, include, entry.version, True))
    else:
        body = render_object(kind, entry, flavor, now)
    return b'{"type":"' + event_type.encode() + b'","object":' + body + b"}\n"


def render_bookmark(kind: Kind, version: int, flavor: Flavor, ends_initial: bool) -> bytes:
    """A bookmark line: nothing but a version."""
    metadata: Obj = {"resourceVersion": str(version)}
    if ends_initial:
        metadata["annotations"] = {"k8s.io/initial-events-end": "true"}
    obj: Obj = {"kind": kind.kind, "apiVersion": kind.api_version, "metadata": metadata}
    if flavor is Flavor.TABLE:
        obj = {
            "kind": "Table",
            "apiVersion": "meta.k8s.io/v1",
            "metadata": metadata,
            "columnDefinitions": [],
            "rows": [],
        }
    elif flavor is not Flavor.OBJECT:
        obj.update(kind="PartialObjectMetadata", apiVersion="meta.k8s.io/v1")
    return b'{"type":"BOOKMARK","object":' + orjson.dumps(obj) + b"}\n"


def _metadata(entry: Entry) -> Obj:
    return {
        "kind": "PartialObjectMetadata",
        "apiVersion": "meta.k8s.io/v1",
        "metadata": entry.load()["metadata"],
    }


def _table(
    kind: Kind, entries: Sequence[Entry], now: Clock, include: str, version: int, with_headers: bool
) -> Obj:
    from standalone.apiserver import tables

    objs = [entry.load() for entry in entries]
    for obj in objs:
        obj["apiVersion"] = kind.api_version
    return tables.render_table(
        kind,
        objs,
        now=now(),
        include_object=_include(include),
        resource_version=str(version),
        with_headers=with_headers,
    )


def _include(text: str) -> Literal["Metadata", "None", "Object"]:
    match text:
        case "Object":
            return "Object"
        case "None":
            return "None"
    return "Metadata"
