"""Checks of single values (enum, pattern, bounds, lengths, formats, duplicates), compiled from a schema to closures.

Called by ``node`` when a schema is compiled; run by ``structural.validate``. The wording is Kubernetes' own (what
``kubectl apply`` prints). Patterns are Go's RE2 in Kubernetes; ``translate_pattern`` says what is rewritten for
Python, and what it cannot say is refused by ``checks_crd``.

Invariant: a check assumes that the value already has the schema's type and only appends to the list of errors.
"""

from __future__ import annotations

import contextlib
import math
import re
from collections.abc import Callable, Iterator
from typing import Any

from standalone.apiserver.schema import failure
from standalone.apiserver.schema.failure import FieldError
from standalone.apiserver.schema.formats import FORMATS

Check = Callable[[Any, str, list[FieldError]], None]
MAY_REPEAT = "x-wakeful-may-repeat"
"""On lists of built-in kinds: keys are for merging only, Kubernetes takes lists in which they repeat."""
_POSIX = {
    "[:alnum:]": "A-Za-z0-9",
    "[:alpha:]": "A-Za-z",
    "[:digit:]": "0-9",
    "[:lower:]": "a-z",
    "[:upper:]": "A-Z",
    "[:space:]": r"\s",
    "[:word:]": r"\w",
    "[:xdigit:]": "0-9A-Fa-f",
    "[:punct:]": r"!-/:-@\[-`{-~",
}


def translate_pattern(pattern: str) -> str:
    """Go regular expression syntax to Python's: ``$`` and ``\\z`` at the very end only, POSIX classes."""
    for name, members in _POSIX.items():
        pattern = pattern.replace(name, members)
    out, at, in_class = [], 0, False
    while at < len(pattern):
        char = pattern[at]
        if char == "\\" and at + 1 < len(pattern):
            out.append(r"\Z" if pattern[at + 1] == "z" else pattern[at : at + 2])
            at += 2
            continue
        if char == "[" and not in_class:
            in_class = True
            at += 1
            out.append("[")
            if pattern[at : at + 1] == "^":
                out.append("^")
                at += 1
            if pattern[at : at + 1] == "]":
                out.append(r"\]")
                at += 1
            continue
        if char == "]":
            in_class = False
        out.append(r"\Z" if char == "$" and not in_class else char)
        at += 1
    return "".join(out)


def value_checks(schema: dict[str, Any], kind: str) -> Iterator[Check]:
    """The checks that ``schema`` asks for on a value of JSON type ``kind`` (``any`` and ``int-or-string`` too)."""
    if isinstance(schema.get("enum"), list):
        yield _enum(schema["enum"])
    if kind in ("string", "any", "int-or-string", "quantity"):
        yield from _string_checks(schema)
    if kind in ("integer", "number", "any", "int-or-string"):
        yield from _number_checks(schema)
    if kind in ("array", "array?", "any"):
        yield from _list_checks(schema)
    if kind in ("object", "object?", "any"):
        yield from _object_checks(schema)


def _enum(allowed: list[Any]) -> Check:
    frozen = {(type(one), one) for one in allowed if isinstance(one, str | int | float | bool)}

    def check(value: Any, path: str, errors: list[FieldError]) -> None:
        is_scalar = isinstance(value, str | int | float | bool)
        if not ((type(value), value) in frozen if is_scalar else value in allowed):
            errors.append(failure.not_supported(path, value, allowed))

    return check


def _string_checks(schema: dict[str, Any]) -> Iterator[Check]:
    if isinstance(schema.get("pattern"), str):
        with contextlib.suppress(re.error):  # refused by checks_crd; once stored it constrains nothing
            yield _pattern(schema["pattern"], re.compile(translate_pattern(schema["pattern"])))
    if isinstance(schema.get("minLength"), int):
        yield _at_least_chars(schema["minLength"])
    if isinstance(schema.get("maxLength"), int):
        yield _at_most_chars(schema["maxLength"])
    test = FORMATS.get(str(schema.get("format")))
    if test is not None:
        yield _format(str(schema["format"]), test)


def _pattern(source: str, pattern: re.Pattern[str]) -> Check:
    def check(value: Any, path: str, errors: list[FieldError]) -> None:
        if isinstance(value, str) and pattern.search(value) is None:
            errors.append(failure.invalid(path, value, f"{path} in body should match '{source}'"))

    return check


def _at_least_chars(limit: int) -> Check:
    def check(value: Any, path: str, errors: list[FieldError]) -> None:
        if isinstance(value, str) and len(value) < limit:
            errors.append(
                failure.invalid(path, value, f"{path} in body should be at least {limit} chars long")
            )

    return check


