"""A structural schema compiled once into a tree (or graph) of nodes that the hot walks read.

``compiled(schema)`` turns an OpenAPI v3 dict into a ``Node``; ``structural`` validates, defaults and prunes with it,
``apply`` takes list types and map keys from it. Dictionaries shared between schemas (the core kinds share
``PodSpec``) become shared nodes. Left out: what is wrong with a schema (``checks_crd``).

Invariant: a node is never changed after ``compiled`` returned it, and compiling never fails: what it does not
understand constrains nothing (``checks_crd`` refuses such a schema before it is served).
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from standalone.apiserver.schema.failure import FieldError
from standalone.apiserver.schema.values import MAY_REPEAT, value_checks

Schema = dict[str, Any]
Check = Callable[[Any, str, list[FieldError]], None]

CACHED_SCHEMAS = 512
"""How many root schemas stay compiled: more than all built-in and Knative and KServe versions together."""


class Node:
    """One position in a schema. ``kind`` is the JSON type, ``int-or-string``, ``quantity`` or ``any``."""

    __slots__ = (
        "additional",
        "checks",
        "default",
        "defaults",
        "embedded",
        "format",
        "has_default",
        "has_quantities",
        "is_map_atomic",
        "item_keys",
        "items",
        "junctors",
        "kind",
        "list_type",
        "nullable",
        "open",
        "properties",
        "required",
    )

    def __init__(self) -> None:
        self.kind = "any"
        self.format = ""
        self.nullable = False
        self.properties: dict[str, Node] = {}
        self.additional: Node | None = None
        self.items: Node | None = None
        self.required: tuple[str, ...] = ()
        self.open = False
        """Unknown keys are kept (``x-kubernetes-preserve-unknown-fields`` or ``additionalProperties: true``)."""
        self.embedded = False
        self.has_default = False
        self.default: Any = None
        self.defaults: tuple[tuple[str, Any], ...] = ()
        """Defaults of direct properties."""
        self.checks: tuple[Check, ...] = ()
        self.junctors: tuple[tuple[str, tuple[Node, ...]], ...] = ()
        self.list_type = "atomic"
        self.item_keys: tuple[tuple[str, Any], ...] = ()
        """``x-kubernetes-list-map-keys`` with each key's default (None without one)."""
        self.is_map_atomic = False
        self.has_quantities = False
        """Some direct child is a quantity, which is stored in its canonical form."""


ANY = Node()
ANY.open = True
ANY.nullable = True

_OBJECT_META: Schema = {
    "type": "object",
    "properties": {
        **{
            name: {"type": "string"}
            for name in ("name", "generateName", "namespace", "selfLink", "uid", "resourceVersion")
        },
        "generation": {"type": "integer"},
        "deletionGracePeriodSeconds": {"type": "integer"},
        "creationTimestamp": {"type": "string", "format": "date-time"},
        "deletionTimestamp": {"type": "string", "format": "date-time"},
        "labels": {"type": "object", "additionalProperties": {"type": "string"}},
        "annotations": {"type": "object", "additionalProperties": {"type": "string"}},
        "finalizers": {
            "type": "array",
            "items": {"type": "string"},
            "x-kubernetes-list-type": "set",
            MAY_REPEAT: True,
            "x-kubernetes-patch-strategy": "merge",
        },
        "ownerReferences": {
            "type": "array",
            "x-kubernetes-list-type": "map",
            "x-kubernetes-list-map-keys": ["uid"],
            MAY_REPEAT: True,
            "x-kubernetes-patch-strategy": "merge",
            "x-kubernetes-patch-merge-key": "uid",
            "items": {
                "type": "object",
                "x-kubernetes-map-type": "atomic",
                "required": ["apiVersion", "kind", "name", "uid"],
                "properties": {
                    **{name: {"type": "string"} for name in ("apiVersion", "kind", "name", "uid")},
                    "controller": {"type": "boolean"},
                    "blockOwnerDeletion": {"type": "boolean"},
                },
            },
        },
        "managedFields": {
            "type": "array",
            "x-kubernetes-list-type": "atomic",
            "items": {
                "type": "object",
                "properties": {
                    **{
                        name: {"type": "string"}
                        for name in ("manager", "operation", "apiVersion", "fieldsType", "subresource")
                    },
                    "time": {"type": "string", "format": "date-time"},
                    "fieldsV1": {"type": "object", "x-kubernetes-preserve-unknown-fields": True},
                },
            },
        },
    },
}
OBJECT_META_SCHEMA = _OBJECT_META


