"""What cannot even be read as a built-in object: wrong JSON types, text that is no quantity, time or base64.

Kubernetes decodes built-in kinds (and the metadata of every object) into typed structures first, and answers 400 when
that fails; everything later may rely on types. Called by ``handlers_schema.read_fields``. Left out: the ranges of
integers below 64 bits.

Invariant: nothing is changed; null fits everywhere, as in Kubernetes' decoder.
"""

from __future__ import annotations

from typing import Any

from standalone.apiserver.schema import failure, structural
from standalone.apiserver.schema.failure import FieldError
from standalone.apiserver.schema.node import Node, Schema, compiled

MAX_ERRORS = 10
_DECODED_FORMATS = ("byte", "date-time")
_NOUNS = {
    "array": "a list",
    "object": "an object",
    "string": "text (put it in quotes)",
    "boolean": "true or false",
    "integer": "a whole number",
    "number": "a number",
    "int-or-string": "a whole number or text",
    "quantity": "a quantity",
}


def mistyped(schema: Schema, value: dict[str, Any], *, metadata_only: bool = False) -> list[str]:
    """Sentences about what does not fit, at most ``MAX_ERRORS``; empty when the object can be read."""
    found: list[str] = []
    node = compiled(schema)
    if metadata_only:
        if "metadata" in value:
            _walk(node.properties["metadata"], value["metadata"], "metadata", found)
    else:
        _walk(node, value, "", found)
    return found[:MAX_ERRORS]


def _walk(node: Node, value: Any, path: str, found: list[str]) -> None:
    if value is None or len(found) >= MAX_ERRORS:
        return
    if not structural.has_type(node, value):
        expected = _NOUNS.get(node.kind, node.kind)
        found.append(f"{path}: must be {expected}, not {_described(value)}")
        return
    if type(value) is dict:
        properties, additional = node.properties, node.additional
        for key, child in value.items():
            sub = properties.get(key) or additional
            if sub is not None:
                _walk(sub, child, f"{path}.{key}" if path else key, found)
    elif type(value) is list and node.items is not None:
        for number, child in enumerate(value):
            _walk(node.items, child, f"{path}[{number}]", found)
    elif node.kind == "quantity" or node.format in _DECODED_FORMATS:
        errors: list[FieldError] = []
        for check in node.checks:
            check(value, path, errors)
        if errors:
            found.append(f"{path}: {_FORMAT_RULES[node.format]}, not {failure.shown(value)}")


def _described(value: Any) -> str:
    name = failure.type_name(value)
    if name in ("object", "array"):
        return "an object" if name == "object" else "a list"
    return f"{failure.shown(value)} ({name})"


_FORMAT_RULES = {
    "quantity": "must be a quantity such as 500m or 1Gi",
    "byte": "must be base64 (in a Secret, plain text goes into stringData)",
    "date-time": "must be an RFC 3339 time such as 2026-01-31T12:00:00Z",
}
