"""The fields of an object, and the fields in which two objects differ, as field sets by schema.

The rules are those of Kubernetes' structured merge: a list is atomic unless its schema says ``set`` or ``map``; a map is
granular unless it says atomic; what has no schema is granular in maps and atomic in lists. Called by ``managed``.
``owned_fields`` is what an applier claims (containers that the schema names are not claimed themselves);
``all_fields`` is what appears when a value is new (containers included).

Invariant: pure; bookkeeping fields (``IGNORED_METADATA``, apiVersion, kind) are never in a set.
"""

from __future__ import annotations

import json
from typing import Any

from standalone.apiserver.apply.fieldset import MEMBER, SELF, FieldSet, difference
from standalone.apiserver.schema.node import ANY, Node

Obj = dict[str, Any]
IGNORED_METADATA = frozenset(
    (
        "name",
        "namespace",
        "creationTimestamp",
        "selfLink",
        "uid",
        "clusterName",
        "generation",
        "managedFields",
        "resourceVersion",
        "deletionTimestamp",
        "deletionGracePeriodSeconds",
    )
)
IGNORED_ROOT = frozenset(("apiVersion", "kind"))


class KeyMissingError(ValueError):
    """An item of a keyed list has none of its keys; the message says where."""


def sub_node(node: Node, key: str) -> Node:
    """The schema position of one key of a map; ``ANY`` where the schema says nothing."""
    return node.properties.get(key) or node.additional or ANY


def is_granular_map(node: Node, value: Any) -> bool:
    return type(value) is dict and not node.is_map_atomic


def is_keyed_list(node: Node, value: Any) -> bool:
    return type(value) is list and node.list_type != "atomic"


def item_key(node: Node, item: Any, path: str = "") -> str:
    """The path element of an item of a set or keyed list: ``v:"x"`` or ``k:{"name":"a"}``."""
    if node.list_type == "set":
        return "v:" + json.dumps(item, separators=(",", ":"), ensure_ascii=False)
    if type(item) is not dict:
        raise KeyMissingError(f"{path}: items of this list must be objects")
    if len(node.item_keys) == 1:
        name, default = node.item_keys[0]
        value = item.get(name, default)
        if (
            type(value) is str
            and value.isascii()
            and value.isprintable()
            and '"' not in value
            and "\\" not in value
        ):
            return f'k:{{"{name}":"{value}"}}'
    found = {}
    for name, default in sorted(node.item_keys):
        value = item.get(name, default)
        if value is not None:
            found[name] = value
    if not found:
        named = ", ".join(name for name, _ in node.item_keys)
        raise KeyMissingError(
            f"{path}: associative list with keys has an element that omits all key fields {named!r}: give one"
        )
    return "k:" + json.dumps(found, separators=(",", ":"), ensure_ascii=False)


def owned_fields(node: Node, obj: Obj) -> FieldSet:
    """What an applier of ``obj`` owns. ``KeyMissingError`` when a keyed list cannot be read."""
    return _root(node, obj, True)


def all_fields(node: Node, obj: Obj) -> FieldSet:
    """Every field of ``obj``, containers included: what a creator owns."""
    return _root(node, obj, False)


def _root(node: Node, obj: Obj, is_claim: bool) -> FieldSet:
    found: FieldSet = {}
    for key, value in obj.items():
        if key in IGNORED_ROOT:
            continue
        if key == "metadata":
            kept = {name: one for name, one in value.items() if name not in IGNORED_METADATA}
            fields = _map_fields(sub_node(node, key), kept, is_claim, "metadata")
            if fields:
                found["f:metadata"] = fields
            continue
        fields_of_value = _fields(sub_node(node, key), value, is_claim, key in node.properties, key)
        if fields_of_value is not None:
            found["f:" + key] = fields_of_value
    return found


def _map_fields(node: Node, value: Obj, is_claim: bool, path: str) -> FieldSet:
    found: FieldSet = {}
    properties = node.properties
    for key, child in value.items():
        kind = type(child)
        if kind is dict or kind is list:
            fields = _fields(sub_node(node, key), child, is_claim, key in properties, f"{path}.{key}")
            if fields is not None:
                found["f:" + key] = fields
        else:
            found["f:" + key] = MEMBER
    return found


