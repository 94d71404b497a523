"""Whether a UBJSON file is as long as it says: XGBoost 3.2 reads on behind the end of one that is cut off.

Called by ``model`` before XGBoost sees the bytes. A length that lies there is whatever the memory behind the file holds: a
copy of a model cut in two asked for all memory of the machine. Walked here are markers, lengths and counts only (UBJSON,
draft 12, ubjson.org): arrays of numbers are skipped as one, so that a tree takes some 40 us.
Left out: everything else about the format. What is unknown here is left to XGBoost, which names the place.

Invariant: nothing that passes has a length, a count or a value that goes beyond its end.
"""

from __future__ import annotations

from dataclasses import dataclass

OBJECT, ARRAY = ord("{"), ord("[")
CLOSERS = {OBJECT: ord("}"), ARRAY: ord("]")}
SIZES = {
    ord(marker): size
    for marker, size in zip("ZTFNiUCIldLD", (0, 0, 0, 0, 1, 1, 1, 2, 4, 4, 8, 8), strict=True)
}
LENGTHS = {ord(marker): size for marker, size in zip("iUIlL", (1, 1, 2, 4, 8), strict=True)}
TEXTS = frozenset(b"SH")
NO_OP, TYPE, COUNT, UNSIGNED = ord("N"), ord("$"), ord("#"), ord("U")
MAX_DEPTH = 256
"""XGBoost's reader calls itself; its own files have some ten levels."""


class DamagedError(ValueError):
    """The bytes end before the value does, or a length is none; the text says where."""


class _UnknownError(Exception):
    """A marker that is not known here."""


@dataclass(slots=True)
class _Open:
    """A container that has not ended."""

    kind: int
    type: int | None
    """Of all its values, where it says so."""
    left: int | None
    """How many values are still to come; None: until its end is marked."""


def check(content: bytes | bytearray) -> None:
    """Raise ``DamagedError`` if the value that ``content`` begins with is not there as a whole."""
    try:
        _walk(content)
    except _UnknownError:
        return
    except IndexError:
        raise DamagedError(f"it ends at byte {len(content)}, within a value") from None


def _walk(content: bytes | bytearray) -> None:
    at, opened = 0, list[_Open]()
    while True:
        marker: int | None = None
        if opened:
            top = opened[-1]
            if _is_at_end(content, at, top):
                at += top.left is None
                opened.pop()
                if not opened:
                    return
                continue
            if top.kind == OBJECT:
                at = _text_end(content, at)
            marker = top.type
        if marker is None:
            marker, at = content[at], at + 1
        if marker in CLOSERS:
            container, at = _opened(content, at, marker)
            opened.append(container)
            if len(opened) > MAX_DEPTH:
                raise DamagedError(f"it has more than {MAX_DEPTH} levels at byte {at}")
        elif marker in TEXTS:
            at = _text_end(content, at)
        elif marker in SIZES:
            at = _within(content, at + SIZES[marker])
        else:
            raise _UnknownError
        if not opened:
            return


def _is_at_end(content: bytes | bytearray, at: int, container: _Open) -> bool:
    """Whether ``container`` has no more values; if it has, one is taken from its count."""
    if container.left is None:
        return content[at] == CLOSERS[container.kind]
    container.left -= 1
    return container.left < 0


def _opened(content: bytes | bytearray, at: int, kind: int) -> tuple[_Open, int]:
    """The container whose marker is before ``at``; an array of numbers is behind us already."""
    of, count = None, None
    if content[at] == TYPE:
        of, at = content[at + 1], at + 2
    if content[at] == COUNT:
        count, at = _length(content, at + 1)
    if of is None or count is None or kind == OBJECT or of not in SIZES:
        return _Open(kind, of, count), at
    if count > len(content):  # values without bytes are counted too
        raise DamagedError(f"it has {count} values at byte {at}, more than its {len(content)} bytes")
    return _Open(kind, of, 0), _within(content, at + count * SIZES[of])


def _text_end(content: bytes | bytearray, at: int) -> int:
    """Where the text ends whose length is at ``at``."""
    length, at = _length(content, at)
    return _within(content, at + length)


def _length(content: bytes | bytearray, at: int) -> tuple[int, int]:
    marker = content[at]
    if marker not in LENGTHS:
        raise _UnknownError
    end = _within(content, at + 1 + LENGTHS[marker])
    length = int.from_bytes(content[at + 1 : end], "big", signed=marker != UNSIGNED)
    if length < 0:
        raise DamagedError(f"it has the length {length} at byte {at}")
    return length, end


def _within(content: bytes | bytearray, at: int) -> int:
    if at > len(content):
        raise DamagedError(f"it has {len(content)} bytes and says that {at} or more are there")
    return at
