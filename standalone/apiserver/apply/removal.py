"""Remove what an applier no longer lists and nobody else owns: the second half of server-side apply.

Called by ``managed`` with the applier's last set and the union of all sets now. A field that the schema names counts
as owned when anything below it is owned. Invariant: the value is not changed, only its copy along the removed paths.
"""

from __future__ import annotations

from typing import Any

from standalone.apiserver.apply import walk
from standalone.apiserver.apply.fieldset import SELF, FieldSet, children, is_member
from standalone.apiserver.schema.node import ANY, Node

_NOTHING: FieldSet = {}


def remove_abandoned(node: Node, value: dict[str, Any], last: FieldSet, owned: FieldSet) -> dict[str, Any]:
    """``value`` without the paths of ``last`` that are not in ``owned``."""
    kept: dict[str, Any] = _from_map(node, value, last, owned)
    if "metadata" in value and "metadata" not in kept:  # an object's identity is nobody's to remove
        below = children(last.get("f:metadata", _NOTHING))
        kept["metadata"] = _from_map(walk.sub_node(node, "metadata"), value["metadata"], below, _NOTHING)
    return kept


def _from(node: Node, value: Any, last: FieldSet, owned: FieldSet) -> Any:
    if walk.is_granular_map(node, value):
        return _from_map(node, value, last, owned)
    if walk.is_keyed_list(node, value):
        return _from_list(node, value, last, owned)
    return value


def _is_owned(fields: FieldSet | None, is_named: bool) -> bool:
    return fields is not None and (is_named or is_member(fields))


def _from_map(node: Node, value: dict[str, Any], last: FieldSet, owned: FieldSet) -> dict[str, Any]:
    kept = dict(value)
    for element, fields in last.items():
        name = element[2:]
        if element == SELF or name not in kept:
            continue
        is_named = name in node.properties
        now = owned.get(element)
        if (is_named or is_member(fields)) and not _is_owned(now, is_named):
            del kept[name]
            continue
        below = children(fields)
        if below:
            rest = _from(walk.sub_node(node, name), kept[name], below, now if now is not None else _NOTHING)
            if rest in ({}, []) and kept[name] and not (now is not None and is_member(now)):
                del kept[name]
            else:
                kept[name] = rest
    return kept


def _from_list(node: Node, items: list[Any], last: FieldSet, owned: FieldSet) -> list[Any]:
    kept = []
    for item in items:
        element = walk.item_key(node, item)
        fields = last.get(element)
        if fields is not None:
            now = owned.get(element)
            if is_member(fields) and not _is_owned(now, False):
                continue
            below = children(fields)
            if below:
                item = _from(node.items or ANY, item, below, now if now is not None else _NOTHING)
        kept.append(item)
    return kept
