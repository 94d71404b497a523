"""Identifiers of requests and answers: 128 random bits that nobody has to guess.

Used by ``http_edge`` (request id), ``http_v2`` (answer id) and ``http_events`` (event id). Not ``uuid.uuid4``: its
``os.urandom`` gives up the interpreter lock on every call and waits for a model thread to hand it back, which cost
133 us of 470 us a request at 16 connections (docs/decisions/0070). The generator is seeded by the kernel, in a
forked child again.

Invariant: never used where an identifier grants access to anything.
"""

from __future__ import annotations

import random


def request_id() -> str:
    """32 hexadecimal digits."""
    return f"{random.getrandbits(128):032x}"


def answer_id() -> str:
    """A UUID, version 4, in its usual form (written by hand: ``uuid.UUID`` takes 2 us, this 0.6)."""
    digits = f"{random.getrandbits(128):032x}"
    variant = "89ab"[int(digits[16], 16) & 3]
    return f"{digits[:8]}-{digits[8:12]}-4{digits[13:16]}-{variant}{digits[17:20]}-{digits[20:]}"
