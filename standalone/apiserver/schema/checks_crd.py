"""Is a schema structural: the rules a CustomResourceDefinition's ``openAPIV3Schema`` must keep.

Called when a CRD is created or updated. The rules are Kubernetes': a type at every level that is not int-or-string or
preserve-unknown, no ``$ref``, no ``additionalProperties`` beside ``properties``, list types with their keys, defaults
that fit, patterns that compile. Left out: CEL rules (accepted, not evaluated) and cost limits.

Invariant: a schema that passes is compiled by ``node`` without loss.
"""

from __future__ import annotations

import copy
import re
from typing import Any

from standalone.apiserver.schema import failure, structural
from standalone.apiserver.schema.failure import FieldError
from standalone.apiserver.schema.node import Schema, compiled_part
from standalone.apiserver.schema.values import translate_pattern

_TYPES = ("array", "boolean", "integer", "number", "object", "string")
_FORBIDDEN = {
    "$ref": "$ref is not supported",
    "definitions": "definitions is not supported",
    "dependencies": "dependencies is not supported",
    "patternProperties": "patternProperties is not supported",
    "additionalItems": "additionalItems is not supported",
    "deprecated": "deprecated is not supported",
    "discriminator": "discriminator is not supported",
    "readOnly": "readOnly is not supported",
    "writeOnly": "writeOnly is not supported",
    "xml": "xml is not supported",
}
_IN_JUNCTOR = ("type", "default", "additionalProperties", "nullable", "title", "description")
_JUNCTORS = ("allOf", "anyOf", "oneOf")
MAX_DEPTH = 100


def check_structural(schema: Any, path: str = "spec.validation.openAPIV3Schema") -> list[FieldError]:
    """What makes ``schema`` (a CRD version's root) unacceptable; empty when it is structural."""
    errors: list[FieldError] = []
    if not isinstance(schema, dict):
        return [failure.wrong_type(path, schema, "object")]
    if schema.get("type") != "object":
        errors.append(failure.invalid(f"{path}.type", schema.get("type", ""), "must be object at the root"))
    if schema.get("nullable"):
        errors.append(failure.forbidden(f"{path}.nullable", "nullable cannot be true at the root"))
    metadata = (schema.get("properties") or {}).get("metadata")
    if isinstance(metadata, dict) and set(metadata.get("properties") or ()) - {"name", "generateName"}:
        why = (
            "must not specify anything other than name and generateName, but metadata is implicitly specified"
        )
        errors.append(failure.forbidden(f"{path}.properties[metadata]", why))
    _check(schema, path, errors, 0, is_root=True)
    return errors


def _check(schema: Any, path: str, errors: list[FieldError], depth: int, *, is_root: bool = False) -> None:
    if not isinstance(schema, dict):
        errors.append(failure.wrong_type(path, schema, "object"))
        return
    if depth > MAX_DEPTH:
        errors.append(failure.forbidden(path, f"schemas may be nested {MAX_DEPTH} deep at most"))
        return
    for key, why in _FORBIDDEN.items():
        if key in schema:
            errors.append(failure.forbidden(f"{path}.{key}", why))
    if schema.get("uniqueItems"):
        errors.append(
            failure.forbidden(
                f"{path}.uniqueItems",
                "uniqueItems cannot be set to true since the runtime complexity becomes quadratic",
            )
        )
    _check_type(schema, path, errors, is_root=is_root)
    _check_values(schema, path, errors)
    _check_list(schema, path, errors)
    _check_children(schema, path, errors, depth)
    for name in _JUNCTORS:
        for number, sub in enumerate(schema.get(name) or ()):
            _check_junctor(
                sub, f"{path}.{name}[{number}]", errors, depth, bool(schema.get("x-kubernetes-int-or-string"))
            )
    if "not" in schema:
        _check_junctor(schema["not"], f"{path}.not", errors, depth, False)


