"""CustomResourceDefinitions: their status, the kinds they add to the registry, their end.

``set_status`` is part of the write of a definition (a cluster's controller would do it a moment later);
``Definitions.on_events`` registers kinds when the write is visible. The emptying of a deleted definition is
``collector_definitions``'s.

Invariant: a definition is served exactly while its stored condition Established is True.
"""

from __future__ import annotations

import orjson

from standalone.apiserver import errors, kinds_crd
from standalone.apiserver.handlers_context import Context
from standalone.apiserver.kinds import Kind
from standalone.apiserver.kinds_core import CORE, CRD_RESOURCE
from standalone.apiserver.kinds_registry import Registry
from standalone.apiserver.store import Store
from standalone.apiserver.store_entries import DELETED, Entry, Event, Obj
from wakeful.kit import logs

_log = logs.get("apiserver.definitions")


def set_status(context: Context, obj: Obj, old: Obj | None) -> None:
    """Compute the status of a definition that is being written."""
    spec = obj["spec"]
    names = spec["names"]
    status: Obj = dict((old or {}).get("status") or {})
    stored = list(status.get("storedVersions") or ())
    current = next(version["name"] for version in spec["versions"] if version.get("storage"))
    if current not in stored:
        stored.append(current)
    taken = _conflict(context, obj)
    conditions = [
        _condition("NamesAccepted", taken, "NoConflicts", "no conflicts found", "NamesConflict"),
        _condition(
            "Established",
            taken,
            "InitialNamesAccepted",
            "the initial names have been accepted",
            "NotAccepted",
        ),
    ]
    kept = {item["type"]: item for item in status.get("conditions") or ()}
    stamp = context.stamp()
    for item in conditions:
        before = kept.get(item["type"])
        same = before is not None and before["status"] == item["status"]
        item["lastTransitionTime"] = before["lastTransitionTime"] if same and before is not None else stamp
    ours = {item["type"] for item in conditions}
    conditions += [item for name, item in kept.items() if name not in ours]
    accepted = names if not taken else status.get("acceptedNames") or {"plural": "", "kind": ""}
    obj["status"] = {"conditions": conditions, "acceptedNames": accepted, "storedVersions": stored}


def warn(obj: Obj, warnings: list[str]) -> None:
    """Say what of a definition is stored and not acted upon."""
    for index, version in enumerate(obj["spec"]["versions"]):
        if b'"x-kubernetes-validations"' in orjson.dumps(version.get("schema")):
            place = f"spec.versions[{index}].schema.openAPIV3Schema"
            warnings.append(f"{place}: x-kubernetes-validations (CEL) are not evaluated by the embedded API")


def _condition(name: str, taken: str, reason: str, message: str, bad_reason: str) -> Obj:
    if taken:
        return {"type": name, "status": "False", "reason": bad_reason, "message": taken}
    return {"type": name, "status": "True", "reason": reason, "message": message}


def _conflict(context: Context, obj: Obj) -> str:
    """Why the names of a definition cannot be accepted, or empty."""
    group, own = obj["spec"]["group"], obj["metadata"]["name"]
    names = _all_names(obj["spec"]["names"])
    for kind in CORE:
        if kind.group == group and names & {kind.kind, kind.plural, kind.singular, *kind.short_names}:
            return f"group {group} belongs to the API server and has {kind.kind} already"
    for entry in context.store.bucket(CRD_RESOURCE).ordered():
        if entry.key[1] == own or not entry.key[1].endswith(f".{group}"):
            continue
        other = entry.load()
        if other["spec"]["group"] == group:
            both = names & _all_names((other.get("status") or {}).get("acceptedNames") or {})
            if both:
                return f'"{sorted(both)[0]}" is already in use by {entry.key[1]}'
    return ""


def _all_names(names: Obj) -> set[str]:
    found = {
        names.get("kind", ""),
        names.get("listKind", ""),
        names.get("plural", ""),
        names.get("singular", ""),
    }
    return (found | set(names.get("shortNames") or ())) - {""}


def is_established(obj: Obj) -> bool:
    conditions = (obj.get("status") or {}).get("conditions") or ()
    return any(item["type"] == "Established" and item["status"] == "True" for item in conditions)


def check_creatable(context: Context, kind: Kind) -> None:
    """Refuse new objects of a kind whose definition is being deleted."""
    if kind.is_custom:
        definition = context.store.latest(CRD_RESOURCE, ("", kind.resource))
        if definition is None or definition.is_deleting:
            text = "create not allowed while custom resource definition is terminating"
            raise errors.method_not_allowed(text)


class Definitions:
    """Keeps the registry equal to the visible definitions."""

    def __init__(self, store: Store, registry: Registry) -> None:
        self._registry = registry
        for entry in store.bucket(CRD_RESOURCE).ordered():
            self._register(entry)

    def on_events(self, events: list[Event]) -> None:
        """The store's listener."""
        for event in events:
            if event.entry.resource != CRD_RESOURCE:
                continue
            if event.type == DELETED:
                self._registry.drop_definition(event.entry.key[1])
            else:
                self._register(event.entry)

    def _register(self, entry: Entry) -> None:
        definition = entry.load()
        name = entry.key[1]
        if not is_established(definition):
            self._registry.set_definition(name, ())
            return
        try:
            self._registry.set_definition(name, kinds_crd.build_kinds(definition))
        except (KeyError, TypeError, StopIteration) as error:
            _log.error("definition unusable", name=name, error=repr(error))
