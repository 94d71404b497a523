"""One request and its answer, whatever carried them: HTTP/1.1, HTTP/2 or gRPC. The words between wires and edges.

A wire (``wakeful.serving.wire``) reads a ``Request`` and writes the ``Reply``; an edge (V1, V2, OpenAI, events, gRPC)
turns the one into the other and never sees a socket. Left out: parsing and limits (the wire's), protocols (the edge's).

Invariant: header names are lower case; a ``Reply`` is written once; a streamed body is closed (``aclose``) whether it
ended, failed, or its reader went away.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol, TypeVar, overload

CLIENT_CLOSED = 499
"""What is counted and logged where the client went away before it had an answer."""

T = TypeVar("T")
Buffer = bytes | bytearray | memoryview


class Headers(Mapping[str, str]):
    """A request's headers: names in any case, the first value of a repeated one; ``pairs`` has all, in order."""

    __slots__ = ("first", "memo", "pairs")
    span: Any = None
    """The span of a traced request (``observing.TracedHeaders``)."""

    def __init__(self, pairs: Sequence[tuple[str, str]]) -> None:
        self.pairs = pairs
        """(lower-case name, value) as they came."""
        self.first = dict(reversed(pairs))
        """Lower-case name to the first value."""
        self.memo: object = None
        """What the handler derived from method, target and headers: a wire gives requests with the same head one object."""

    @overload
    def get(self, name: str, /) -> str | None: ...
    @overload
    def get(self, name: str, /, default: str | T) -> str | T: ...
    def get(self, name: str, /, default: str | T | None = None) -> str | T | None:
        """The first value of ``name``, or ``default``."""
        return self.first.get(name.lower(), default)

    def __getitem__(self, name: str) -> str:
        return self.first[name.lower()]

    def __contains__(self, name: object) -> bool:
        return isinstance(name, str) and name.lower() in self.first

    def __iter__(self) -> Iterator[str]:
        return iter(self.first)

    def __len__(self) -> int:
        return len(self.first)

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
    """One answer. ``body`` is bytes, buffers that are written one after the other, or parts written as they come."""

    status: int = 200
    headers: dict[str, str] = field(default_factory=dict)
    """Never framing (``Content-Length``, ``Transfer-Encoding``, ``Connection``): a wire drops those."""
    body: bytes | tuple[Buffer, ...] | AsyncIterator[bytes] = b""


Answer = Callable[[Reply], None]
"""Called once for each request, on the loop; it may be called before ``begin`` has returned. Later calls are nothing."""
Cancel = Callable[[], object]


class Handler(Protocol):
    """What answers the requests of every wire: ``wakeful.serving.http_edge``."""

    def begin(self, request: Request, answer: Answer) -> Cancel | None:
        """Begin to answer ``request``. What it returns ends the work when the client has gone; None: nothing to end."""

    def screen(self, head: Request) -> Reply | None:
        """The refusal of a request whose body is still on its way (no such route or model); None: read it."""

    def failed(self, head: Request | None, error: Exception) -> Reply:
        """The answer to ``head`` whose body cannot be had, or (None) to what is no request at all."""
