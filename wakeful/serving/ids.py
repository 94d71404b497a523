"""Identifiers of requests and answers: 128 random bits that nobody has to guess.

Used by ``http_edge`` (request id), ``http_v2`` (answer id) and ``http_events`` (event id). Not ``uuid.uuid4``: its
``os.urandom`` gives up the interpreter lock on every call and waits for a model thread to hand it back, which cost
133 us of 470 us a request at 16 connections (docs/decisions/0070). The generator is seeded by the kernel, in a
forked child again.

Invariant: never used where an identifier grants access to anything.
"""

from __future__ import annotations

import os
import random

KEPT = 256
"""Identifiers made at once: digits of one long random number cost a third of as many short ones."""

_digits: list[str] = []
os.register_at_fork(after_in_child=_digits.clear)  # a child's are its own


def request_id() -> str:
    """32 hexadecimal digits."""
    if not _digits:
        many = random.randbytes(16 * KEPT).hex()
        _digits.extend(many[at : at + 32] for at in range(0, len(many), 32))
    return _digits.pop()


def answer_id() -> str:
    """A UUID, version 4, in its usual form (written by hand: ``uuid.UUID`` takes 2 us)."""
    digits = request_id()
    return f"{digits[:8]}-{digits[8:12]}-4{digits[13:16]}-{_VARIANT[digits[16]]}{digits[17:20]}-{digits[20:]}"


_VARIANT = {digit: "89ab"[int(digit, 16) & 3] for digit in "0123456789abcdef"}
