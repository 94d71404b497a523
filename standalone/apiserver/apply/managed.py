"""Field managers: server-side apply with conflicts, and the ownership that every other write changes.

Called by the write path: ``server_side_apply`` for PATCH with apply, ``track_write`` for create, update and the other
patches. The semantics are Kubernetes' structured merge: an applier owns what it lists; a field that it stops listing
and that nobody else owns is removed; changing another manager's field is a conflict unless forced; an update takes
over what it changes. Left out: schemas that change list types between versions; conversion between versions.

Invariant: arguments are not changed; ``metadata.managedFields`` of the result is sorted as Kubernetes sorts it, and an
apply that changes nothing returns an object equal to the live one.
"""

from __future__ import annotations

import json
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from typing import Any

import orjson

from standalone.apiserver.apply import fieldset, merge, removal, walk
from standalone.apiserver.apply.entries import Entry, Managers, describe
from standalone.apiserver.apply.fieldset import FieldSet
from standalone.apiserver.errors import StatusError
from standalone.apiserver.schema.node import ANY, Node, Schema, compiled

Obj = dict[str, Any]
LAST_APPLIED = "kubectl.kubernetes.io/last-applied-configuration"
KUBECTL = "kubectl"


@dataclass(frozen=True, slots=True)
class Author:
    """Who writes: the field manager, the version it writes, when (RFC 3339), and the subresource it writes through."""

    manager: str
    api_version: str
    at: str
    subresource: str = ""


class ApplyError(StatusError):
    """An apply configuration that cannot be applied (HTTP 400); the message says what to change."""

    def __init__(self, message: str) -> None:
        super().__init__(400, "BadRequest", message)


class ApplyConflict(Exception):
    """Others own fields that the apply would change (HTTP 409).

    ``conflicts`` are (manager in Kubernetes' words, path) pairs, the text is Kubernetes' message.
    """

    def __init__(self, conflicts: Sequence[tuple[str, str]]) -> None:
        self.conflicts = list(conflicts)
        super().__init__(_conflict_message(self.conflicts))

    @property
    def causes(self) -> list[Obj]:
        """The ``details.causes`` of the 409 Status."""
        return [
            {"reason": "FieldManagerConflict", "message": f"conflict with {manager}", "field": path}
            for manager, path in self.conflicts
        ]


def _conflict_message(conflicts: list[tuple[str, str]]) -> str:
    if len(conflicts) == 1:
        manager, path = conflicts[0]
        return f"Apply failed with 1 conflict: conflict with {manager}: {path}"
    by_manager: dict[str, list[str]] = {}
    for manager, path in conflicts:
        by_manager.setdefault(manager, []).append(path)
    parts = [
        f"conflicts with {manager}:\n" + "\n".join(f"- {path}" for path in by_manager[manager])
        for manager in sorted(by_manager)
    ]
    return f"Apply failed with {len(conflicts)} conflicts: " + "\n".join(parts)


def server_side_apply(
    live: Obj | None, applied: Obj, author: Author, *, force: bool, schema: Schema | None
) -> Obj:
    """The object after ``author`` applied ``applied``, with its ``managedFields``; a private copy.

    With ``subresource="status"`` only the status of ``applied`` counts. ``ApplyConflict`` unless
    ``force``; ``ApplyError`` for a configuration that has managedFields or a keyed list without keys.
    """
    node = ANY if schema is None else compiled(schema)
    if (applied.get("metadata") or {}).get("managedFields"):
        raise ApplyError("metadata.managedFields must be nil: leave it out of what you apply")
    config = _relevant(applied, author.subresource)
    base = live if live is not None else _identity(applied)
    managers = Managers.of(base)
    me = Entry.key_of(author.manager, "Apply", author.api_version, author.subresource)
    try:
        mine = walk.owned_fields(node, config)
        merged = merge.merge(node, base, config)
        others = managers.union_except(me)
        last = managers.fields(me)
        if last:
            merged = removal.remove_abandoned(node, merged, last, fieldset.union(others, mine))
        changed, removed = walk.changes(node, base, merged)
    except (walk.KeyMissingError, merge.DuplicateItemError) as error:
        raise ApplyError(str(error)) from None
    conflicts = managers.conflicts(me, changed)
    if conflicts and not force and not _is_migration(author.manager, node, base, conflicts):
        raise ApplyConflict([(describe(e), p) for e, fields in conflicts for p in fieldset.paths(fields)])
    managers.take(me, changed, removed)
    is_same = not changed and not removed and mine == last
    managers.set(me, author.api_version, mine, author.at, keep_time=is_same)
    result: Obj = orjson.loads(orjson.dumps(merged))
    _store(result, managers.encode())
    _refresh_last_applied(author.manager, applied, result)
    return result


