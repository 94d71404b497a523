"""Descriptions for the built-in parts of custom schemas: pods and containers that a definition repeats inline.

Called by ``openapi_types``. KServe's and Knative's definitions inline PodSpec and Container; ours leave the text out,
which would make them four times as large, and it is put back here for ``kubectl explain``. A part is taken for a
built-in type when it has the type's telling fields; below it the facts say which type a field has. A description that
the definition gives stays.

Invariant: the given schema is not changed; only ``description`` is ever added.
"""

from __future__ import annotations

from typing import Any

from standalone.apiserver.schema import core, descriptions

Schema = dict[str, Any]
_TELLING = (
    ("V1PodSpec", frozenset(("containers", "volumes", "serviceAccountName", "nodeSelector"))),
    ("V1Container", frozenset(("image", "env", "ports", "resources", "imagePullPolicy"))),
)
METADATA = (
    "Standard object's metadata. More info: "
    "https://git.k8s.io/community/contributors/devel/sig-architecture/api-conventions.md#metadata"
)


def describe(schema: Any, type_name: str = "") -> Any:
    """A copy of a custom schema with descriptions where a built-in type tells them."""
    if not isinstance(schema, dict):
        return schema
    described: Schema = dict(schema)
    properties = schema.get("properties")
    if isinstance(properties, dict):
        known = type_name or _recognised(properties)
        described["properties"] = _fields(properties, known)
        if type_name and not described.get("description"):
            described["description"] = descriptions.of_type(type_name)[0]
    for key in ("items", "additionalProperties"):
        if isinstance(schema.get(key), dict):
            described[key] = describe(schema[key], type_name)
    return described


def _recognised(properties: Schema) -> str:
    return next((name for name, telling in _TELLING if telling <= properties.keys()), "")


def _fields(properties: Schema, type_name: str) -> Schema:
    texts = descriptions.of_type(type_name)[1] if type_name else {}
    codes = core.type_facts(type_name)["fields"] if type_name else {}
    found = {}
    for name, schema in properties.items():
        child = describe(schema, _type_in(codes.get(name, "")))
        if isinstance(child, dict) and not child.get("description") and texts.get(name):
            child["description"] = texts[name]
        found[name] = child
    return found


def _type_in(code: str) -> str:
    """The built-in type that a field's code leads to, through lists and maps; empty for scalars and unknown ones."""
    _, arrow, name = code.rstrip("!").partition(">")
    return name if arrow and name in core.type_names() else ""
