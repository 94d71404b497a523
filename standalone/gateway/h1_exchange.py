"""One HTTP/1 request under way and how its answer is written: status line, framing, keep-alive.

Made by ``h1_front``. The framing of the answer follows what is known: the pod's Content-Length, else chunked, else
(HTTP/1.0) the end of the connection. Invariant: an answer that cannot be completed closes the connection without its
end, so that the client can tell.
"""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

from standalone.gateway import h1_wire
from standalone.gateway.exchange import Head
from standalone.gateway.inbox import Headers, Inbox

if TYPE_CHECKING:
    from standalone.gateway.h1_front import H1Front

CONTINUE = b"HTTP/1.1 100 Continue\r\n\r\n"


class H1Exchange:
    """See ``exchange.Exchange``."""

    def __init__(self, connection: H1Front, head: Head) -> None:
        self.head = head
        self.body = Inbox(connection.on_body_read)
        self.is_started = False
        self.closes = False
        """The connection is closed after this answer."""
        self.is_body_wanted = False
        """Somebody reads the body now: the request does not wait for a pod any more."""
        self.task: asyncio.Task[None] | None = None
        self._connection = connection
        self._kept = b""
        self._is_chunked = False
        self._left: int | None = None
        self._is_finished = False
        self._is_tunnel = False
        self._is_without_body = False

    def cancel(self) -> None:
        """Nobody waits for the answer any more."""
        if self.task is not None:
            self.task.cancel()

    def start(self, status: int, headers: Headers, has_body: bool = True) -> None:
        self.is_started = True
        self._left = h1_wire.content_length(headers)
        self._is_without_body = not has_body or self.head.method == b"HEAD"
        if not self._is_without_body and self._left is None:
            if self.head.version == "1.1":
                self._is_chunked = True
            else:
                self.closes = True
        if not self.body.is_ended or self.head.upgrade or self._connection.front.is_draining:
            self.closes = True
        lines = [h1_wire.status_line(status), h1_wire.field_lines(headers)]
        if self._is_chunked:
            lines.append(b"transfer-encoding: chunked\r\n")
        if self.closes:
            lines.append(b"connection: close\r\n")
        elif self.head.version == "1.0":
            lines.append(b"connection: keep-alive\r\n")
        lines.append(b"\r\n")
        self._kept = b"".join(lines)

    def become_tunnel(self, headers: Headers) -> None:
        self.is_started = self._is_tunnel = self.closes = True
        lines = h1_wire.status_line(101) + h1_wire.field_lines(headers)
        self._send(lines + b"connection: Upgrade\r\nupgrade: %b\r\n\r\n" % self.head.upgrade)

    def want_body(self) -> None:
        self.is_body_wanted = True
        if self.is_started or self.body.is_settled or self.body.total:
            return
        if (self.head.get(b"expect") or b"").lower() == b"100-continue":
            self._send(CONTINUE)

    def write(self, data: bytes) -> None:
        if not data or self._is_without_body or self._is_finished:
            return
        if self._left is not None and not self._is_tunnel:
            data = data[
                : self._left
            ]  # never more than was announced: the rest would be read as the next answer
            self._left -= len(data)
        self._send(h1_wire.chunk(data) if self._is_chunked else data)

    def finish(self, data: bytes, trailers: Headers) -> None:
        if self._is_finished:
            return
        if self._is_chunked:
            self._send(h1_wire.chunk(data) + h1_wire.last_chunk(trailers))
        else:
            self.write(data)
            self.flush()
        self._is_finished = True
        if self._left and not self._is_without_body and not self._is_tunnel:
            self.abort()  # fewer bytes than announced
            return
        self._connection.on_answered(self, keep=not self.closes)

    def flush(self) -> None:
        if self._kept:
            self._send(b"")

    @property
    def is_congested(self) -> bool:
        return self._connection.is_congested

    async def drained(self) -> None:
        await self._connection.drained()

    def abort(self) -> None:
        self._is_finished = True
        if not self._connection.is_lost:
            self._connection.transport.abort()

    def _send(self, data: bytes) -> None:
        kept, self._kept = self._kept, b""
        if not self._connection.is_lost and (kept or data):
            self._connection.transport.write(kept + data if kept else data)
