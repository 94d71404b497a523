"""Checks of single members of an OpenAI request, each with bounds: a value in, the checked value out.

``openai_params`` builds its tables from these. A check takes the value and its path (for the error) and returns what
the engine gets; it raises ``RefusedError`` whose ``param`` is the path. Bounds are here because engines have none on
many (``logit_bias`` of a million entries, ``n`` of ten thousand), and a request must not cost more than its answer.

Invariant: a checked value is of the type that the reference names: ``true`` is no number, ``1.0`` is a whole number.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

from wakeful.core.protocol.openai_errors import RefusedError
from wakeful.core.protocol.problem import shown, type_name

Check = Callable[[Any, str], Any]

MAX_TOKEN_ID = 2**31 - 1
MAX_STOPS = 64
MAX_STOP_CHARACTERS = 1024
MAX_BIASES = 1024
MAX_IDS = 1024


def refuse(path: str, wanted: str, value: Any) -> RefusedError:
    """The error for ``value`` at ``path``."""
    got = shown(value) if isinstance(value, bool | int | float | str) else type_name(value)
    return RefusedError(f"{path} must be {wanted}, got {got}", path)


def boolean(value: Any, path: str) -> bool:
    """True or false."""
    if not isinstance(value, bool):
        raise refuse(path, "true or false", value)
    return value


def number(low: float, high: float) -> Check:
    """A number from ``low`` to ``high``."""

    def check(value: Any, path: str) -> float:
        is_number = isinstance(value, int | float) and not isinstance(value, bool)
        if not is_number or math.isnan(value) or not low <= value <= high:
            raise refuse(path, f"a number from {low:g} to {high:g}", value)
        return float(value)

    return check


def whole(low: int, high: int) -> Check:
    """A whole number from ``low`` to ``high``."""

    def check(value: Any, path: str) -> int:
        is_whole = (isinstance(value, int) and not isinstance(value, bool)) or (
            isinstance(value, float) and value.is_integer()
        )
        if not is_whole or not low <= value <= high:
            raise refuse(path, f"a whole number from {low} to {high}", value)
        return int(value)

    return check


def text(max_characters: int) -> Check:
    """A string of at most ``max_characters``."""

    def check(value: Any, path: str) -> str:
        if not isinstance(value, str):
            raise refuse(path, "a string", value)
        if len(value) > max_characters:
            raise RefusedError(
                f"{path} has {len(value)} characters: at most {max_characters} are allowed", path
            )
        return value

    return check


def one_of(*values: str) -> Check:
    """One of ``values``."""

    def check(value: Any, path: str) -> str:
        if not isinstance(value, str) or value not in values:
            raise refuse(path, "one of " + ", ".join(values), value)
        return value

    return check


def list_of(item: Check, max_items: int) -> Check:
    """A list of at most ``max_items``, each checked by ``item``."""

    def check(value: Any, path: str) -> list[Any]:
        if not isinstance(value, list):
            raise refuse(path, "an array", value)
        if len(value) > max_items:
            raise RefusedError(f"{path} has {len(value)} items: at most {max_items} are allowed", path)
        return [item(entry, f"{path}[{place}]") for place, entry in enumerate(value)]

    return check


def refused(why: str) -> Check:
    """A member that this server refuses, and why."""

    def check(value: Any, path: str) -> Any:
        raise RefusedError(f"{path} is refused: {why}", path, "unsupported_parameter")

    return check


def only(value_allowed: Any, why: str) -> Check:
    """A member that has one allowed value."""

    def check(value: Any, path: str) -> Any:
        if value != value_allowed or type(value) is not type(value_allowed):
            raise RefusedError(f"{path} can only be {value_allowed!r} here: {why}", path)
        return value

    return check


def stop(value: Any, path: str) -> list[str]:
    """Stop sequences: a string or a list of strings, none empty."""
    sequences = [value] if isinstance(value, str) else value
    checked: list[str] = list_of(text(MAX_STOP_CHARACTERS), MAX_STOPS)(sequences, path)
    if "" in checked:
        raise RefusedError(f"{path} holds an empty string: it would stop before the first token", path)
    return checked


def logit_bias(value: Any, path: str) -> dict[str, float]:
    """Token id (as text) to bias from -100 to 100."""
    entries = members(value, path, MAX_BIASES)
    bias = number(-100, 100)
    for key in entries:
        if not (key.isascii() and key.isdigit() and len(key) <= 10 and int(key) <= MAX_TOKEN_ID):
            raise RefusedError(f"{path} has the key {shown(key)}: keys are token ids, such as '50256'", path)
    return {key: bias(entry, f"{path}[{key}]") for key, entry in entries.items()}


def members(value: Any, path: str, max_members: int) -> dict[str, Any]:
    """An object of at most ``max_members`` members."""
    if not isinstance(value, dict):
        raise refuse(path, "an object", value)
    if len(value) > max_members:
        raise RefusedError(f"{path} has {len(value)} members: at most {max_members} are allowed", path)
    return value


token_id = whole(0, MAX_TOKEN_ID)
token_ids = list_of(token_id, MAX_IDS)


def metadata(value: Any, path: str) -> dict[str, str]:
    """Up to 16 short texts of the caller's own, which no engine sees."""
    entries = members(value, path, 16)
    return {key: text(512)(entry, f"{path}.{key[:64]}") for key, entry in entries.items()}


def stream_options(value: Any, path: str) -> dict[str, bool]:
    """``include_usage``, and the two others that clients send."""
    entries = members(value, path, 8)
    for key in entries:
        if key not in ("include_usage", "continuous_usage_stats", "include_obfuscation"):
            raise RefusedError(f"{path}.{key[:64]} is not known", f"{path}.{key[:64]}")
    return {key: boolean(entry, f"{path}.{key}") for key, entry in entries.items() if entry is not None}
