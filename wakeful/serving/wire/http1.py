"""One HTTP/1.1 connection: its requests in order, its answers, its end.

Made by ``port`` for every connection that does not speak HTTP/2. One request of a connection is answered at a time;
what a client sends ahead waits, and beyond ``limits.ahead`` the connection is not read. A request that cannot be taken
is answered by ``handler.failed`` in its turn and ends the connection, after a moment in which what still comes is
thrown away (else the kernel would reset the connection before the client has read why). Bytes that arrive at the end
of the client's sending mean that it has gone: the call is cancelled.
Left out: parsing (``http1_reader``), streamed answers (``http1_stream``), routes and protocols (the handler's).

Invariants: exactly one answer a request, in order; nothing of a connection outlives ``connection_lost``.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from functools import partial
from typing import TypeVar, cast

from wakeful.core.errors import FailureError
from wakeful.serving import http_log
from wakeful.serving.exchange import Cancel, Reply
from wakeful.serving.http_body import BodyTimeoutError
from wakeful.serving.wire import coding, heads, http1_stream
from wakeful.serving.wire.connections import NEVER, Connections, Wire
from wakeful.serving.wire.http1_reader import Reader
from wakeful.serving.wire.turns import CLOSE, Turn

T = TypeVar("T")
CONTINUE = b"HTTP/1.1 100 Continue\r\n\r\n"
BODYLESS = frozenset({204, 304})
JOIN_BYTES = 64 * 1024
"""Bodies up to here are joined to their head: one copy is cheaper than a second buffer of the kernel's."""
ON_LOOP_BYTES = 16 * 1024
"""Compressed bodies up to here are inflated at once (at most 16 MiB come out, in 10 ms); larger ones in a thread."""


