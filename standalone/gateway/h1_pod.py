"""One HTTP/1.1 connection to a pod (or to the event ingress), used for one request at a time.

``pods_pool`` dials and keeps them. An answer may come before the request is sent completely, the connection may turn
into a tunnel (101), and a pod may end its answer by closing. Invariant: a connection is used again only after a whole
request and a whole answer, both with a clear end.
"""

from __future__ import annotations

import asyncio
import select
from typing import Protocol, cast

import httptools

from standalone.gateway import h1_wire
from standalone.gateway.exchange import Answer, GoneError, Head, PodError
from standalone.gateway.inbox import BodyError, Headers, Inbox
from standalone.gateway.outgoing import Outgoing

BUFFER_BYTES = 256 * 1024
ANSWER_HEAD_BYTES = 256 * 1024
ANSWER_HEADERS = 500


class Keeper(Protocol):
    """Where connections go between requests."""

    def keep(self, connection: H1PodConnection) -> bool:
        """Take it for later use. False: it is to be closed."""

    def forget(self, connection: H1PodConnection) -> None:
        """It was closed."""


class H1PodConnection(Outgoing):
    """The connection, and the ``PodCall`` of the request it serves now."""

    def __init__(self, keeper: Keeper) -> None:
        super().__init__()
        self._keeper = keeper
        self._poller = select.poll()
        self._parser = httptools.HttpResponseParser(_Events(self))
        self.inbox = Inbox(self._on_read)
        self.inbox.end()
        self.is_reused = False
        self.idle_since = 0.0
        self._answer: asyncio.Future[Answer] | None = None
        self._headers: Headers = []
        self._is_trailing = False
        self._method = b""
        self._is_chunked = False
        self._is_sent = True
        self._is_tunnel = False
        self._wants_tunnel = False
        self._ends_by_close = False
        self._can_reuse = True
        self._head_bytes = 0
        self._paused_reading = False
        self._kept = b""

    # ---- asyncio

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = cast(asyncio.Transport, transport)  # uvloop's is one, by duck only
        self._poller.register(transport.get_extra_info("socket").fileno(), select.POLLIN)

    @property
    def is_quiet(self) -> bool:
        """Nothing has come that the loop has not told us of yet: no end of the connection either.

        A server that closes a kept connection as we use it leaves a request of which nobody knows whether it was read,
        so this asks the kernel (1 us) rather than the loop, which may be a whole round of events late.
        """
        return not self.is_lost and not self._poller.poll(0)

    def data_received(self, data: bytes) -> None:
        if self._is_tunnel:
            self.inbox.feed(data)
            self._slow_down()
            return
        if self._answer is None:
            self.transport.abort()  # bytes nobody asked for
            return
        if not self._answer.done():
            self._head_bytes += len(data)
            if self._head_bytes > ANSWER_HEAD_BYTES:
                self._break(f"the pod's answer headers exceed {ANSWER_HEAD_BYTES} bytes")
                return
        try:
            self._parser.feed_data(data)
        except httptools.HttpParserUpgrade as upgrade:
            self._to_tunnel(data[upgrade.args[0] :])
        except httptools.HttpParserError as error:
            self._break(f"the pod's answer is not HTTP/1.1: {error}")
        self._slow_down()

    def eof_received(self) -> bool:
        return False

    def connection_lost(self, exc: Exception | None) -> None:
        self._writing_lost()
        self._can_reuse = False
        self._keeper.forget(self)
        if self._answer is not None and not self._answer.done():
            reason = f": {exc}" if exc else ""
            kind = PodError if self._head_bytes else GoneError
            self._answer.set_exception(kind(f"the pod closed the connection before it answered{reason}"))
            self._answer.exception()  # retrieved: the caller may have been cancelled
        if self._ends_by_close or self._is_tunnel:
            self.inbox.end()
        else:
            self.inbox.fail(BodyError("the pod closed the connection in the middle of its answer"))

    # ---- the call

    def start(self, head: Head, headers: Headers) -> None:
        self._method = head.method
        self._answer = asyncio.get_running_loop().create_future()
        self.inbox = Inbox(self._on_read)
        self._headers = []
        self._is_trailing = self._ends_by_close = False
        self._head_bytes = 0
        self._wants_tunnel = bool(head.upgrade)
        self._is_chunked = head.has_body and head.length is None
        self._is_sent = False
        lines = [b"%b %b HTTP/1.1\r\n" % (head.method, head.target), h1_wire.field_lines(headers)]
        if self._wants_tunnel:
            lines.append(b"connection: Upgrade\r\nupgrade: %b\r\n" % head.upgrade)
        elif self._is_chunked:
            lines.append(b"transfer-encoding: chunked\r\n")
        lines.append(b"\r\n")
        self._kept = b"".join(lines)

    def write(self, data: bytes) -> None:
        if self._is_chunked:
            data = h1_wire.chunk(data)
        self._send(data)

    def finish(self, data: bytes, trailers: Headers) -> None:
        if self._is_chunked:
            data = h1_wire.chunk(data) + h1_wire.last_chunk(trailers)
        self._send(data)
        self._is_sent = True

    def flush(self) -> None:
        if self._kept:
            self._send(b"")

    def _send(self, data: bytes) -> None:
        kept, self._kept = self._kept, b""
        if not self.is_lost and (kept or data):
            self.transport.write(kept + data if kept else data)

    async def answer(self) -> Answer:
        assert self._answer is not None
        return await self._answer

    def release(self) -> None:
        done = self._is_sent and self.inbox.is_ended and self._can_reuse and not self.is_lost
        if done and not self._wants_tunnel:
            self._answer = None
            self.is_reused = True
            self.idle_since = asyncio.get_running_loop().time()
            if self._keeper.keep(self):
                return
        if not self.is_lost:
            self.transport.close()

    def abort(self) -> None:
        if not self.is_lost:
            self.transport.abort()

    # ---- httptools

    def _on_header(self, name: bytes, value: bytes) -> None:
        fields = self.inbox.trailers if self._is_trailing else self._headers
        if len(fields) >= ANSWER_HEADERS:
            self._break(f"the pod's answer has more than {ANSWER_HEADERS} headers")
            return
        fields.append((name.lower(), value.strip(b" \t")))

    def _on_headers_complete(self) -> None:
        status = self._parser.get_status_code()
        headers, self._headers = self._headers, []
        if self._answer is None or self._answer.done():
            self._can_reuse = False
            return
        if 100 <= status < 200 and not (status == 101 and self._wants_tunnel):
            return  # an interim answer: the real one follows
        self._is_trailing = True
        self._is_tunnel = status == 101
        length = h1_wire.content_length(headers)
        is_chunked = any(name == b"transfer-encoding" for name, _ in headers)
        bodiless = self._method == b"HEAD" or status in h1_wire.NO_BODY or status == 101
        self._ends_by_close = not bodiless and length is None and not is_chunked
        self._can_reuse = self._can_reuse and self._parser.should_keep_alive() and not self._ends_by_close
        self._answer.set_result(Answer(status, headers, has_body=not bodiless))
        if bodiless and status != 101:
            # llhttp does not know that this was a HEAD: it would take the next answer for this one's body
            self._can_reuse = self._can_reuse and (length in (None, 0)) and not is_chunked
            self.inbox.end()

    def _on_body(self, body: bytes) -> None:
        self.inbox.feed(body)

    def _on_message_complete(self) -> None:
        if self._answer is not None and self._answer.done() and not self._is_tunnel:
            self.inbox.end()

    # ---- within

    def _to_tunnel(self, rest: bytes) -> None:
        if not self._wants_tunnel:
            self._break("the pod switched protocols although nobody asked it to")
            return
        if rest:
            self.inbox.feed(rest)

    def _break(self, reason: str) -> None:
        if self._answer is not None and not self._answer.done():
            self._answer.set_exception(PodError(reason))
            self._answer.exception()
        self.inbox.fail(BodyError(reason))
        self._can_reuse = False
        self.transport.abort()

    def _slow_down(self) -> None:
        if self.inbox.buffered > BUFFER_BYTES and not self._paused_reading:
            self._paused_reading = True
            self.transport.pause_reading()

    def _on_read(self, _: int) -> None:
        if self._paused_reading and not self.is_lost:
            self._paused_reading = False
            self.transport.resume_reading()


class _Events:
    """What httptools calls: the connection's reading methods, without making them part of its face."""

    def __init__(self, connection: H1PodConnection) -> None:
        self.on_header = connection._on_header
        self.on_headers_complete = connection._on_headers_complete
        self.on_body = connection._on_body
        self.on_message_complete = connection._on_message_complete