def _at_most_chars(limit: int) -> Check:
    def check(value: Any, path: str, errors: list[FieldError]) -> None:
        if isinstance(value, str) and len(value) > limit:
            message = f"Too long: may not be more than {limit} bytes"
            errors.append(FieldError(path, failure.TOO_LONG, message))

    return check


def _format(name: str, test: Callable[[str], bool]) -> Check:
    def check(value: Any, path: str, errors: list[FieldError]) -> None:
        if isinstance(value, str) and not test(value):
            detail = f"{path} in body must be of type {name}: {failure.shown(value)}"
            text = f"Invalid value: {failure.shown(value)}: {detail}"
            errors.append(FieldError(path, failure.TYPE_INVALID, text))

    return check


def _number_checks(schema: dict[str, Any]) -> Iterator[Check]:
    if _is_number(schema.get("minimum")):
        yield _bound(schema["minimum"], bool(schema.get("exclusiveMinimum")), is_lower=True)
    if _is_number(schema.get("maximum")):
        yield _bound(schema["maximum"], bool(schema.get("exclusiveMaximum")), is_lower=False)
    if _is_number(schema.get("multipleOf")) and schema["multipleOf"] > 0:
        yield _multiple(schema["multipleOf"])


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)


def _bound(limit: float, exclusive: bool, *, is_lower: bool) -> Check:
    words = ("greater" if is_lower else "less") + (" than" if exclusive else " than or equal to")

    def check(value: Any, path: str, errors: list[FieldError]) -> None:
        if not _is_number(value):
            return
        outside = value < limit if is_lower else value > limit
        if outside or (exclusive and value == limit):
            errors.append(failure.invalid(path, value, f"{path} in body should be {words} {limit}"))

    return check


def _multiple(factor: float) -> Check:
    def check(value: Any, path: str, errors: list[FieldError]) -> None:
        if _is_number(value) and not math.isclose(value / factor, round(value / factor), abs_tol=1e-9):
            errors.append(failure.invalid(path, value, f"{path} in body should be a multiple of {factor}"))

    return check


def _list_checks(schema: dict[str, Any]) -> Iterator[Check]:
    if isinstance(schema.get("minItems"), int):
        yield _at_least(schema["minItems"], list, "items")
    if isinstance(schema.get("maxItems"), int):
        yield _at_most(schema["maxItems"], list)
    list_type = schema.get("x-kubernetes-list-type")
    if schema.get(MAY_REPEAT):
        return
    if list_type == "set":
        yield _unique(())
    elif list_type == "map":
        properties = (schema.get("items") or {}).get("properties") or {}
        keys = schema.get("x-kubernetes-list-map-keys") or ()
        yield _unique(tuple((key, (properties.get(key) or {}).get("default")) for key in keys))


def _object_checks(schema: dict[str, Any]) -> Iterator[Check]:
    if isinstance(schema.get("minProperties"), int):
        yield _at_least(schema["minProperties"], dict, "properties")
    if isinstance(schema.get("maxProperties"), int):
        yield _at_most(schema["maxProperties"], dict)


def _at_least(limit: int, kind: type, noun: str) -> Check:
    def check(value: Any, path: str, errors: list[FieldError]) -> None:
        if isinstance(value, kind) and len(value) < limit:  # type: ignore[arg-type]
            detail = f"{path} in body should have at least {limit} {noun}"
            errors.append(failure.invalid(path, len(value), detail))  # type: ignore[arg-type]

    return check


def _at_most(limit: int, kind: type) -> Check:
    def check(value: Any, path: str, errors: list[FieldError]) -> None:
        if isinstance(value, kind) and len(value) > limit:  # type: ignore[arg-type]
            message = f"Too many: {len(value)}: must have at most {limit} items"  # type: ignore[arg-type]
            errors.append(FieldError(path, failure.TOO_MANY, message))

    return check


def _unique(keys: tuple[tuple[str, Any], ...]) -> Check:
    def check(value: Any, path: str, errors: list[FieldError]) -> None:
        if not isinstance(value, list) or len(value) < 2:
            return
        seen: set[str] = set()
        for number, item in enumerate(value):
            named = _identity(item, keys)
            text = failure.shown(named)
            if text in seen:
                errors.append(failure.duplicate(f"{path}[{number}]", named))
            seen.add(text)

    return check


def _identity(item: Any, keys: tuple[tuple[str, Any], ...]) -> Any:
    if not keys or not isinstance(item, dict):
        return item
    named = {key: item.get(key, default) for key, default in keys}
    return {key: value for key, value in named.items() if value is not None}
