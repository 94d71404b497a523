"""One complaint about one field, with Kubernetes' reason and words.

Made by ``structural``, ``values``, ``checks_crd`` and ``core_checks``; the HTTP edge turns a list of them into a 422
``Status``. Invariant: ``message`` has Kubernetes' wording without the path, which is in ``path``.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import Any

REQUIRED = "FieldValueRequired"
INVALID = "FieldValueInvalid"
NOT_SUPPORTED = "FieldValueNotSupported"
DUPLICATE = "FieldValueDuplicate"
TYPE_INVALID = "FieldValueTypeInvalid"
TOO_LONG = "FieldValueTooLong"
TOO_MANY = "FieldValueTooMany"
FORBIDDEN = "FieldValueForbidden"
NOT_FOUND = "FieldValueNotFound"

SHOWN_CHARS = 300
"""How much of a wrong value a message shows."""


@dataclass(frozen=True, slots=True)
class FieldError:
    """``path`` such as ``spec.replicas``, ``reason`` such as ``FieldValueInvalid``, Kubernetes' message."""

    path: str
    reason: str
    message: str


def invalid(path: str, value: Any, detail: str) -> FieldError:
    """``Invalid value: VALUE: DETAIL``."""
    return FieldError(path, INVALID, f"Invalid value: {shown(value)}: {detail}")


def required(path: str, detail: str = "") -> FieldError:
    """``Required value`` and, where given, why."""
    return FieldError(path, REQUIRED, f"Required value: {detail}" if detail else "Required value")


def forbidden(path: str, detail: str) -> FieldError:
    return FieldError(path, FORBIDDEN, f"Forbidden: {detail}")


def not_supported(path: str, value: Any, allowed: list[Any]) -> FieldError:
    listed = ", ".join(shown(one) for one in allowed)
    return FieldError(path, NOT_SUPPORTED, f"Unsupported value: {shown(value)}: supported values: {listed}")


def too_long(path: str, limit_bytes: int) -> FieldError:
    return FieldError(path, TOO_LONG, f"Too long: may not be more than {limit_bytes} bytes")


def duplicate(path: str, value: Any) -> FieldError:
    return FieldError(path, DUPLICATE, f"Duplicate value: {shown(value)}")


def wrong_type(path: str, value: Any, expected: str) -> FieldError:
    """The value's JSON type stands for the value, as the API server prints it."""
    found = type_name(value)
    where = f"{path} in body" if path else "body"
    detail = f'{where} must be of type {expected}: "{found}"'
    return FieldError(path, TYPE_INVALID, f'Invalid value: "{found}": {detail}')


def shown(value: Any) -> str:
    """A value as messages print it: JSON, cut when long."""
    text = json.dumps(value, ensure_ascii=False, separators=(",", ":"))
    return text if len(text) <= SHOWN_CHARS else text[:SHOWN_CHARS] + "..."


def type_name(value: Any) -> str:
    """The JSON type of a value."""
    for kind, name in _TYPES:
        if isinstance(value, kind):
            return name
    return "null"


_TYPES: tuple[tuple[type, str], ...] = (
    (bool, "boolean"),
    (int, "integer"),
    (float, "number"),
    (str, "string"),
    (dict, "object"),
    (list, "array"),
)