class _Compiler:
    def __init__(self) -> None:
        self._seen: dict[int, Node] = {}

    def node(self, schema: Any) -> Node:
        if not isinstance(schema, dict):
            return ANY
        known = self._seen.get(id(schema))
        if known is not None:
            return known
        node = Node()
        self._seen[id(schema)] = node
        node.kind = _kind(schema)
        node.format = str(schema.get("format") or "")
        node.nullable = bool(schema.get("nullable"))
        node.open = bool(schema.get("x-kubernetes-preserve-unknown-fields")) or node.kind == "any"
        node.embedded = bool(schema.get("x-kubernetes-embedded-resource"))
        if "default" in schema:
            node.has_default, node.default = True, schema["default"]
        node.checks = tuple(value_checks(schema, node.kind))
        node.junctors = tuple(self._junctors(schema))
        self._object(node, schema)
        self._list(node, schema)
        return node

    def _object(self, node: Node, schema: Schema) -> None:
        properties = schema.get("properties") or {}
        node.properties = {name: self.node(sub) for name, sub in properties.items()}
        if node.embedded:
            node.properties = {**node.properties, **self._type_meta()}
        always = ("apiVersion", "kind") if node.embedded else ()
        node.required = tuple(dict.fromkeys((*(schema.get("required") or ()), *always)))
        additional = schema.get("additionalProperties")
        if isinstance(additional, dict):
            node.additional = self.node(additional)
        elif additional:
            node.open = True
        node.defaults = tuple((name, sub.default) for name, sub in node.properties.items() if sub.has_default)
        node.is_map_atomic = schema.get("x-kubernetes-map-type") == "atomic"
        children = (*node.properties.values(), *([node.additional] if node.additional is not None else []))
        node.has_quantities = any(child.kind == "quantity" for child in children)

    def _type_meta(self) -> dict[str, Node]:
        text = self.node(_STRING)
        return {"apiVersion": text, "kind": text, "metadata": self.node(OBJECT_META_SCHEMA)}

    def _list(self, node: Node, schema: Schema) -> None:
        if "items" in schema:
            node.items = self.node(schema["items"])
        node.list_type = str(schema.get("x-kubernetes-list-type") or "atomic")
        if node.list_type == "map" and node.items is not None:
            properties = node.items.properties
            node.item_keys = tuple(
                (key, properties[key].default if key in properties else None)
                for key in schema.get("x-kubernetes-list-map-keys") or ()
            )

    def _junctors(self, schema: Schema) -> list[tuple[str, tuple[Node, ...]]]:
        found = [
            (name, tuple(self.node(sub) for sub in schema[name]))
            for name in ("allOf", "anyOf", "oneOf")
            if isinstance(schema.get(name), list)
        ]
        if isinstance(schema.get("not"), dict):
            found.append(("not", (self.node(schema["not"]),)))
        if schema.get("x-kubernetes-int-or-string"):
            found = [pair for pair in found if pair[0] != "anyOf"]
        return found

    def root(self, schema: Schema) -> Node:
        """The node of a whole object: ``apiVersion``, ``kind`` and ``metadata`` are there whatever it declares."""
        node = Node()
        inner = self.node(schema)
        for slot in Node.__slots__:
            setattr(node, slot, getattr(inner, slot))
        node.properties = {**inner.properties, **self._type_meta()}
        node.nullable = False
        return node


_STRING: Schema = {"type": "string"}


def _kind(schema: Schema) -> str:
    if schema.get("x-kubernetes-int-or-string"):
        return "quantity" if schema.get("format") == "quantity" else "int-or-string"
    kind = schema.get("type")
    if isinstance(kind, str) and kind:
        return kind
    if "properties" in schema or "additionalProperties" in schema or schema.get("required"):
        return "object?"
    return "array?" if "items" in schema else "any"


_roots: dict[int, tuple[Schema, Node]] = {}


def compiled(schema: Schema) -> Node:
    """The root node of an object's schema, compiled once per dictionary (by identity: do not change it after)."""
    entry = _roots.get(id(schema))
    if entry is not None:
        return entry[1]
    while len(_roots) >= CACHED_SCHEMAS:
        _roots.pop(next(iter(_roots)))
    node = _Compiler().root(schema)
    _roots[id(schema)] = (schema, node)
    return node


def compiled_part(schema: Schema) -> Node:
    """The node of a schema that is not a whole object; not cached."""
    return _Compiler().node(schema)
