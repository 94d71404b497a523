"""Large values as JSON in pieces, so that other threads have their turn between them.

orjson keeps the interpreter's lock for all of a call: 1,000,000 numbers, 50 ms in which the event loop answers nobody, whichever
thread makes them. ``weight`` guesses how long a value takes from its outline (a fraction of a microsecond for small ones);
``split`` replaces what is long in it by its JSON, made piece by piece. Called by the edges for answers, and by ``oip`` and
``oip_shares`` for the data of tensors; ``json_values`` does the rest.

Invariant: ``json_values.dump(split(value))`` gives the bytes of ``json_values.dump(value)``, and fails where that fails.
"""

from __future__ import annotations

from typing import Any

import orjson

from wakeful.core.protocol import json_values

PIECE = 16384
"""Numbers that are written in one go: some 0.5 ms. Answers that weigh more are encoded in a thread."""
_PLAIN = frozenset({int, float, bool, type(None)})
_SHORT = _PLAIN | {str}
_SHORT_TEXT = 4096
_MEMBERS = 64
"""A list or object of at most so many plain values, or lists of them, is small without a closer look."""
_LOOKED_AT = 8
_LEVELS = 16
_TEXT_PER_NUMBER = 64
"""Characters of text that take as long as a number."""


def is_long(answer: dict[str, Any]) -> bool:
    """Whether an object weighs more than ``PIECE``; of small ones, which most are, it is known without weighing them."""
    for value in answer.values():
        kind = type(value)
        if kind is list:
            first = value[0] if value else None
            if len(value) <= _MEMBERS and (
                type(first) in _PLAIN or (_is_short(first) and _is_short(value[-1]))
            ):
                continue
        elif kind in _PLAIN:
            continue
        if weight(value) > PIECE:
            return True
    return False


def _is_short(item: Any) -> bool:
    kind = type(item)
    if kind is list:
        return len(item) <= _MEMBERS and _SHORT.issuperset(map(type, item))
    if kind is dict:
        return len(item) <= _MEMBERS and _SHORT.issuperset(map(type, item.values()))
    return kind in _PLAIN or (kind is str and len(item) <= _SHORT_TEXT)


def weight(value: Any, levels: int = _LEVELS) -> int:
    """About how many numbers take as long to write as ``value``: by the first and last members of what it holds."""
    kind = type(value)
    if kind is list or kind is tuple:
        count = len(value)
        if not count or not levels or type(value[0]) in _PLAIN:
            return count
        if count <= _LOOKED_AT:
            return count + sum([weight(item, levels - 1) for item in value])
        return count * (1 + max(weight(value[0], levels - 1), weight(value[-1], levels - 1)))
    if kind is dict:
        if not levels:
            return len(value)
        return sum([weight(item, levels - 1) for item in value.values()])
    if kind is str or kind is bytes:
        return 1 + len(value) // _TEXT_PER_NUMBER
    size = getattr(value, "size", 1)  # numpy's arrays
    return size if type(size) is int else 1


def split(value: Any, levels: int = _LEVELS) -> Any:
    """``value`` with what is long in it as JSON already. Raises ``FailureError`` (internal) where it has none."""
    total = weight(value)
    if total <= PIECE or not levels:
        return value
    kind = type(value)
    if kind is dict:
        return {name: split(item, levels - 1) for name, item in value.items()}
    count = len(value) if kind is list or kind is tuple or (hasattr(value, "tolist") and value.ndim) else 0
    if not count:
        return value
    each = total // count
    if each > PIECE:
        parts = [json_values.answer(split(item, levels - 1)) for item in value]
    else:
        step = max(1, PIECE // max(1, each))
        parts = [json_values.answer(value[at : at + step])[1:-1] for at in range(0, count, step)]
    return orjson.Fragment(b"[" + b",".join(parts) + b"]")
