"""Validate, default and prune whole objects by a structural OpenAPI v3 schema, as the API server does.

Called by the write path for custom resources and (with ``core.core_schema``) for built-in kinds. Order in a write:
``prune``, ``apply_defaults``, ``validate``. ``apiVersion``, ``kind`` and ``metadata`` of the object are always known.
Left out: ``x-kubernetes-validations`` (CEL rules are stored and shown, not evaluated); ratcheting.

Invariant: ``prune`` and ``apply_defaults`` are idempotent; ``validate`` never changes anything and is bounded
(``MAX_ERRORS``).
"""

from __future__ import annotations

import copy
from typing import Any

from standalone.apiserver.schema import failure, quantities
from standalone.apiserver.schema.failure import FieldError
from standalone.apiserver.schema.node import Node, Schema, compiled

MAX_ERRORS = 100

__all__ = ["MAX_ERRORS", "FieldError", "apply_defaults", "prune", "validate"]


def validate(schema: Schema, value: Any, path: str = "") -> list[FieldError]:
    """What is wrong with an object, in Kubernetes' words; empty when it is valid."""
    errors: list[FieldError] = []
    _validate(compiled(schema), value, path, errors)
    return errors[:MAX_ERRORS]


def validate_part(node: Node, value: Any, path: str, errors: list[FieldError]) -> None:
    """Append what is wrong with a value at one compiled position (a CRD's default, an applied fragment)."""
    _validate(node, value, path, errors)


def apply_defaults(schema: Schema, value: Any) -> None:
    """Fill in defaults and drop nulls where the schema allows none, in place."""
    _default(compiled(schema), value)


def prune(schema: Schema, value: Any) -> list[str]:
    """Remove what the schema does not know, in place; the paths, as strict field validation names them."""
    removed: list[str] = []
    _prune(compiled(schema), value, "", removed)
    return removed


def prune_part(node: Node, value: Any) -> list[str]:
    """``prune`` of a value at one compiled position."""
    removed: list[str] = []
    _prune(node, value, "", removed)
    return removed


def _prune(node: Node, value: Any, path: str, removed: list[str]) -> None:
    if type(value) is dict:
        properties, additional = node.properties, node.additional
        if not properties and additional is None and (node.open or node.kind != "object"):
            return  # anything goes, or the type is wrong, which validation says better
        unknown = None
        for key, child in value.items():
            sub = properties.get(key) or additional
            if sub is None:
                if not node.open:
                    unknown = [*(unknown or ()), key]
            elif type(child) is dict or type(child) is list:
                _prune(sub, child, f"{path}.{key}" if path else key, removed)
        if unknown:
            for key in unknown:
                del value[key]
                removed.append(f"{path}.{key}" if path else key)
    elif type(value) is list and node.items is not None:
        for number, child in enumerate(value):
            if type(child) is dict or type(child) is list:
                _prune(node.items, child, f"{path}[{number}]", removed)


def _default(node: Node, value: Any) -> None:
    if type(value) is dict:
        for key, default in node.defaults:
            if value.get(key) is None and not (key in value and node.properties[key].nullable):
                value[key] = copy.deepcopy(default) if type(default) in (dict, list) else default
        properties, additional = node.properties, node.additional
        nulls = None
        for key, child in value.items():
            kind = type(child)
            if kind is dict or kind is list:
                sub = properties.get(key) or additional
                if sub is not None:
                    _default(sub, child)
            elif child is None:
                sub = properties.get(key) or additional
                if sub is not None and not sub.nullable:
                    nulls = [*(nulls or ()), key]
        if node.has_quantities:
            _canonicalise(node, value)
        for key in nulls or ():
            if additional is not None and key not in properties and additional.has_default:
                value[key] = copy.deepcopy(additional.default)
            else:
                del value[key]
    elif type(value) is list and node.items is not None:
        items = node.items
        for number, child in enumerate(value):
            if child is None and items.has_default and not items.nullable:
                value[number] = copy.deepcopy(items.default)
            else:
                _default(items, value[number])


def _canonicalise(node: Node, value: dict[str, Any]) -> None:
    for key, child in value.items():
        sub = node.properties.get(key) or node.additional
        if sub is not None and sub.kind == "quantity" and type(child) in (str, int, float):
            value[key] = quantities.canonical(child)


_PYTHON_TYPES: dict[str, tuple[type, ...]] = {
    "string": (str,),
    "boolean": (bool,),
    "object": (dict,),
    "array": (list,),
    "number": (int, float),
    "integer": (int,),
}


def _validate(node: Node, value: Any, path: str, errors: list[FieldError]) -> None:
    if len(errors) >= MAX_ERRORS or not _has_type(node, value, path, errors):
        return
    if value is None:
        return
    for check in node.checks:
        check(value, path, errors)
    if type(value) is dict:
        _validate_object(node, value, path, errors)
    elif type(value) is list and node.items is not None:
        for number, child in enumerate(value):
            _validate(node.items, child, f"{path}[{number}]", errors)
    for name, parts in node.junctors:
        _validate_junctor(name, parts, value, path, errors)


def _validate_object(node: Node, value: dict[str, Any], path: str, errors: list[FieldError]) -> None:
    for key in node.required:
        if key not in value:
            errors.append(failure.required(f"{path}.{key}" if path else key))
    properties, additional = node.properties, node.additional
    for key, child in value.items():
        sub = properties.get(key) or additional
        if sub is not None:
            _validate(sub, child, f"{path}.{key}" if path else key, errors)


def has_type(node: Node, value: Any) -> bool:
    """Whether a value has the JSON type that its position asks for."""
    kind = node.kind
    if kind == "any":
        return True
    found = type(value)
    expected = _PYTHON_TYPES.get(kind)
    if expected is not None and found in expected:
        return True
    if (value is None and node.nullable) or kind.endswith("?"):
        return True
    if kind == "integer":
        return found is float and bool(value.is_integer()) and abs(value) < 2**63
    return (kind == "int-or-string" and found in (int, str)) or (
        kind == "quantity" and found in (int, str, float)
    )


def _has_type(node: Node, value: Any, path: str, errors: list[FieldError]) -> bool:
    if has_type(node, value):
        return True
    expected = "integer,string" if node.kind in ("int-or-string", "quantity") else node.kind
    errors.append(failure.wrong_type(path, value, expected))
    return False


def _validate_junctor(
    name: str, parts: tuple[Node, ...], value: Any, path: str, errors: list[FieldError]
) -> None:
    tried: list[list[FieldError]] = []
    for part in parts:
        found: list[FieldError] = []
        _validate(part, value, path, found)
        tried.append(found)
    passed = sum(1 for found in tried if not found)
    nearest = min(tried, key=len, default=[])
    detail = ""
    if name == "allOf" and passed < len(parts):
        detail = "must validate all the schemas (allOf)"
    elif name == "anyOf" and passed == 0:
        detail = "must validate at least one schema (anyOf)"
    elif name == "oneOf" and passed != 1:
        count = f"Found {passed} valid alternatives" if passed else "Found none valid"
        detail = f"must validate one and only one schema (oneOf). {count}"
    elif name == "not" and passed:
        detail = "must not validate the schema (not)"
    if not detail:
        return
    text = f'Invalid value: "": "{path}" {detail}'  # Kubernetes names no field of these
    errors.append(FieldError("<nil>", failure.INVALID, text))
    if name == "allOf":
        errors += [error for found in tried for error in found]
    elif not passed:
        errors += nearest
