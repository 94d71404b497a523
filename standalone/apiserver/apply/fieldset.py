"""Sets of fields in the form Kubernetes stores them (``fieldsV1``), and their algebra.

A set is a nested dictionary: ``{"f:spec": {"f:replicas": {}, "k:{\\"name\\":\\"a\\"}": {".": {}, "f:image": {}}}}``. An
empty dictionary is a member without children; ``"."`` says that a path with children is a member itself. Working on
the stored form spares decoding it on every write. Called by ``walk``, ``removal`` and ``managed``.

Invariant: no function changes its arguments; results may share parts with them; no node is empty unless a member.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

FieldSet = dict[str, Any]
SELF = "."
MEMBER: FieldSet = {}
"""A leaf that is a member; shared, never changed."""


class FieldSetError(ValueError):
    """A stored or sent ``fieldsV1`` that is not one."""


def is_member(node: FieldSet) -> bool:
    return not node or SELF in node


def children(node: FieldSet) -> FieldSet:
    """The node without its own membership."""
    return {key: child for key, child in node.items() if key != SELF} if SELF in node else node


def _node(has_self: bool, kids: FieldSet) -> FieldSet | None:
    if not kids:
        return MEMBER if has_self else None
    return {SELF: MEMBER, **kids} if has_self else kids


def union(a: FieldSet, b: FieldSet) -> FieldSet:
    """Paths in either."""
    if not a or not b:
        return a or b
    merged = dict(a)
    for key, theirs in b.items():
        ours = merged.get(key)
        if ours is None or key == SELF:
            merged[key] = theirs
        elif ours is not theirs:
            node = _node(is_member(ours) or is_member(theirs), union(children(ours), children(theirs)))
            merged[key] = MEMBER if node is None else node
    return merged


def difference(a: FieldSet, b: FieldSet) -> FieldSet:
    """Paths in ``a`` and not in ``b``; exactly these paths, not what is below them."""
    if not a or not b:
        return a
    kept: FieldSet = {}
    for key, ours in a.items():
        theirs = b.get(key)
        if theirs is None or key == SELF:
            kept[key] = ours
            continue
        has_self = is_member(ours) and not is_member(theirs)
        node = _node(has_self, difference(children(ours), children(theirs)))
        if node is not None:
            kept[key] = node
    return kept


def intersection(a: FieldSet, b: FieldSet) -> FieldSet:
    """Paths in both."""
    if len(a) > len(b):
        a, b = b, a
    shared: FieldSet = {}
    for key, ours in a.items():
        theirs = b.get(key)
        if theirs is None or key == SELF:
            continue
        node = _node(is_member(ours) and is_member(theirs), intersection(children(ours), children(theirs)))
        if node is not None:
            shared[key] = node
    return shared


def paths(fields: FieldSet, prefix: str = "") -> Iterator[str]:
    """The member paths as Kubernetes prints them: ``.spec.containers[name="a"].image``."""
    for key in sorted(fields):
        if key == SELF:
            continue
        path = prefix + path_element(key)
        if is_member(fields[key]):
            yield path
        yield from paths(children(fields[key]), path)


def path_element(key: str) -> str:
    """One step of a path in words."""
    kind, _, rest = key.partition(":")
    if kind == "f":
        return f".{rest}"
    if kind == "k":
        keys = json.loads(rest)
        return "[" + ",".join(f"{name}={json.dumps(value)}" for name, value in keys.items()) + "]"
    return f"[={rest}]" if kind == "v" else f"[{rest}]"


def check(fields: Any, depth: int = 0) -> None:
    """Raise ``FieldSetError`` when ``fields`` (from a client) is not a ``fieldsV1``."""
    if not isinstance(fields, dict):
        raise FieldSetError(f"fieldsV1 must hold objects only, found {type(fields).__name__}")
    if depth > 200:
        raise FieldSetError("fieldsV1 is nested too deeply")
    for key, child in fields.items():
        if key != SELF and key[:2] not in ("f:", "k:", "v:", "i:"):
            raise FieldSetError(f"fieldsV1 key {key!r} must start with f:, k:, v: or i:")
        if key[:2] in ("k:", "v:"):
            try:
                decoded = json.loads(key[2:])
            except ValueError:
                raise FieldSetError(f"fieldsV1 key {key!r} must hold JSON after its colon") from None
            if key[0] == "k" and not isinstance(decoded, dict):
                raise FieldSetError(f"fieldsV1 key {key!r} must hold a JSON object")
        check(child, depth + 1)