class Http1(Wire):
    """One connection. ``_turn`` is the request that is being answered."""

    __slots__ = (
        *(
            "_cancel",
            "_is_deaf",
            "_is_full",
            "_is_running",
            "_is_unread",
            "_loop",
            "_reader",
            "_room",
            "_shared",
        ),
        *("_transport", "_turn"),
    )

    def __init__(self, shared: Connections) -> None:
        self._shared = shared
        self._loop = asyncio.get_running_loop()
        self._transport: asyncio.Transport | None = None
        self._reader = Reader(shared.limits, shared.budget, shared.known)
        self._turn: Turn | None = None
        self._cancel: Cancel | None = None
        self._is_running = False
        self._is_deaf = False
        """What comes is thrown away: the connection ends."""
        self._is_full = False
        """The client does not read: nothing more is written or begun."""
        self._is_unread = False
        """Reading is paused: the client has sent more than is answered."""
        self._room: asyncio.Future[None] | None = None
        self.deadline = NEVER

    # What asyncio calls.

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.Transport, transport)
        peer = transport.get_extra_info("peername")
        self._reader.peer = f"{peer[0]}:{peer[1]}" if isinstance(peer, tuple) else ""
        self.deadline = self._loop.time() + self._shared.limits.idle_timeout_s

    def data_received(self, data: bytes) -> None:
        if self._is_deaf:
            return
        reader = self._reader
        try:
            reader.feed(data)
            if reader.body is not None:
                self._await_body(reader.body)
        except FailureError as error:
            self._refuse(error)
        if self._turn is None:
            self._run()
        if reader.turns and (self._is_full or len(reader.turns) >= self._shared.limits.ahead):
            self._stop_reading()

    def pause_writing(self) -> None:
        self._is_full = True
        self.deadline = self._loop.time() + self._shared.limits.body_timeout_s

    def resume_writing(self) -> None:
        self._is_full = False
        lingers = self._is_deaf and self._turn is None
        self.deadline = self._loop.time() + self._shared.limits.linger_s if lingers else NEVER
        if self._room is not None:
            self._room.set_result(None)
            self._room = None
        if self._turn is None:
            self._run()

    def connection_lost(self, error: Exception | None) -> None:
        self._transport = None
        turn, self._turn = self._turn, None
        held = self._reader.close() + (turn.held_bytes if turn is not None else 0)
        self._shared.budget.release(held)
        self._shared.forget(self)
        if self._cancel is not None:
            self._cancel()
            self._cancel = None

    # What the port asks.

    def expire(self) -> None:
        body = self._reader.body
        if body is None or self._is_deaf or self._is_full:
            self.abort()
            return
        limit_s = self._shared.limits.body_timeout_s
        self._refuse(BodyTimeoutError(f"the request body did not arrive within {limit_s:g} s"))
        self._run()

    def close(self) -> None:
        if self._turn is None and self._transport is not None:
            self._transport.close()

    def abort(self) -> None:
        if self._transport is not None:
            self._transport.abort()

    # Requests, in order.

    def _await_body(self, turn: Turn) -> None:
        """A body is on its way: see whether it is worth waiting for, and how long."""
        is_next = self._turn is None and not self._reader.turns
        if not turn.is_screened:
            turn.is_screened = True
            assert turn.request is not None
            reply = self._shared.handler.screen(turn.request)
            if reply is not None:
                self._last(turn, reply)
                return
            if is_next:
                self.deadline = self._loop.time() + self._shared.limits.body_timeout_s
        if is_next and turn.expects_continue and self._transport is not None:
            turn.expects_continue = False
            self._transport.write(CONTINUE)

    def _refuse(self, error: FailureError) -> None:
        """Answer the request that is being read (or what is none) with ``error``, in its turn, and end."""
        turn = self._reader.body
        if turn is None:
            turn = Turn(None, is_last=True)
            http_log.refused(error)
        self._last(turn, self._shared.handler.failed(turn.request, error))

    def _last(self, turn: Turn, reply: Reply) -> None:
        """Queue a request that is answered already as this connection's last."""
        reader = self._reader
        self._shared.budget.release(reader.stop())
        turn.is_last, turn.connection, turn.reply = True, CLOSE, reply
        reader.turns.append(turn)
        self._is_deaf = True

    def _stop_reading(self) -> None:
        if self._transport is not None and not self._is_unread:
            self._is_unread = True
            self._transport.pause_reading()

    def _run(self) -> None:
        """Begin the requests that wait, as long as each is answered at once."""
        if self._is_running or self._transport is None:
            return
        turns = self._reader.turns
        self._is_running = True
        try:
            while turns and self._turn is None and not self._is_full:
                self._begin(turns.popleft())
        finally:
            self._is_running = False
        if self._turn is None and not self._is_full and self.deadline is NEVER:
            self._rest()

    def _rest(self) -> None:
        """Nothing is being answered: wait for the next request, or for the rest of its body."""
        limits, body, transport = self._shared.limits, self._reader.body, self._transport
        wait_s = limits.idle_timeout_s
        if body is not None:
            wait_s = limits.body_timeout_s
            self._await_body(body)
        self.deadline = self._loop.time() + wait_s
        if self._is_unread and transport is not None:
            self._is_unread = False
            transport.resume_reading()

    def _begin(self, turn: Turn) -> None:
        self._turn = turn
        self.deadline = NEVER
        if turn.reply is not None:
            self._write(turn, turn.reply)
        elif turn.coding:
            self._inflate(turn)
        else:
            self._hand_over(turn)

    def _hand_over(self, turn: Turn) -> None:
        cancel = self._shared.handler.begin(turn.request, self._answer)  # type: ignore[arg-type]  # has no reply yet
        if self._turn is turn:
            self._cancel = cancel

    def _inflate(self, turn: Turn) -> None:
        assert turn.request is not None
        work = partial(coding.inflate, turn.request.body, turn.coding, self._shared.limits.body_bytes)
        if len(turn.request.body) > ON_LOOP_BYTES:
            self._aside(turn, work, self._inflated)
            return
        try:
            self._inflated(turn, work())
        except FailureError as error:
            self._answer(self._shared.handler.failed(turn.request, error))

    def _inflated(self, turn: Turn, body: bytes) -> None:
        assert turn.request is not None
        self._shared.budget.charge(len(body))
        turn.held_bytes += len(body)
        turn.request.body = body
        self._hand_over(turn)

    def _aside(self, turn: Turn, work: Callable[[], T], then: Callable[[Turn, T], None]) -> None:
        """Run ``work`` in a thread, then ``then`` with its result here, unless the client has gone."""

        def finished(future: asyncio.Future[T]) -> None:
            if self._turn is not turn:
                return
            try:
                then(turn, future.result())
            except FailureError as error:
                self._write(turn, self._shared.handler.failed(turn.request, error))

        self._loop.run_in_executor(None, work).add_done_callback(finished)

    # Answers.

    def _answer(self, reply: Reply) -> None:
        """What the handler calls. After the first time, and when the client has gone, it does nothing."""
        turn = self._turn
        if turn is None or turn.is_answered:
            http1_stream.discard(reply)
            return
        least = self._shared.limits.compress_min_bytes
        chosen = coding.wanted(turn.request, reply, least) if least else ""
        if chosen:
            turn.is_answered = True
            self._aside(turn, partial(coding.compressed, reply, chosen), self._write)
        else:
            self._write(turn, reply)

    def _write(self, turn: Turn, reply: Reply) -> None:
        turn.is_answered = True
        transport, shared, body = self._transport, self._shared, reply.body
        if transport is None:
            http1_stream.discard(reply)
            return
        if shared.is_draining and not turn.is_last:
            turn.is_last, turn.connection = True, CLOSE
        if not isinstance(body, bytes | tuple):
            self._start_stream(turn, reply, body)
            return
        status = reply.status
        size = len(body) if isinstance(body, bytes) else sum(map(len, body))
        length = b"" if status in BODYLESS else b"Content-Length: %d\r\n" % size
        try:
            head = heads.render(status, reply.headers, b"%b%b%b\r\n" % (length, shared.date, turn.connection))
        except Exception as error:  # whatever is wrong with it, the client hears of it
            self._write(turn, shared.handler.failed(turn.request, error))
            return
        if not length or (turn.request is not None and turn.request.method == "HEAD"):
            transport.write(head)
        elif not isinstance(body, bytes):
            transport.writelines((head, *body))
        elif size <= JOIN_BYTES:
            transport.write(head + body)
        else:
            transport.writelines((head, body))
        self._ended(turn)

    def _start_stream(self, turn: Turn, reply: Reply, body: AsyncIterator[bytes]) -> None:
        framing = self._shared.date + turn.connection
        is_chunked = not turn.is_http10
        if is_chunked:
            framing += b"Transfer-Encoding: chunked\r\n"
        elif not turn.is_last:
            turn.is_last, framing = True, self._shared.date + CLOSE
        is_bodyless = reply.status in BODYLESS or (turn.request is not None and turn.request.method == "HEAD")

        def head() -> bytes:
            return heads.render(reply.status, reply.headers, framing + b"\r\n")

        stream = http1_stream.Stream(body, head, self._put, is_chunked, is_bodyless)
        task = self._loop.create_task(stream.run())
        self._cancel = task.cancel
        task.add_done_callback(partial(self._streamed, turn, stream))

    async def _put(self, data: bytes) -> None:
        """Write a part of a stream; returns when the client has room for more."""
        if self._transport is not None:
            self._transport.write(data)
        if self._is_full:
            self._room = self._loop.create_future()
            await self._room

    def _streamed(self, turn: Turn, stream: http1_stream.Stream, task: asyncio.Task[None]) -> None:
        if task.cancelled() or self._turn is not turn:
            return
        error = task.exception()
        if error is None:
            self._ended(turn)
        elif not stream.is_begun and isinstance(error, Exception):
            self._write(turn, self._shared.handler.failed(turn.request, error))
        else:  # the head is sent: another answer would land inside this one's body
            self._shared.handler.failed(
                turn.request, error if isinstance(error, Exception) else RuntimeError(str(error))
            )
            self.abort()

    def _ended(self, turn: Turn) -> None:
        shared = self._shared
        self._turn = self._cancel = None
        if turn.held_bytes:
            shared.budget.release(turn.held_bytes)
            turn.held_bytes = 0
        if turn.is_last:
            self._end()
        elif not self._is_running:
            if self._reader.turns:
                self._run()
            elif not self._is_full:
                self._rest()

    def _end(self) -> None:
        """The last answer is written. After a refusal the client may still be sending: let it read first."""
        transport = self._transport
        if transport is None:
            return
        is_lingering, self._is_deaf = self._is_deaf, True
        self._shared.budget.release(self._reader.close())
        self.deadline = self._loop.time() + (
            self._shared.limits.linger_s if is_lingering else self._shared.limits.body_timeout_s
        )
        if is_lingering and transport.can_write_eof():
            transport.write_eof()
            if self._is_unread:
                self._is_unread = False
                transport.resume_reading()
        else:
            transport.close()