def _check_type(schema: Schema, path: str, errors: list[FieldError], *, is_root: bool) -> None:
    kind = schema.get("type")
    int_or_string = schema.get("x-kubernetes-int-or-string")
    preserve = schema.get("x-kubernetes-preserve-unknown-fields")
    if not kind and not int_or_string and not preserve and not is_root and "$ref" not in schema:
        errors.append(failure.required(f"{path}.type", "must not be empty for specified object fields"))
    if kind == "null":
        why = "type cannot be set to null, use nullable as an alternative"
        errors.append(failure.forbidden(f"{path}.type", why))
    elif kind and kind not in _TYPES:
        errors.append(failure.not_supported(f"{path}.type", kind, list(_TYPES)))
    if preserve is False:
        errors.append(
            failure.invalid(
                f"{path}.x-kubernetes-preserve-unknown-fields", False, "must be true or undefined"
            )
        )
    if schema.get("x-kubernetes-embedded-resource"):
        if kind != "object":
            errors.append(
                failure.invalid(
                    f"{path}.type", kind or "", "must be object if x-kubernetes-embedded-resource is true"
                )
            )
        if not schema.get("properties") and not preserve:
            why = "must not be empty if x-kubernetes-embedded-resource is true without x-kubernetes-preserve-unknown-fields"
            errors.append(failure.required(f"{path}.properties", why))


def _check_values(schema: Schema, path: str, errors: list[FieldError]) -> None:
    pattern = schema.get("pattern")
    if pattern is not None:
        try:
            re.compile(translate_pattern(str(pattern)))
        except (re.error, OverflowError, RecursionError) as error:
            errors.append(
                failure.invalid(
                    f"{path}.pattern", pattern, f"must be a valid regular expression, but isn't: {error}"
                )
            )
    enum = schema.get("enum")
    if enum is not None and not isinstance(enum, list):
        errors.append(failure.wrong_type(f"{path}.enum", enum, "array"))
    required = schema.get("required")
    if required is not None and not (
        isinstance(required, list) and all(isinstance(one, str) for one in required)
    ):
        errors.append(failure.invalid(f"{path}.required", required, "must be a list of field names"))
    if schema.get("default") is not None:
        node = compiled_part({key: value for key, value in schema.items() if key != "default"})
        found: list[FieldError] = []
        structural.validate_part(node, schema["default"], "", found)
        for one in found:
            inner = f".{one.path}" if one.path else ""
            errors.append(FieldError(f"{path}.default{inner}", one.reason, one.message))
        copied = copy.deepcopy(schema["default"])
        if structural.prune_part(node, copied):
            why = "must not have unknown fields"
            errors.append(failure.invalid(f"{path}.default", schema["default"], why))


def _check_list(schema: Schema, path: str, errors: list[FieldError]) -> None:
    list_type = schema.get("x-kubernetes-list-type")
    keys = schema.get("x-kubernetes-list-map-keys")
    if list_type is not None:
        if list_type not in ("atomic", "set", "map"):
            errors.append(
                failure.not_supported(f"{path}.x-kubernetes-list-type", list_type, ["atomic", "set", "map"])
            )
        if schema.get("type") != "array":
            errors.append(
                failure.invalid(
                    f"{path}.type",
                    schema.get("type", ""),
                    "must be array if x-kubernetes-list-type is specified",
                )
            )
    items: Any = schema.get("items")
    is_of_objects = isinstance(items, dict) and items.get("type") == "object"
    if list_type == "set" and is_of_objects and items.get("x-kubernetes-map-type") != "atomic":
        why = "must be atomic as item of a list with x-kubernetes-list-type=set"
        where = f"{path}.items.x-kubernetes-map-type"
        errors.append(failure.invalid(where, items.get("x-kubernetes-map-type"), why))
    if list_type == "map":
        if not isinstance(keys, list) or not keys:
            errors.append(
                failure.required(
                    f"{path}.x-kubernetes-list-map-keys", "must not be empty if x-kubernetes-list-type is map"
                )
            )
        else:
            _check_keys(schema, keys, path, errors)
    elif keys:
        errors.append(
            failure.forbidden(
                f"{path}.x-kubernetes-list-map-keys", "must be empty if x-kubernetes-list-type is not map"
            )
        )
    if schema.get("x-kubernetes-map-type") not in (None, "atomic", "granular"):
        errors.append(
            failure.not_supported(
                f"{path}.x-kubernetes-map-type", schema["x-kubernetes-map-type"], ["atomic", "granular"]
            )
        )


