"""One request and where its answer goes, whatever protocol it came by; and its mirror, one call to a pod.

``Exchange`` is made by ``h1_front`` and ``h2_front`` and used by ``engine``; ``PodCall`` is made by ``h1_pod`` and
``h2_pod``. Both can be written to in the same way (``Outlet``), so that one loop (``pump``) moves bodies in both
directions with back-pressure.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Protocol

from standalone.gateway.inbox import Headers, Inbox


class PodError(Exception):
    """The pod gave no usable answer; the text is one sentence."""


class DialError(PodError):
    """The pod could not be connected to: nothing was sent, another pod or a later try may serve."""


class GoneError(PodError):
    """The connection ended before a byte of the answer came: nobody knows whether the request was worked on."""


@dataclass(slots=True)
class Head:
    """What a request line and its headers say. ``authority`` is the Host as the client wrote it."""

    method: bytes
    target: bytes
    authority: str
    headers: Headers
    version: str = "1.1"
    peer: str = ""
    upgrade: bytes = b""
    """The protocol a client wants to switch to (``websocket``); empty for ordinary requests."""
    is_absolute: bool = False
    """It came as a proxy request, with an absolute URI."""
    has_body: bool = False
    length: int | None = None
    """The body's length where it is known beforehand."""

    def get(self, name: bytes) -> bytes | None:
        """The first value of a header (lower-case name)."""
        for key, value in self.headers:
            if key == name:
                return value
        return None

    @property
    def is_grpc(self) -> bool:
        return self.version == "2" and (self.get(b"content-type") or b"").startswith(b"application/grpc")

    @property
    def size_bytes(self) -> int:
        """What the head occupies, roughly."""
        return len(self.target) + sum(len(name) + len(value) + 4 for name, value in self.headers)


@dataclass(slots=True)
class Answer:
    """Status and headers that a pod answered."""

    status: int
    headers: Headers
    has_body: bool = True
    trailers: Headers = field(default_factory=list)


class Outlet(Protocol):
    """Somewhere a body goes."""

    def write(self, data: bytes) -> None:
        """Send, without waiting; look at ``is_congested`` afterwards. Ignored once the peer is gone."""

    def finish(self, data: bytes, trailers: Headers) -> None:
        """Send the last bytes and the end."""

    def flush(self) -> None:
        """Send now what is kept back to be sent together with the next bytes."""

    @property
    def is_congested(self) -> bool:
        """The peer reads more slowly than we write."""
        ...

    async def drained(self) -> None:
        """Wait until it is not congested. Raises ``BodyError`` when the peer is gone."""


class Exchange(Outlet, Protocol):
    """A request under way."""

    head: Head
    body: Inbox
    is_started: bool
    """The answer's status line was written (or kept for the first bytes)."""

    def start(self, status: int, headers: Headers, has_body: bool = True) -> None:
        """Send status and headers. Once."""

    def want_body(self) -> None:
        """The body is about to be read: answer ``Expect: 100-continue``."""

    def become_tunnel(self, headers: Headers) -> None:
        """Answer 101; from now on body and writes are raw bytes."""

    def abort(self) -> None:
        """Cut it off so that the client notices (connection closed, stream reset)."""


class PodCall(Outlet, Protocol):
    """One request to a pod on one connection."""

    inbox: Inbox
    """The answer's body."""

    def start(self, head: Head, headers: Headers) -> None:
        """Send method, target and ``headers`` (hop-by-hop ones removed)."""

    async def answer(self) -> Answer:
        """Wait for status and headers. Raises ``PodError``."""

    @property
    def is_reused(self) -> bool:
        """The connection has served a request before."""
        ...

    def release(self) -> None:
        """It is over: keep the connection if it can serve again, else close it."""

    def abort(self) -> None:
        """Close so that the pod notices that nobody waits for the answer."""


async def pump(inbox: Inbox, outlet: Outlet, on_write: Callable[[], None] | None = None) -> None:
    """Move a body to its end, at the pace of the slower side. ``on_write`` is told of every write but the last."""
    while True:
        if not inbox.has_data:
            outlet.flush()
        data = await inbox.read()
        if inbox.is_ended and not inbox.buffered:
            outlet.finish(data, inbox.trailers)
            return
        outlet.write(data)
        if on_write is not None:
            on_write()
        if outlet.is_congested:
            await outlet.drained()
