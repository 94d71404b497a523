"""CESQL values, their casts, LIKE, and the built-in functions.

Called by ``cesql``. Values are String, Integer (int32) and Boolean. A failed step gives a value and an error name
(``math cast missingFunction functionEvaluation missingAttribute``, the names of the CESQL test kit), never an exception.
Invariant: every function is total; LIKE takes at most pattern times text steps, whatever the pattern.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence

Value = str | int | bool
Kind = type[str] | type[int] | type[bool]
Result = tuple[Value, list[str]]

INT32_MIN, INT32_MAX = -(2**31), 2**31 - 1
ZERO: dict[Kind, Value] = {str: "", int: 0, bool: False}
_INTEGER = re.compile(r"[+-]?\d{1,20}\Z", re.ASCII)


def kind_of(value: Value) -> Kind:
    """The CESQL type of a value (Python's bool is no integer here)."""
    if isinstance(value, bool):
        return bool
    return int if isinstance(value, int) else str


def cast(value: Value, kind: Kind) -> Result:
    """``value`` as ``kind``; the zero value and ``cast`` where there is no reading."""
    if kind_of(value) is kind:
        return value, []
    if kind is str:
        return (str(value).lower() if isinstance(value, bool) else str(value)), []
    if kind is bool:
        if isinstance(value, str):
            return value.lower() == "true", [] if value.lower() in ("true", "false") else ["cast"]
        return value != 0, []
    if isinstance(value, str):
        if _INTEGER.match(value) and INT32_MIN <= int(value) <= INT32_MAX:
            return int(value), []
        return 0, ["cast"]
    return int(value), []


def arithmetic(operator: str, left: int, right: int) -> Result:
    """``+ - * / %`` on int32: division truncates to zero, ``%`` has the sign of ``left``, overflow wraps with ``math``."""
    if operator in "/%":
        if right == 0:
            return 0, ["math"]
        quotient = abs(left) // abs(right) * (1 if (left < 0) == (right < 0) else -1)
        result = quotient if operator == "/" else left - quotient * right
    else:
        result = {"+": left + right, "-": left - right, "*": left * right}[operator]
    return fit(result)


def fit(value: int) -> Result:
    """``value`` as int32, wrapped with ``math`` when it does not fit."""
    if INT32_MIN <= value <= INT32_MAX:
        return value, []
    return (value - INT32_MIN) % 2**32 + INT32_MIN, ["math"]


def is_like(text: str, pattern: str) -> bool:
    """LIKE: ``%`` any run, ``_`` one character, ``\\%`` and ``\\_`` themselves; case-sensitive."""
    parts = _pattern(pattern)
    at = wanted = 0
    star = resume = -1
    while at < len(text):
        part = parts[wanted] if wanted < len(parts) else ""
        if part == "%":
            star, resume, wanted = wanted, at, wanted + 1
        elif part and part in ("_", "\\" + text[at]):
            at, wanted = at + 1, wanted + 1
        elif star >= 0:
            resume += 1
            at, wanted = resume, star + 1
        else:
            return False
    return all(part == "%" for part in parts[wanted:])


def _pattern(pattern: str) -> list[str]:
    """The pattern as ``%``, ``_`` and backslash + literal character."""
    parts: list[str] = []
    at = 0
    while at < len(pattern):
        character = pattern[at]
        if character == "\\" and pattern[at + 1 : at + 2] in ("%", "_"):
            at += 1
            parts.append("\\" + pattern[at])
        elif character in "%_":
            parts.append(character)
        else:
            parts.append("\\" + character)
        at += 1
    return parts


def _substring(text: str, position: int, length: int | None = None) -> Result:
    if position == 0:
        return "", []
    start = position - 1 if position > 0 else len(text) + position
    if start < 0 or start >= max(len(text), 1) or (length is not None and length < 0):
        return "", ["functionEvaluation"]
    return text[start : None if length is None else start + length], []


def _side(text: str, count: int, from_left: bool) -> Result:
    if count < 0:
        return text, ["functionEvaluation"]
    return (text[:count] if from_left else text[max(len(text) - count, 0) :]), []


def _abs(value: int) -> Result:
    return (INT32_MAX, ["math"]) if value == INT32_MIN else (abs(value), [])


def _is(value: Value, kind: Kind) -> Result:
    return not cast(value, kind)[1], []


FUNCTIONS: dict[tuple[str, int], tuple[Sequence[Kind | None], Callable[..., Result]]] = {
    ("LENGTH", 1): ((str,), lambda text: (len(text), [])),
    ("LOWER", 1): ((str,), lambda text: (text.lower(), [])),
    ("UPPER", 1): ((str,), lambda text: (text.upper(), [])),
    ("TRIM", 1): ((str,), lambda text: (text.strip(), [])),
    ("LEFT", 2): ((str, int), lambda text, count: _side(text, count, True)),
    ("RIGHT", 2): ((str, int), lambda text, count: _side(text, count, False)),
    ("SUBSTRING", 2): ((str, int), _substring),
    ("SUBSTRING", 3): ((str, int, int), _substring),
    ("ABS", 1): ((int,), _abs),
    ("INT", 1): ((None,), lambda value: cast(value, int)),
    ("BOOL", 1): ((None,), lambda value: cast(value, bool)),
    ("STRING", 1): ((None,), lambda value: cast(value, str)),
    ("IS_INT", 1): ((None,), lambda value: _is(value, int)),
    ("IS_BOOL", 1): ((None,), lambda value: _is(value, bool)),
}
"""(name, number of arguments) -> (the type each argument is cast to; None: any; the function)."""


def concat(name: str, texts: Sequence[str]) -> str | None:
    """CONCAT and CONCAT_WS of any number of arguments, None for another function."""
    if name == "CONCAT":
        return "".join(texts)
    if name == "CONCAT_WS" and texts:
        return texts[0].join(texts[1:])
    return None
