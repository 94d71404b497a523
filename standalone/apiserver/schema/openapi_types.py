"""Named schemas of OpenAPI documents: built-in types by reference, custom resources inline.

Called by ``openapi``. A ``Definitions`` collects every type that a document refers to, under the names Kubernetes
gives them (``io.k8s.api.core.v1.Pod``). v2 and v3 differ in where definitions live and in how a reference carries a
description beside it. Left out: conversion of custom schemas to what v2 can say beyond dropping what it cannot.

Invariant: every ``$ref`` in the document has its definition in ``schemas``.
"""

from __future__ import annotations

import re
from typing import Any

from standalone.apiserver.kinds import Kind
from standalone.apiserver.schema import core, descriptions, openapi_described
from standalone.apiserver.schema.node import Schema

_PREFIX = re.compile(
    r"^(?:Admissionregistration|Apiextensions|Apiregistration|Authentication|Core|Discovery|Events|Rbac|Storage)?V[12]"
)
_SCALARS: dict[str, Schema] = {
    "s": {"type": "string"},
    "S": {"type": "string", "format": "byte"},
    "i": {"type": "integer"},
    "b": {"type": "boolean"},
    "n": {"type": "number"},
    "o": {"type": "object"},
}
_NAMED_SCALARS: dict[str, tuple[str, Schema]] = {
    "t": ("io.k8s.apimachinery.pkg.apis.meta.v1.Time", {"type": "string", "format": "date-time"}),
    "x": (
        "io.k8s.apimachinery.pkg.util.intstr.IntOrString",
        {"oneOf": [{"type": "integer"}, {"type": "string"}], "format": "int-or-string"},
    ),
    "q": (
        "io.k8s.apimachinery.pkg.api.resource.Quantity",
        {"oneOf": [{"type": "string"}, {"type": "number"}]},
    ),
}
_NOT_IN_V2 = ("nullable", "anyOf", "oneOf", "not", "allOf")


class Definitions:
    """The named schemas of one document; ``version`` is 2 or 3."""

    def __init__(self, version: int) -> None:
        self.version = version
        self.schemas: dict[str, Schema] = {}

    def reference(self, name: str) -> Schema:
        """A reference to a definition of this document."""
        folder = "#/definitions/" if self.version == 2 else "#/components/schemas/"
        return {"$ref": folder + name}

    def of_kind(self, kind: Kind) -> str:
        """Define the kind and its list; the kind's name in ``schemas``."""
        type_name = core.type_of(kind.group, kind.version, kind.kind)
        if type_name is not None:
            name = self.of_type(type_name)
        else:
            name = _custom_name(kind)
            self.schemas[name] = self._custom(kind)
        identity = [{"group": kind.group, "kind": kind.kind, "version": kind.version}]
        self.schemas[name]["x-kubernetes-group-version-kind"] = identity
        self.schemas[f"{name}List"] = self._list(kind, name)
        return name

    def of_type(self, type_name: str) -> str:
        """Define a built-in type such as ``V1PodSpec`` and all it refers to; its name in ``schemas``."""
        facts = core.type_facts(type_name)
        name = f"{facts['in']}.{_PREFIX.sub('', type_name)}"
        if name in self.schemas:
            return name
        schema: Schema = {"type": "object"}
        self.schemas[name] = schema
        described, by_field = descriptions.of_type(type_name)
        if described:
            schema["description"] = described
        required = [field for field, code in facts["fields"].items() if code.endswith("!")]
        if required:
            schema["required"] = required
        schema["properties"] = {
            field: self._field(facts, field, code.rstrip("!"), by_field.get(field, ""))
            for field, code in facts["fields"].items()
        }
        if facts.get("atomic"):
            schema["x-kubernetes-map-type"] = "atomic"
        return name

    def _field(self, facts: dict[str, Any], field: str, code: str, description: str) -> Schema:
        schema = dict(self._coded(code))
        if "$ref" in schema and self.version == 3:
            schema = {"allOf": [schema]}
        if not description and code[0] == ">":
            description = descriptions.of_type(code[1:])[0]
        if description:
            schema["description"] = description
        schema.update(core.field_extensions(facts, field, code))
        return schema

    def _coded(self, code: str) -> Schema:
        if code[0] == "[":
            return {"type": "array", "items": self._coded(code[1:])}
        if code[0] == "{":
            return {"type": "object", "additionalProperties": self._coded(code[1:])}
        if code[0] == ">":
            is_known = code[1:] in core.type_names()
            return self.reference(self.of_type(code[1:])) if is_known else {"type": "object"}
        if code in _NAMED_SCALARS:
            name, schema = _NAMED_SCALARS[code]
            self.schemas[name] = schema if self.version == 3 else _for_v2(schema)
            return self.reference(name)
        return _SCALARS[code]

    def _custom(self, kind: Kind) -> Schema:
        given = kind.schema or {"type": "object", "x-kubernetes-preserve-unknown-fields": True}
        given = openapi_described.describe(given)
        schema: Schema = given if self.version == 3 else _for_v2(given)
        metadata = self.reference(self.of_type("V1ObjectMeta"))
        properties = dict(schema.get("properties") or {})
        by_field = descriptions.of_type("V1Pod")[1]
        for field in ("apiVersion", "kind"):
            properties[field] = {"type": "string", "description": by_field.get(field, "")}
        reference = metadata if self.version == 2 else {"allOf": [metadata]}
        properties["metadata"] = {**reference, "description": openapi_described.METADATA}
        schema["properties"] = properties
        return schema

    def _list(self, kind: Kind, name: str) -> Schema:
        return {
            "type": "object",
            "description": f"{kind.list_kind} is a list of {kind.kind}",
            "required": ["items"],
            "properties": {
                "apiVersion": {"type": "string"},
                "kind": {"type": "string"},
                "metadata": self.reference(self.of_type("V1ListMeta")),
                "items": {"type": "array", "items": self.reference(name)},
            },
            "x-kubernetes-group-version-kind": [
                {"group": kind.group, "kind": kind.list_kind, "version": kind.version}
            ],
        }


def _custom_name(kind: Kind) -> str:
    return ".".join([*reversed(kind.group.split(".")), kind.version, kind.kind])


def _for_v2(schema: Any) -> Any:
    """A copy without what OpenAPI v2 cannot say."""
    if isinstance(schema, list):
        return [_for_v2(item) for item in schema]
    if not isinstance(schema, dict):
        return schema
    kept = {key: value for key, value in schema.items() if key not in _NOT_IN_V2}
    if "properties" in kept:
        kept["properties"] = {name: _for_v2(sub) for name, sub in kept["properties"].items()}
    for key in ("items", "additionalProperties"):
        if key in kept:
            kept[key] = _for_v2(kept[key])
    if kept.get("x-kubernetes-int-or-string"):
        kept |= {"type": "string", "format": "int-or-string"}
    return kept