def _check_keys(schema: Schema, keys: list[Any], path: str, errors: list[FieldError]) -> None:
    items = schema.get("items") if isinstance(schema.get("items"), dict) else {}
    properties = (items or {}).get("properties") or {}
    required = (items or {}).get("required") or ()
    for number, key in enumerate(keys):
        where = f"{path}.x-kubernetes-list-map-keys[{number}]"
        sub = properties.get(key)
        if sub is None:
            where = f"{path}.x-kubernetes-list-map-keys"
            errors.append(failure.invalid(where, keys, "entries must all be names of item properties"))
        elif sub.get("type") in ("object", "array"):
            errors.append(
                failure.invalid(
                    where, key, "must be a scalar type if parent array's x-kubernetes-list-type is map"
                )
            )
        elif key not in required and "default" not in sub:
            errors.append(
                failure.required(
                    f"{path}.items.properties[{key}].default",
                    "this property is in x-kubernetes-list-map-keys, so it must have a default or be a required property",
                )
            )


def _check_children(schema: Schema, path: str, errors: list[FieldError], depth: int) -> None:
    properties, additional = schema.get("properties"), schema.get("additionalProperties")
    if properties and additional is not None and additional is not False:
        errors.append(
            failure.forbidden(
                f"{path}.additionalProperties", "additionalProperties and properties are mutual exclusive"
            )
        )
    if additional is False and properties:
        why = "additionalProperties and properties are mutual exclusive"
        errors.append(failure.forbidden(f"{path}.additionalProperties", why))
    elif additional is False:
        errors.append(
            failure.forbidden(f"{path}.additionalProperties", "additionalProperties cannot be set to false")
        )
    if properties is not None and not isinstance(properties, dict):
        errors.append(failure.wrong_type(f"{path}.properties", properties, "object"))
        properties = None
    for name, sub in (properties or {}).items():
        _check(sub, f"{path}.properties[{name}]", errors, depth + 1)
    if isinstance(additional, dict):
        _check(additional, f"{path}.additionalProperties", errors, depth + 1)
    items = schema.get("items")
    if isinstance(items, list):
        errors.append(failure.forbidden(f"{path}.items", "items must be a schema object and not an array"))
    elif items is not None:
        _check(items, f"{path}.items", errors, depth + 1)
    elif schema.get("type") == "array":
        errors.append(failure.required(f"{path}.items", "must be specified"))


def _check_junctor(schema: Any, path: str, errors: list[FieldError], depth: int, allow_type: bool) -> None:
    if not isinstance(schema, dict):
        errors.append(failure.wrong_type(path, schema, "object"))
        return
    for key in _IN_JUNCTOR:
        if key in schema and not (key == "type" and allow_type):
            errors.append(failure.forbidden(f"{path}.{key}", "must be empty to be structural"))
    _check_values({key: value for key, value in schema.items() if key != "default"}, path, errors)
    if depth > MAX_DEPTH:
        return
    for name, sub in (schema.get("properties") or {}).items():
        _check_junctor(sub, f"{path}.properties[{name}]", errors, depth + 1, False)
    if isinstance(schema.get("items"), dict):
        _check_junctor(schema["items"], f"{path}.items", errors, depth + 1, False)
    for name in _JUNCTORS:
        for number, sub in enumerate(schema.get(name) or ()):
            _check_junctor(sub, f"{path}.{name}[{number}]", errors, depth + 1, False)
