"""One REST request on an HTTP/2 stream: as ``http1`` does it, with the connection's windows for back-pressure.

Made by ``http2``. The body is collected under the budget and the limit, inflated, and handed to the handler as a
``Request``; the reply goes out whole or in parts. A refusal waits for the end of a body that is within the limit, and drops
it: to curl the reset that follows an early answer is a failure, and httpx reads no answer before it has sent all. Left out:
routes and protocols (the handler's).

Invariant: exactly one answer a request; the handler's work ends when the client has gone; the budget gets everything
back.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from functools import partial

from wakeful.core.errors import FailureError
from wakeful.kit.http2 import frames, heads
from wakeful.kit.http2.connection import Connection
from wakeful.kit.http2.frames import Code
from wakeful.kit.http2.heads import Fields, RequestHead
from wakeful.kit.http2.stream import Buffer, Stream
from wakeful.serving.exchange import Cancel, Headers, Reply, Request
from wakeful.serving.http_body import BodyTimeoutError, BodyTooLargeError, ExpectationError, HeadTooLargeError
from wakeful.serving.wire import authority, coding
from wakeful.serving.wire.connections import Connections
from wakeful.serving.wire.heads import FRAMING

ON_LOOP_BYTES = 64 * 1024
"""Compressed bodies up to this size are inflated on the loop."""
CONTINUE = heads.encode([(":status", "100")])


class RestStream(Stream):
    """One request and its answer."""

    __slots__ = (
        "_body",
        "_cancel",
        "_coding",
        "_dropped",
        "_held",
        "_is_answered",
        "_refusal",
        "_request",
        "_shared",
        "_task",
        "_writable",
    )

    def __init__(self, connection: Connection, number: int, head: RequestHead, shared: Connections) -> None:
        super().__init__(connection, number, head)
        self._shared = shared
        self._request = Request(
            head.method, head.target, Headers(head.fields), b"", "http/2", connection.peer
        )
        self._body: bytearray | None = None
        self._held = 0
        self._cancel: Cancel | None = None
        self._coding = ""
        self._is_answered = False
        self._refusal: Reply | None = None
        self._dropped = 0
        self._task: asyncio.Task[None] | None = None
        self._writable: asyncio.Future[None] | None = None
        self._screen()

    def _screen(self) -> None:
        """Refuse at once what no body could make right."""
        head, shared = self.head, self._shared
        try:
            if head.is_too_large or len(head.fields) > shared.limits.headers:
                raise HeadTooLargeError("the request's headers are larger than this server takes")
            authority.check(head.authority)
            self._coding = coding.known(self._request.headers)
            expectation = self._request.headers.first.get("expect", "")
            if expectation.strip().lower() not in ("", "100-continue"):
                raise ExpectationError(f"Expect: {expectation[:40]} is not known: only 100-continue is")
            if (head.content_length or 0) > shared.limits.body_bytes:
                raise BodyTooLargeError(shared.limits.body_bytes)
        except FailureError as error:
            self._fail(error)
            return
        if head.content_length != 0 and head.method not in ("GET", "HEAD"):
            reply = shared.handler.screen(self._request)
            if reply is not None:
                self._refuse(reply)
                return
        if expectation:
            size = self.connection.peer_frame_bytes
            self.connection.send(frames.headers(self.number, CONTINUE, is_last=False, frame_bytes=size))

    # ---- in

    def on_data(self, data: Buffer) -> None:
        if self._is_answered:
            self._dropped += len(data)
            self.consumed(len(data))
            if self._dropped > self._shared.limits.body_bytes:
                self._refused()
            return
        try:
            if self._held + len(data) > self._shared.limits.body_bytes:
                raise BodyTooLargeError(self._shared.limits.body_bytes)
            self._charge(len(data))
        except FailureError as error:
            self.consumed(len(data))
            self._fail(error)
            return
        if self._body is None:
            self._body = bytearray()
        self._body += data
        self.consumed(len(data))

    def on_end(self, trailers: Fields) -> None:
        if self._is_answered:
            self._refused()
            return
        body = bytes(self._body) if self._body is not None else b""
        self._body = None
        self._request.body = body
        if not self._coding:
            self._hand_over()
            return
        work = partial(coding.inflate, body, self._coding, self._shared.limits.body_bytes)
        if len(body) > ON_LOOP_BYTES:
            loop = asyncio.get_running_loop()
            loop.run_in_executor(None, work).add_done_callback(self._inflated_aside)
            return
        try:
            self._inflated(work())
        except FailureError as error:
            self._fail(error)

    def _inflated_aside(self, future: asyncio.Future[bytes]) -> None:
        if self.is_sent or future.cancelled():
            return
        try:
            self._inflated(future.result())
        except FailureError as error:
            self._fail(error)

    def _inflated(self, body: bytes) -> None:
        self._charge(len(body))
        self._request.body = body
        self._hand_over()

    def _hand_over(self) -> None:
        cancel = self._shared.handler.begin(self._request, self._answer)
        if not self._is_answered:
            self._cancel = cancel

    def _charge(self, size: int) -> None:
        self._shared.budget.charge(size)
        self._held += size

    def on_lost(self, code: int) -> None:
        if self._writable is not None and not self._writable.done():
            self._writable.set_result(None)
        cancel, self._cancel = self._cancel, None
        if self._task is not None:
            self._task.cancel()
        elif cancel is not None:
            cancel()
        self._release()

    def _release(self) -> None:
        held, self._held = self._held, 0
        if held:
            self._shared.budget.release(held)

    def on_leaving(self, *, is_late: bool) -> None:
        self._refused()
        if is_late and not self._is_answered:
            limit_s = self._shared.limits.body_timeout_s
            error = BodyTimeoutError(f"the request body did not arrive within {limit_s:g} s")
            self._write(self._shared.handler.failed(self._request, error))

    # ---- out

    def _fail(self, error: Exception) -> None:
        self._refuse(self._shared.handler.failed(self._request, error))

    def _refuse(self, reply: Reply) -> None:
        """Answer a request whose body may not have come: once it has, or at once where that would be long or never."""
        is_awaited = "expect" in self._request.headers.first
        if self.is_received or is_awaited or (self.expected_bytes or 0) > self._shared.limits.body_bytes:
            self._write(reply)
            return
        self._is_answered, self._refusal, self._body = True, reply, None
        self._release()

    def _refused(self) -> None:
        reply, self._refusal = self._refusal, None
        if reply is not None and not self.is_sent:
            self._write(reply)

    def _answer(self, reply: Reply) -> None:
        if self._is_answered or self.is_sent:
            return
        least = self._shared.limits.compress_min_bytes
        chosen = coding.wanted(self._request, reply, least) if least else ""
        if chosen:
            self._is_answered = True
            work = partial(coding.compressed, reply, chosen)
            asyncio.get_running_loop().run_in_executor(None, work).add_done_callback(self._compressed_aside)
        else:
            self._write(reply)

    def _compressed_aside(self, future: asyncio.Future[Reply]) -> None:
        if not (self.is_sent or future.cancelled()):
            self._write(future.result())

    def _write(self, reply: Reply) -> None:
        self._is_answered = True
        body = reply.body
        if isinstance(body, bytes):
            parts: tuple[Buffer, ...] = (body,)
        elif isinstance(body, tuple):
            parts = body
        else:
            self._task = asyncio.get_running_loop().create_task(self._stream(reply, body))
            self._cancel = None
            return
        size = sum(map(len, parts))
        is_head = self.head.method == "HEAD"
        self.start(self._block(reply, size), is_last=is_head or not size)
        if size and not is_head:
            for part in parts:
                self.write(part)
            self.finish()
        self._release()

    async def _stream(self, reply: Reply, body: AsyncIterator[bytes]) -> None:
        """Parts as they come, no faster than the client reads; a failure before the first is answered with its status."""
        is_begun = False
        try:
            async for part in body:
                if not part:
                    continue
                if not is_begun:
                    is_begun = True
                    self.start(self._block(reply, None))
                self.write(part)
                while self.is_congested and not self.is_sent:
                    self._writable = asyncio.get_running_loop().create_future()
                    await self._writable
        except Exception as error:
            failed = self._shared.handler.failed(self._request, error)
            if is_begun:  # the head is sent: only a reset says that this is not the end
                self.reset(Code.INTERNAL_ERROR)
                self._release()
            else:
                self._write(failed)
            return
        finally:
            close = getattr(body, "aclose", None)
            if close is not None:
                await close()
        if not is_begun:
            self.start(self._block(reply, None))
        self.finish()
        self._release()

    def on_writable(self) -> None:
        if self._writable is not None and not self._writable.done():
            self._writable.set_result(None)

    def _block(self, reply: Reply, size: int | None) -> bytes:
        """The header block of a reply; framing is the wire's."""
        fields = [(":status", str(reply.status)), ("server", "wakeful"), ("date", self._shared.now)]
        for name, value in reply.headers.items():
            key = name.lower()
            if key not in FRAMING and heads.is_name(key):
                fields.append((key, " ".join(str(value).split("\n")).replace("\r", " ").replace("\0", "")))
        if size is not None and reply.status not in (204, 304):
            fields.append(("content-length", str(size)))
        return heads.encode(fields)
