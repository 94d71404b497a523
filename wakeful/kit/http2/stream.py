"""One request and its answer on an HTTP/2 connection: what comes in is told, what goes out waits for the windows.

Owners derive from ``Stream`` and override ``on_data``, ``on_end`` and ``on_lost``; they answer with ``answer`` (all of
it) or ``start``, ``write`` and ``finish`` (in parts), and say with ``consumed`` when bytes no longer fill the window.
Left out: frames' parsing and the connection's state (``connection``).

Invariant: after ``on_lost``, ``reset`` or the end of both sides nothing is sent and nothing is told; unread bytes
are credited to the connection exactly once.
"""

from __future__ import annotations

from collections import deque
from typing import TYPE_CHECKING

from wakeful.kit.http2 import frames
from wakeful.kit.http2.frames import Code
from wakeful.kit.http2.heads import Fields, RequestHead

if TYPE_CHECKING:
    from wakeful.kit.http2.connection import Connection

Buffer = bytes | bytearray | memoryview
CONGESTED_BYTES = 64 * 1024
"""Pending bytes above which a writer in parts should wait for ``on_writable``."""
SLICE_BYTES = 256 * 1024
"""What one stream sends in its turn before the next one gets its."""


class Stream:
    """The base of every request's owner."""

    __slots__ = (
        "_is_finishing",
        "_pending",
        "_trailers",
        "_unacknowledged",
        "connection",
        "expected_bytes",
        "head",
        "held_bytes",
        "is_received",
        "is_sent",
        "moved_at",
        "number",
        "opened_at",
        "pending_bytes",
        "recv_window",
        "send_window",
    )

    def __init__(self, connection: Connection, number: int, head: RequestHead) -> None:
        self.connection = connection
        self.number = number
        self.head = head
        self.recv_window = connection.limits.stream_window_bytes
        self.send_window = connection.peer_window_bytes
        self.expected_bytes = head.content_length
        """Body bytes still to come by content-length; None where it named none."""
        self.held_bytes = 0
        """Bytes told by ``on_data`` and not yet ``consumed``."""
        self.is_received = False
        """The request is complete."""
        self.is_sent = False
        """The answer is complete, or the stream is lost."""
        self.pending_bytes = 0
        self.opened_at = self.moved_at = connection.now
        """When it began, and when a byte last came or went, on the connection's clock."""
        self._unacknowledged = 0
        self._pending: deque[Buffer] | None = None
        self._is_finishing = False
        self._trailers: bytes | None = None

    # ---- for the owner to override

    def on_data(self, data: Buffer) -> None:
        """More of the body."""

    def on_end(self, trailers: Fields) -> None:
        """The body is complete."""

    def on_lost(self, code: int) -> None:
        """The peer reset the stream, or the connection is gone: nobody waits for an answer."""

    def on_leaving(self, *, is_late: bool) -> None:
        """To be ended by its owner: its body is late; or the server closes, and it could stay open for hours."""

    def on_writable(self) -> None:
        """Pending bytes have gone below ``CONGESTED_BYTES``."""

    @property
    def is_owed(self) -> bool:
        """The client owes bytes of the body within ``stall_s``; an owner of open-ended streams says False."""
        return not self.is_received

    # ---- in

    def consumed(self, size_bytes: int) -> None:
        """Give window back for bytes that the owner has taken."""
        size_bytes = min(size_bytes, self.held_bytes)  # what ``discard`` has credited is not credited again
        self.held_bytes -= size_bytes
        connection = self.connection
        connection.credit(size_bytes)
        if self.is_received:
            return
        self._unacknowledged += size_bytes
        if self._unacknowledged * 2 >= connection.limits.stream_window_bytes:
            connection.send(frames.window_update(self.number, self._unacknowledged))
            self.recv_window += self._unacknowledged
            self._unacknowledged = 0

    # ---- out

    @property
    def is_congested(self) -> bool:
        return self.pending_bytes > CONGESTED_BYTES

    def start(self, block: bytes, *, is_last: bool = False) -> None:
        """Send the answer's headers. Once, before anything else but ``answer``."""
        if self.is_sent:
            return
        self.connection.send(
            frames.headers(self.number, block, is_last=is_last, frame_bytes=self.connection.peer_frame_bytes)
        )
        if is_last:
            self._sent()

    def write(self, data: Buffer) -> None:
        """Send a part of the body, now or when the windows allow."""
        if self.is_sent or self._is_finishing or not len(data):
            return
        if self._pending is None:
            self._pending = deque()
        self._pending.append(data)
        self.pending_bytes += len(data)
        self.connection.pending_bytes += len(data)
        self.push()

    def finish(self, trailers: bytes | None = None) -> None:
        """End the answer, with trailers where given."""
        if self.is_sent or self._is_finishing:
            return
        self._is_finishing = True
        self._trailers = trailers
        if self.pending_bytes:
            return
        self._end()

    def push(self) -> bool:
        """Send what the windows allow, one slice at most. True if there is more that could go now."""
        connection, pending = self.connection, self._pending
        if not pending or self.is_sent:
            return False
        was_congested, left = self.is_congested, SLICE_BYTES
        while pending and left > 0:
            room = min(self.send_window, connection.send_window, connection.peer_frame_bytes, left)
            if room <= 0 or not connection.can_send:
                connection.block(self)
                break
            piece = pending[0]
            size = len(piece)
            if size > room:
                view = memoryview(piece)
                pending[0], piece, size = view[room:], view[:room], room
            else:
                pending.popleft()
            self._account(size)
            left -= size
            is_last = self._is_finishing and not pending and self._trailers is None
            connection.send(frames.head(size, frames.DATA, frames.END_STREAM if is_last else 0, self.number))
            connection.send(piece)
            if is_last:
                self._sent()
                return False
        if not pending and self._is_finishing:
            self._end()
        elif was_congested and not self.is_congested:
            self.on_writable()
        if pending and left <= 0:
            connection.block(self)
            return True
        return False

    def _account(self, size: int) -> None:
        connection = self.connection
        self.send_window -= size
        connection.send_window -= size
        self.pending_bytes -= size
        connection.pending_bytes -= size
        self.moved_at = connection.now
        connection.calm_by_bytes(size)

    def _end(self) -> None:
        if self._trailers is None:
            self.connection.send(frames.head(0, frames.DATA, frames.END_STREAM, self.number))
            self._sent()
        else:
            self.start(self._trailers, is_last=True)

    def _sent(self) -> None:
        self.is_sent = True
        connection = self.connection
        if not self.is_received:
            # the answer is complete and the rest of the request is not wanted (RFC 9113 section 8.1)
            connection.send(frames.reset(self.number, Code.NO_ERROR))
        connection.forget(self, was_answered=True)

    def reset(self, code: Code) -> None:
        """Give the stream up and tell the peer."""
        if self.is_sent:
            return
        self.is_sent = True
        self.connection.send(frames.reset(self.number, code))
        self.connection.forget(self)

    def discard(self) -> None:
        """Drop what waits to be sent and credit what was not read; ``connection`` calls it when the stream ends."""
        self.is_sent = True
        self.connection.pending_bytes -= self.pending_bytes
        self.pending_bytes = 0
        self._pending = None
        if self.held_bytes:
            held, self.held_bytes = self.held_bytes, 0
            self.connection.credit(held)


def answer(stream: Stream, block: bytes, body: Buffer, trailers: bytes) -> None:
    """Headers, one body and trailers, in as few bytes objects as possible: the usual gRPC answer."""
    connection, size = stream.connection, len(body)
    is_free = not stream._pending and not stream.is_sent and connection.can_send
    room = min(stream.send_window, connection.send_window, connection.peer_frame_bytes)
    if not is_free or size > room or len(block) + len(trailers) > frames.DEFAULT_FRAME_BYTES:
        stream.start(block)
        stream.write(body)
        stream.finish(trailers)
        return
    number, head = stream.number, frames.head
    start = head(len(block), frames.HEADERS, frames.END_HEADERS, number) + block
    data = head(size, frames.DATA, 0, number)
    end = head(len(trailers), frames.HEADERS, frames.END_HEADERS | frames.END_STREAM, number) + trailers
    stream.send_window -= size
    connection.send_window -= size
    connection.send(start + data)
    connection.send(body)
    connection.send(end)
    stream._sent()
