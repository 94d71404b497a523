"""One request and its answer, whatever carried them: HTTP/1.1, HTTP/2 or gRPC. The words between wires and edges.

A wire (``wire_*``) reads a ``Request`` and writes the ``Reply``; an edge (V1, V2, OpenAI, events, gRPC) turns the one
into the other and never sees a socket. Left out: parsing and limits (the wire's), protocols (the edge's).

Invariant: header names are lower case; a ``Reply`` is written once; a streamed body is closed (``aclose``) whether it
ended, failed, or its reader went away.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator, Mapping, Sequence
from dataclasses import dataclass, field


class Headers(Mapping[str, str]):
    """A request's headers: names in any case, the first value of a repeated one; ``pairs`` has all, in order."""

    __slots__ = ("_first", "pairs")

    def __init__(self, pairs: Sequence[tuple[str, str]]) -> None:
        self.pairs = pairs
        """(lower-case name, value) as they came."""
        self._first: dict[str, str] | None = None

    def _index(self) -> dict[str, str]:
        if self._first is None:
            self._first = dict(reversed(self.pairs))
        return self._first

    def __getitem__(self, name: str) -> str:
        return self._index()[name.lower()]

    def __iter__(self) -> Iterator[str]:
        return iter(self._index())

    def __len__(self) -> int:
        return len(self._index())

    def all(self, name: str) -> list[str]:
        """Every value of ``name``, in order."""
        wanted = name.lower()
        return [value for key, value in self.pairs if key == wanted]


@dataclass(slots=True)
class Request:
    """One whole request: its body is read, inflated and within the limits."""

    method: str
    target: str
    """Path and query, as they came: percent-encoded."""
    headers: Headers
    body: bytes = b""
    scheme: str = "http/1.1"
    """``http/1.1`` or ``http/2``: for logs and spans."""
    peer: str = ""


@dataclass(slots=True)
class Reply:
    """One answer. ``body`` is bytes, or an async iterator of parts that are written as they come."""

    status: int = 200
    headers: Mapping[str, str] = field(default_factory=dict)
    body: bytes | AsyncIterator[bytes] = b""
