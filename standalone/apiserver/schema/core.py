"""Schemas of the built-in kinds, made on demand from ``core_types.json`` (facts that hack/gen-core-schemas collects).

``core_schema`` serves validation, pruning and server-side apply of built-in kinds; ``expand`` gives a type for use
inside a CRD's YAML (hack/gen-crds); ``openapi`` reads the same facts with references. Fields of ``status`` are typed
but none is required, because Kubernetes itself does not check them. Left out: descriptions (the ``kubernetes``
package has them), semantic rules (``core_checks``), defaults (``core_defaults``).

Invariant: the returned schemas share sub-dictionaries and must not be changed; ``expand`` returns a private copy.
"""

from __future__ import annotations

import json
from functools import cache
from pathlib import Path
from typing import Any

from standalone.apiserver.schema.node import OBJECT_META_SCHEMA, Schema
from standalone.apiserver.schema.values import MAY_REPEAT

QUANTITY_PATTERN = r"^(\+|-)?(([0-9]+(\.[0-9]*)?)|(\.[0-9]+))(([KMGTPE]i)|[numkMGTPE]|([eE](\+|-)?(([0-9]+(\.[0-9]*)?)|(\.[0-9]+))))?$"
_SCALARS: dict[str, Schema] = {
    "s": {"type": "string"},
    "S": {"type": "string", "format": "byte"},
    "i": {"type": "integer"},
    "b": {"type": "boolean"},
    "n": {"type": "number"},
    "t": {"type": "string", "format": "date-time"},
    "x": {"x-kubernetes-int-or-string": True},
    "q": {"x-kubernetes-int-or-string": True, "format": "quantity", "pattern": QUANTITY_PATTERN},
    "o": {"x-kubernetes-preserve-unknown-fields": True},
}
_OPEN_OBJECT: Schema = {"type": "object", "x-kubernetes-preserve-unknown-fields": True}
_LISTS_THAT_MUST_BE = frozenset(
    (
        "containers",
        "verbs",
        "versions",
        "admissionReviewVersions",
        "rules",
        "names",
        "sources",
        "matchExpressions",
    )
)
"""Go takes an absent list for an empty one; only these are refused when absent."""


@cache
def _facts() -> dict[str, Any]:
    facts: dict[str, Any] = json.loads((Path(__file__).parent / "core_types.json").read_text())
    return facts


def type_names() -> list[str]:
    """The types known by name, such as ``V1PodSpec``."""
    return list(_facts()["types"])


def type_facts(name: str) -> dict[str, Any]:
    """The raw facts of one type: ``fields`` (name to code), ``lists``, ``merge``, ``atomic``, ``in``."""
    facts: dict[str, Any] = _facts()["types"][name]
    return facts


def type_of(group: str, version: str, kind: str) -> str | None:
    """The type of a built-in kind, such as ``V1Pod``; None when it is not built in."""
    named: str | None = _facts()["kinds"].get(f"{group}/{version}/{kind}")
    return named


@cache
def core_schema(group: str, version: str, kind: str) -> Schema | None:
    """The structural schema of a built-in kind, or None. Shared and cached: do not change it."""
    name = type_of(group, version, kind)
    return None if name is None else _schema_of(name, True)


def expand(type_name: str) -> Schema:
    """The schema of a type for inlining into a CRD: no references, private copy, valid as structural schema.

    ``type_name`` is the ``kubernetes`` package's, such as ``V1PodSpec``. ``KeyError`` when there is none.
    """
    if type_name not in _facts()["types"]:
        raise KeyError(f"{type_name}: not in core_types.json; add its kind to hack/gen-core-schemas")
    schema = json.loads(json.dumps(_schema_of(type_name, True)))
    _make_structural(schema)
    result: Schema = schema
    return result


@cache
def _schema_of(name: str, is_strict: bool) -> Schema:
    if name == "V1ObjectMeta":
        return OBJECT_META_SCHEMA
    if name not in _facts()["types"]:
        return _OPEN_OBJECT
    facts = type_facts(name)
    properties = {}
    required = []
    for field, coded in facts["fields"].items():
        code = coded.rstrip("!")
        properties[field] = _field(facts, field, code, is_strict and field != "status")
        if coded.endswith("!") and is_strict and (code[0] not in "[{" or field in _LISTS_THAT_MUST_BE):
            required.append(field)
    schema: Schema = {"type": "object", "properties": properties}
    if required:
        schema["required"] = required
    if facts.get("atomic"):
        schema["x-kubernetes-map-type"] = "atomic"
    return schema


def _field(facts: dict[str, Any], field: str, code: str, is_strict: bool) -> Schema:
    schema = dict(_coded(code, is_strict)) if code[0] != ">" else _coded(code, is_strict)
    more = field_extensions(facts, field, code)
    if more.get("x-kubernetes-list-type") in ("map", "set"):
        more[MAY_REPEAT] = True
    return {**schema, **more} if more else schema


def field_extensions(facts: dict[str, Any], field: str, code: str) -> Schema:
    """What a field of a type says besides its type: list type and keys, default, enum, patch strategy and key."""
    more: Schema = {}
    keys = facts.get("lists", {}).get(field)
    if keys == "set":
        more["x-kubernetes-list-type"] = "set"
    elif keys:
        more["x-kubernetes-list-type"] = "map"
        more["x-kubernetes-list-map-keys"] = keys
    elif code[0] == "[":
        more["x-kubernetes-list-type"] = "atomic"
    if field in facts.get("atomic_maps", ()):
        more["x-kubernetes-map-type"] = "atomic"
    if field in facts.get("defaults", {}):
        more["default"] = facts["defaults"][field]
    if field in facts.get("enums", {}):
        more["enum"] = facts["enums"][field]
    strategy, _, merge_key = facts.get("merge", {}).get(field, "").partition(":")
    if strategy:
        more["x-kubernetes-patch-strategy"] = strategy
    if merge_key:
        more["x-kubernetes-patch-merge-key"] = merge_key
    return more


def _coded(code: str, is_strict: bool) -> Schema:
    if code[0] == "[":
        return {"type": "array", "items": _coded(code[1:], is_strict)}
    if code[0] == "{":
        return {"type": "object", "additionalProperties": _coded(code[1:], is_strict)}
    if code[0] == ">":
        return _schema_of(code[1:], is_strict)
    return _SCALARS[code]


def _make_structural(schema: Any) -> None:
    """In place: what CRDs do not allow is taken out, and keyed lists get what CRDs ask of their keys."""
    if not isinstance(schema, dict):
        return
    schema.pop("x-kubernetes-patch-strategy", None)
    schema.pop("x-kubernetes-patch-merge-key", None)
    schema.pop(MAY_REPEAT, None)
    if schema.get("format") == "quantity":
        del schema["format"]
    if schema.get("x-kubernetes-int-or-string"):
        schema["anyOf"] = [{"type": "integer"}, {"type": "string"}]
    for sub in (schema.get("properties") or {}).values():
        _make_structural(sub)
    _make_structural(schema.get("additionalProperties"))
    _make_structural(schema.get("items"))
    for key in schema.get("x-kubernetes-list-map-keys") or ():
        item = schema["items"]
        if key not in (item.get("required") or ()) and "default" not in item["properties"][key]:
            item["properties"][key]["default"] = ""