def _relevant(applied: Obj, subresource: str) -> Obj:
    if subresource != "status":
        return applied
    identity = _identity(applied)
    return {**identity, **({"status": applied["status"]} if "status" in applied else {})}


def _identity(obj: Obj) -> Obj:
    metadata = obj.get("metadata") or {}
    named = {key: metadata[key] for key in ("name", "namespace") if key in metadata}
    return {"apiVersion": obj.get("apiVersion"), "kind": obj.get("kind"), "metadata": named}


def _store(obj: Obj, entries: list[Obj]) -> None:
    metadata = obj.setdefault("metadata", {})
    if entries:
        metadata["managedFields"] = entries
    else:
        metadata.pop("managedFields", None)


def _is_migration(manager: str, node: Node, live: Obj, conflicts: list[tuple[Entry, FieldSet]]) -> bool:
    """kubectl may take over, without force, the fields that it set itself by client-side apply."""
    text = ((live.get("metadata") or {}).get("annotations") or {}).get(LAST_APPLIED)
    if manager != KUBECTL or not text:
        return False
    try:
        before = json.loads(text)
        allowed = walk.owned_fields(node, before)
    except (ValueError, AttributeError):
        return False
    return not any(fieldset.difference(fields, allowed) for _, fields in conflicts)


def _refresh_last_applied(manager: str, applied: Obj, result: Obj) -> None:
    """Keep client-side apply usable: where its annotation exists, kubectl's server-side apply writes it too."""
    annotations = (result.get("metadata") or {}).get("annotations") or {}
    if manager == KUBECTL and LAST_APPLIED in annotations:
        annotations[LAST_APPLIED] = json.dumps(applied, separators=(",", ":"), sort_keys=True) + "\n"


def track_write(
    old: Obj | None,
    new: Obj,
    author: Author,
    schema: Schema | None,
    zero: Obj | None = None,
    reset: Collection[str] = (),
) -> list[Obj]:
    """The ``managedFields`` after ``author`` wrote ``new`` over ``old`` (None: created it).

    ``zero`` is what a created object had before it was written; the fields at the root named by ``reset`` are not
    ``author``'s to write here.

    A ``managedFields`` list in ``new`` is taken over as Kubernetes does: ``[{}]`` clears ownership, an empty or
    missing or broken one means the old object's. Never fails on an object: a keyed list without keys counts as whole.
    """
    node = ANY if schema is None else compiled(schema)
    given = (new.get("metadata") or {}).get("managedFields")
    if given == [{}]:
        return []
    is_given = bool(given) and (old is None or given != (old.get("metadata") or {}).get("managedFields"))
    managers = Managers.of(new) if is_given and not author.subresource else None
    if managers is None or managers.is_empty:
        managers = Managers.of(old) if old is not None else Managers([])
    changed, removed = _changes(node, old if zero is None else zero, new)
    for name in reset:
        if f"f:{name}" in changed:
            changed = {key: fields for key, fields in changed.items() if key != f"f:{name}"}
    me = Entry.key_of(author.manager, "Update", author.api_version, author.subresource)
    if not changed and not removed:
        return managers.encode()
    managers.take(me, changed, removed)
    before = managers.fields(me)
    mine = fieldset.difference(fieldset.union(before, changed), removed)
    managers.set(me, author.api_version, mine, author.at, keep_time=mine == before)
    return managers.encode()


def _changes(node: Node, old: Obj | None, new: Obj) -> tuple[FieldSet, FieldSet]:
    try:
        return (walk.all_fields(node, new), {}) if old is None else walk.changes(node, old, new)
    except walk.KeyMissingError:
        return walk.changes(ANY, old or {}, new)
