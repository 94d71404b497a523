"""Heads of requests that came before, byte for byte, with what they mean: clients send the same one again and again.

Kept by ``http1_reader``, shared by all connections of a port. Parsing a head of six lines costs 6 us, finding it here
0.4 us (docs/decisions/0110). Only what httptools has parsed and what is framed by its length alone is kept: no chunks,
no codings, no ``Expect``, ``Upgrade`` or ``Connection: close``, so that a known head never has to be looked at again.

Invariant: a request read through a known head is the one that parsing its bytes would give.
"""

from __future__ import annotations

from wakeful.serving.exchange import Headers, Request

MAX_HEADS = 512
MAX_BYTES = 2048
END = b"\r\n\r\n"
RARE = ("transfer-encoding", "content-encoding", "expect", "upgrade")


class Head:
    """A request's head and the length of its body."""

    __slots__ = ("headers", "length", "method", "target")

    def __init__(self, request: Request, length: int) -> None:
        self.method = request.method
        self.target = request.target
        self.headers: Headers = request.headers
        self.length = length


KnownHeads = dict[bytes, Head]


def learn(known: KnownHeads, head: bytes, length: int, request: Request) -> None:
    """Keep ``head`` of ``request``, whose body had ``length`` bytes, if it is plain."""
    first = request.headers.first
    if len(head) > MAX_BYTES or any(name in first for name in RARE) or request.method == "CONNECT":
        return
    if len(known) >= MAX_HEADS:
        known.clear()  # heads that differ every time (identifiers): the ones that return are soon known again
    known[head] = Head(request, length)
