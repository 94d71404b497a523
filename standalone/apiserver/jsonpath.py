"""The JSONPath that printer columns, scale paths and ``kubectl -o jsonpath`` use, compiled to a function.

Called by ``tables`` (a CRD's ``additionalPrinterColumns``) and by ``wakeful get``. Understood: ``.a.b``, ``['a']``,
``['a.b','c']``, ``[0]``, ``[-1]``, ``[1:3]``, ``[0:9:2]``, ``[*]``, ``.*``, ``..name``, filters
``[?(@.type=="Ready")]`` with ``== != < <= > >=`` and existence, ``\\.`` in names, and the braces around it all.
Left out: ``range``/``end`` templates, unions of indices.

Invariant: evaluating never fails; what is not there gives no results.
"""

from __future__ import annotations

import operator
import re
from collections.abc import Callable, Iterator
from functools import lru_cache
from typing import Any

Step = Callable[[Any], Iterator[Any]]
Path = Callable[[Any], list[Any]]

_NAME = re.compile(r"(?:\\.|[^.\[\]{}\\])+")
_BRACKET_NAMES = re.compile(
    r"""\s*(?:'(?:\\.|[^'\\])*'|"(?:\\.|[^"\\])*")\s*(?:,\s*(?:'(?:\\.|[^'\\])*'|"(?:\\.|[^"\\])*")\s*)*"""
)
_QUOTED = re.compile(r"""'((?:\\.|[^'\\])*)'|"((?:\\.|[^"\\])*)\"""")
_SLICE = re.compile(r"\s*(-?\d*)\s*:\s*(-?\d*)\s*(?::\s*(\d*)\s*)?")
_COMPARE = re.compile(r"\s*(@[^=!<>]*?)\s*(==|!=|<=|>=|<|>)\s*(.+?)\s*", re.DOTALL)
_OPERATORS: dict[str, Callable[[Any, Any], bool]] = {
    "==": operator.eq,
    "!=": operator.ne,
    "<": operator.lt,
    "<=": operator.le,
    ">": operator.gt,
    ">=": operator.ge,
}
MAX_CHARS = 4096


class JsonPathError(ValueError):
    """A path that cannot be read; the message says where."""


@lru_cache(maxsize=2048)
def compiled(text: str) -> Path:
    """The function from a JSON value to the list of values at the path. ``JsonPathError``."""
    if len(text) > MAX_CHARS:
        raise JsonPathError(f"a JSON path may have {MAX_CHARS} characters, this one has {len(text)}")
    source = text.strip()
    if source.startswith("{") and source.endswith("}"):
        source = source[1:-1].strip()
    steps = _parse(source.removeprefix("$"), text)

    def find(value: Any) -> list[Any]:
        found = [value]
        for step in steps:
            found = [result for one in found for result in step(one)]
            if not found:
                break
        return found

    return find


def first(text: str, value: Any) -> Any:
    """The first value at the path, or None."""
    found = compiled(text)(value)
    return found[0] if found else None


def _parse(source: str, whole: str) -> tuple[Step, ...]:
    steps: list[Step] = []
    at = 0
    while at < len(source):
        if source.startswith("..", at):
            steps.append(_descend)
            at += 2
            if at < len(source) and source[at] not in ".[":
                name, at = _name(source, at, whole)
                steps.append(_wildcard if name == "*" else _member(name))
        elif source[at] == ".":
            at += 1
            if at == len(source) or source[at] == "[":
                continue
            name, at = _name(source, at, whole)
            steps.append(_wildcard if name == "*" else _member(name))
        elif source[at] == "[":
            end = _closing(source, at, whole)
            steps.append(_bracket(source[at + 1 : end], whole))
            at = end + 1
        elif at == 0:
            name, at = _name(source, at, whole)
            steps.append(_wildcard if name == "*" else _member(name))
        else:
            raise JsonPathError(f"{whole!r}: unexpected {source[at]!r} at {at}")
    return tuple(steps)


