"""One client connection that speaks HTTP/1: reads requests with httptools, one exchange after the other.

The first bytes decide: the HTTP/2 preface hands the socket to ``h2_front``. Requests sent ahead (pipelining) wait in
order. A request that asks for another protocol (``Upgrade: websocket``) gets the raw bytes that follow as its body;
``Upgrade: h2c`` is ignored as RFC 9110 allows, and the request is served as HTTP/1.1.

Invariant: after a request that breaks the protocol, or whose body was not read to its end, nothing else is read from
this connection as a request (no smuggling).
"""

from __future__ import annotations

import asyncio
import select
from collections import deque
from typing import cast

from standalone.gateway import h1_wire, replies
from standalone.gateway.exchange import Head
from standalone.gateway.front import NEVER, Front
from standalone.gateway.h1_exchange import H1Exchange
from standalone.gateway.h1_request import BadRequest, RequestReader
from standalone.gateway.inbox import BodyError
from standalone.gateway.outgoing import Outgoing

LOOK_S = 0.5
"""How often a client that we do not read from is looked at."""
POLLRDHUP = getattr(select, "POLLRDHUP", 0)
PREFACE = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"


class H1Front(Outgoing):
    """The connection."""

    def __init__(self, front: Front) -> None:
        super().__init__()
        self.front = front
        self.limits = front.limits
        self.loop = asyncio.get_running_loop()
        self.deadline = NEVER
        self.peer = ""
        self._reader: RequestReader | None = None
        self._sniffed = b""
        self._current: H1Exchange | None = None
        self._queue: deque[H1Exchange] = deque()
        self._is_closing = False
        self._paused_reading = False
        self._discarded = 0

    # ---- asyncio

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = transport = cast(asyncio.Transport, transport)  # uvloop's is one, by duck only
        name = transport.get_extra_info("peername")
        self.peer = name[0] if isinstance(name, tuple) else ""
        if self.front.enter(self, transport):
            self.deadline = self.loop.time() + self.limits.header_timeout_s
        else:
            self._is_closing = True

    def data_received(self, data: bytes) -> None:
        if self._is_closing:
            self._discard(len(data))
            return
        if self._reader is None:
            data = self._sniffed + data
            if data[: len(PREFACE)] == PREFACE[: len(data)]:
                if len(data) < len(PREFACE):
                    self._sniffed = data
                else:
                    self._become_h2(data)
                return
            self._reader = RequestReader(self, self.limits)
            self._sniffed = b""
        self._read(data)

    def _read(self, data: bytes) -> None:
        assert self._reader is not None
        try:
            self._reader.feed(data)
        except BadRequest as error:
            self._refuse(error)
            return
        self._set_deadline()
        self._slow_down()

    def eof_received(self) -> bool:
        return False

    def connection_lost(self, exc: Exception | None) -> None:
        self._writing_lost()
        self.front.leave(self)
        gone = BodyError("the client closed the connection")
        for exchange in [self._current, *self._queue]:
            if exchange is not None:
                exchange.body.fail(gone)
                exchange.cancel()
        self._queue.clear()

    # ---- requests, called by the reader

    def on_request(self, head: Head) -> H1Exchange:
        """A head is complete: make its exchange and start it, or queue it behind the one under way."""
        head.peer = self.peer
        exchange = H1Exchange(self, head)
        if self._current is None:
            self._start(exchange)
        else:
            self._queue.append(exchange)
        return exchange

    def _start(self, exchange: H1Exchange) -> None:
        self._current = exchange
        exchange.task = self.front.run(exchange)

    def on_answered(self, exchange: H1Exchange, *, keep: bool) -> None:
        """The answer is written. Go on with the next request, or close."""
        if exchange is not self._current:
            return
        self._current = None
        if not keep or self.front.is_draining or not exchange.body.is_ended:
            self.close_gently(exchange.body.is_ended)
        elif self._queue:
            self._start(self._queue.popleft())
            self._speed_up()
        else:
            self.deadline = self.loop.time() + self.limits.idle_timeout_s
            self._speed_up()

    def close_gently(self, is_read: bool = True) -> None:
        """Close after what was written is sent; a body still coming is read and thrown away for a while."""
        self._is_closing = True
        for exchange in self._queue:
            exchange.body.fail(BodyError("the connection is closing"))
        self._queue.clear()
        self.deadline = self.loop.time() + self.limits.linger_s
        if is_read:
            self.transport.close()
        else:
            self._speed_up()
            if self.transport.can_write_eof():
                self.transport.write_eof()

    def _discard(self, size_bytes: int) -> None:
        self._discarded += size_bytes
        if self._discarded > self.limits.linger_bytes:
            self.transport.abort()

    def _refuse(self, error: BadRequest) -> None:
        """The client broke the protocol or a limit: answer if nothing was answered yet, and close."""
        bad = self._reader.exchange if self._reader is not None else None
        if bad is not None:
            bad.body.fail(BodyError(str(error)))
        current = self._current
        if current is not None and (current is not bad or current.body.is_ended):
            # an earlier request is under way: let it end; its successor's fault closes the connection after it
            self._is_closing = True
            self.deadline = NEVER
            current.closes = True
            return
        if current is not None:
            current.cancel()
        if current is None or not current.is_started:
            body = replies.text(error.status, str(error))
            lines = h1_wire.status_line(error.status) + h1_wire.field_lines(body.headers)
            self.transport.write(lines + b"connection: close\r\n\r\n" + body.body)
            self._current = None
            self.close_gently(is_read=False)
        else:
            self.transport.abort()

    def _become_h2(self, data: bytes) -> None:
        from standalone.gateway.h2_front import H2Front

        self.front.leave(self)
        link = H2Front(self.front, self.peer)
        self.transport.set_protocol(link)
        link.connection_made(self.transport)
        link.data_received(data)

    # ---- pace and deadlines

    def _set_deadline(self) -> None:
        reader = self._reader
        assert reader is not None
        now = self.loop.time()
        if reader.is_tunnel:
            self.deadline = NEVER
        elif reader.is_in_head:
            if self._current is None and self.deadline > now + self.limits.header_timeout_s:
                self.deadline = now + self.limits.header_timeout_s
        elif reader.exchange is not None and not reader.exchange.body.is_settled:
            self.deadline = now + self.limits.body_idle_timeout_s
        elif self._current is not None:
            self.deadline = NEVER

    def _slow_down(self) -> None:
        exchange = self._reader.exchange if self._reader is not None else None
        full = exchange is not None and exchange.body.buffered > self.limits.buffer_bytes
        if (
            (full or len(self._queue) >= self.limits.pipeline)
            and not self._paused_reading
            and not self.is_lost
        ):
            self._paused_reading = True
            self.deadline = self.loop.time() + LOOK_S
            self.transport.pause_reading()

    def _is_hung_up(self) -> bool:
        """While we do not read, the loop does not tell us of a client that has gone: ask the kernel.

        The end of what a client sends counts while its request waits for a pod, as it does while we read
        (``eof_received``); once the body flows to a pod it may just be the end of the body.
        """
        current = self._current
        asked = 0 if current is not None and current.is_body_wanted else POLLRDHUP
        poller = select.poll()
        poller.register(self.transport.get_extra_info("socket").fileno(), asked)
        return bool(poller.poll(0))  # POLLHUP and POLLERR are always told

    def _speed_up(self) -> None:
        if self._paused_reading and not self.is_lost and len(self._queue) < self.limits.pipeline:
            self._paused_reading = False
            self.transport.resume_reading()

    def on_body_read(self, _: int) -> None:
        """The engine took bytes of the body: read on."""
        if self._paused_reading:
            self._speed_up()
            self._set_deadline()

    def on_deadline(self) -> None:
        if self._is_closing or self.front.is_draining:
            self.transport.abort()
        elif self._paused_reading:
            if self._is_hung_up():
                self.transport.abort()
            else:
                self.deadline = self.loop.time() + LOOK_S
        elif self._reader is not None and self._current is None and not self._reader.is_in_head:
            self.transport.close()  # idle
        elif self._current is None:
            self._refuse(BadRequest(408, "the request's headers did not arrive in time"))
        elif self._current.body.is_awaited:
            self._refuse(BadRequest(408, "the request's body stopped coming"))
        else:
            self.deadline = self.loop.time() + self.limits.body_idle_timeout_s  # it is we who do not read

    def drain(self) -> None:
        if self._current is None and not self._is_closing:
            self._is_closing = True
            self.transport.close()