def _fields(node: Node, value: Any, is_claim: bool, is_named: bool, path: str) -> FieldSet | None:
    """The node of one value; None when nothing of it is a member (a named, empty, keyed list that is claimed)."""
    if type(value) is dict and not node.is_map_atomic:
        kids = _map_fields(node, value, is_claim, path)
        if not kids:
            return MEMBER if not value or not (is_claim and is_named) else None
    elif type(value) is list and node.list_type != "atomic":
        kids = _list_fields(node, value, is_claim, path)
        if not kids:
            return None if is_claim and is_named else MEMBER
    else:
        return MEMBER
    return kids if is_claim and is_named else {SELF: MEMBER, **kids}


def _list_fields(node: Node, items: list[Any], is_claim: bool, path: str) -> FieldSet:
    found: FieldSet = {}
    for item in items:
        kids = (
            _map_fields(node.items or ANY, item, is_claim, path)
            if type(item) is dict and not (node.items or ANY).is_map_atomic
            else MEMBER
        )
        found[item_key(node, item, path)] = {SELF: MEMBER, **kids} if kids else MEMBER
    return found


def changes(node: Node, old: Obj, new: Obj) -> tuple[FieldSet, FieldSet]:
    """``(changed, removed)``: the fields that ``new`` added or modified, and those it no longer has."""
    changed: FieldSet = {}
    removed: FieldSet = {}
    for key in (*new, *(one for one in old if one not in new)):
        if key in IGNORED_ROOT:
            continue
        before, after = old.get(key), new.get(key)
        if before is after:
            continue
        if key == "metadata":
            before = {k: v for k, v in (before or {}).items() if k not in IGNORED_METADATA}
            after = {k: v for k, v in (after or {}).items() if k not in IGNORED_METADATA}
            pair = _map_changes(sub_node(node, key), before, after, "metadata")
        else:
            pair = _value_changes(sub_node(node, key), before, after, key in old, key in new, key)
        _put(changed, removed, "f:" + key, pair)
    return changed, removed


_Pair = tuple[FieldSet | None, FieldSet | None]


def _put(changed: FieldSet, removed: FieldSet, key: str, pair: _Pair) -> None:
    """Store what was found at one key. In a pair None is nothing and ``MEMBER`` the path itself."""
    if pair[0] is not None and (pair[0] or pair[0] is MEMBER):
        changed[key] = pair[0]
    if pair[1] is not None and (pair[1] or pair[1] is MEMBER):
        removed[key] = pair[1]


def _map_changes(node: Node, old: Obj, new: Obj, path: str) -> _Pair:
    changed: FieldSet = {}
    removed: FieldSet = {}
    for key, after in new.items():
        has_old = key in old
        before = old[key] if has_old else None
        kind = type(after)
        if has_old and kind is type(before):
            if before == after:  # one comparison in C spares the walk; true for 1 deep inside is not noticed
                continue
            if kind is not dict and kind is not list:
                changed["f:" + key] = MEMBER
                continue
        pair = _value_changes(sub_node(node, key), before, after, has_old, True, f"{path}.{key}")
        _put(changed, removed, "f:" + key, pair)
    for key, before in old.items():
        if key not in new:
            fields = _fields(sub_node(node, key), before, False, False, f"{path}.{key}")
            removed["f:" + key] = MEMBER if fields is None else fields
    return changed, removed


def _value_changes(node: Node, old: Any, new: Any, has_old: bool, has_new: bool, path: str) -> _Pair:
    if not has_old:
        return _fields(node, new, False, False, path), None
    if not has_new:
        return None, _fields(node, old, False, False, path)
    if is_granular_map(node, old) and is_granular_map(node, new):
        return _map_changes(node, old, new, path)
    if is_keyed_list(node, old) and is_keyed_list(node, new):
        return _list_changes(node, old, new, path)
    if type(old) is type(new) and old == new:
        return None, None
    before = _fields(node, old, False, False, path) or MEMBER
    after = _fields(node, new, False, False, path) or MEMBER
    gone = difference({"x": before}, {"x": after}).get("x")
    return after, gone


def _list_changes(node: Node, old: list[Any], new: list[Any], path: str) -> _Pair:
    changed: FieldSet = {}
    removed: FieldSet = {}
    before = {item_key(node, item, path): item for item in old}
    after = {item_key(node, item, path): item for item in new}
    items = node.items or ANY
    for key, item in after.items():
        if key not in before:
            changed[key] = _fields(items, item, False, False, path) or MEMBER
        elif before[key] != item:
            _put(changed, removed, key, _value_changes(items, before[key], item, True, True, path))
    for key, item in before.items():
        if key not in after:
            removed[key] = _fields(items, item, False, False, path) or MEMBER
    return changed, removed