def _name(source: str, at: int, whole: str) -> tuple[str, int]:
    match = _NAME.match(source, at)
    if match is None:
        raise JsonPathError(f"{whole!r}: a field name is missing at {at}")
    return re.sub(r"\\(.)", r"\1", match.group(0)), match.end()


def _closing(source: str, start: int, whole: str) -> int:
    depth, at, quote = 0, start, ""
    while at < len(source):
        char = source[at]
        if char == "\\":
            at += 1
        elif quote:
            quote = "" if char == quote else quote
        elif char in "'\"":
            quote = char
        elif char == "[":
            depth += 1
        elif char == "]":
            depth -= 1
            if depth == 0:
                return at
        at += 1
    raise JsonPathError(f"{whole!r}: '[' at {start} is not closed")


def _bracket(inner: str, whole: str) -> Step:
    text = inner.strip()
    if text == "*":
        return _wildcard
    if text.startswith("?(") and text.endswith(")"):
        return _filter(text[2:-1], whole)
    if re.fullmatch(r"-?\d{1,9}", text):
        return _index(int(text))
    if _BRACKET_NAMES.fullmatch(text):
        names = [re.sub(r"\\(.)", r"\1", a or b) for a, b in _QUOTED.findall(text)]
        return _members(names)
    match = _SLICE.fullmatch(text)
    if match is not None:
        low, high, stride = (int(part) if part else None for part in match.groups())
        if stride == 0:
            raise JsonPathError(f"{whole!r}: the step of a slice cannot be 0")
        return _slice(slice(low, high, stride))
    raise JsonPathError(f"{whole!r}: cannot read [{inner}]")


def _member(name: str) -> Step:
    def step(value: Any) -> Iterator[Any]:
        if isinstance(value, dict) and name in value:
            yield value[name]

    return step


def _members(names: list[str]) -> Step:
    def step(value: Any) -> Iterator[Any]:
        if isinstance(value, dict):
            yield from (value[name] for name in names if name in value)

    return step


def _index(number: int) -> Step:
    def step(value: Any) -> Iterator[Any]:
        if isinstance(value, list) and -len(value) <= number < len(value):
            yield value[number]

    return step


def _slice(part: slice) -> Step:
    def step(value: Any) -> Iterator[Any]:
        if isinstance(value, list):
            yield from value[part]

    return step


def _wildcard(value: Any) -> Iterator[Any]:
    if isinstance(value, dict):
        yield from value.values()
    elif isinstance(value, list):
        yield from value


def _descend(value: Any) -> Iterator[Any]:
    stack = [value]
    while stack:
        one = stack.pop()
        yield one
        stack.extend(reversed(list(_wildcard(one))))


def _filter(inner: str, whole: str) -> Step:
    match = _COMPARE.fullmatch(inner)
    if match is None:
        left = _operand(inner.strip(), whole)
        return lambda value: (one for one in _wildcard(value) if left(one))
    left, right = _operand(match.group(1).strip(), whole), _operand(match.group(3), whole)
    compare = _OPERATORS[match.group(2)]

    def passes(item: Any) -> bool:
        a, b = left(item), right(item)
        if not a or not b:
            return False
        try:
            return compare(a[0], b[0])
        except TypeError:
            return False

    return lambda value: (one for one in _wildcard(value) if passes(one))


def _operand(text: str, whole: str) -> Path:
    if text.startswith("@"):
        steps = _parse(text[1:], whole)

        def find(value: Any) -> list[Any]:
            found = [value]
            for step in steps:
                found = [result for one in found for result in step(one)]
            return found

        return find
    constant = _constant(text, whole)
    return lambda value: [constant]


def _constant(text: str, whole: str) -> Any:
    match = _QUOTED.fullmatch(text)
    if match is not None:
        return re.sub(r"\\(.)", r"\1", match.group(1) or match.group(2) or "")
    if text in ("true", "false"):
        return text == "true"
    try:
        return float(text) if "." in text else int(text)
    except ValueError:
        raise JsonPathError(f"{whole!r}: cannot read {text!r}; put text in quotes") from None
