"""One stream of events from vLLM over its unix socket, with as little as possible between the socket and the reader.

Made by ``upstream`` for every streamed call; read by ``openai_stream.Relay``. A connection of its own for each stream, a
protocol on httptools, and one wake-up of the reader however many events have come: with aiohttp's client and two
generators in between a token cost twice the CPU time (docs/decisions/0113). Whole answers, health and metrics stay with aiohttp.

Invariants: a reader gets whole events; when it does not read, neither does the socket (``HELD_BYTES``); ``aclose``
closes the connection, by which vLLM ends the generation.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import cast

import httptools

from wakeful.core.errors import FailureError, FailureKind

DONE = b"data: [DONE]\n\n"
END = b"\n\n"
MAX_EVENT_BYTES = 16 * 1024 * 1024
MAX_ERROR_BYTES = 64 * 1024
HELD_BYTES = 256 * 1024


class EventStream(asyncio.Protocol):
    """An async iterator of events, several at once where they came so; without ``[DONE]``."""

    def __init__(
        self, socket: str, path: str, body: bytes, failure: Callable[[int, bytes], FailureError]
    ) -> None:
        self._socket = socket
        self._request = (
            b"POST %b HTTP/1.1\r\nHost: vllm\r\nContent-Type: application/json\r\nConnection: close\r\n"
            b"Content-Length: %d\r\n\r\n%b" % (path.encode(), len(body), body)
        )
        self._failure = failure
        self._parser = httptools.HttpResponseParser(self)
        self._transport: asyncio.Transport | None = None
        self._status = 0
        self._ready: list[bytes] = []
        self._ready_bytes = 0
        self._tail = b""
        """The beginning of an event whose end has not come; of a refusal, all of it so far."""
        self._error: FailureError | None = None
        self._is_done = False
        self._is_paused = False
        self._waiter: asyncio.Future[None] | None = None

    # What the reader calls.

    def __aiter__(self) -> EventStream:
        return self

    async def __anext__(self) -> bytes:
        """The next events. Raises ``FailureError``."""
        if self._transport is None and self._request:
            await self._open()
        while not self._ready:
            if self._error is not None:
                raise self._error
            if self._is_done:
                raise StopAsyncIteration
            self._waiter = asyncio.get_running_loop().create_future()
            await self._waiter
        ready = self._ready
        self._ready = []
        self._ready_bytes = 0
        if self._is_paused and self._transport is not None:
            self._is_paused = False
            self._transport.resume_reading()
        return ready[0] if len(ready) == 1 else b"".join(ready)

    async def aclose(self) -> None:
        """Leave: the connection closes at once."""
        self._is_done = True
        self._request = b""
        if self._transport is not None:
            self._transport.abort()
            self._transport = None

    async def _open(self) -> None:
        request, self._request = self._request, b""
        try:
            await asyncio.get_running_loop().create_unix_connection(lambda: self, self._socket)
        except OSError as error:
            raise FailureError(
                FailureKind.UNAVAILABLE, f"vLLM cannot be reached ({error.strerror})"
            ) from error
        assert self._transport is not None
        self._transport.write(request)

    # What the loop calls.

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.Transport, transport)

    def data_received(self, data: bytes) -> None:
        try:
            self._parser.feed_data(data)
        except httptools.HttpParserError as error:
            self._end(FailureError(FailureKind.INTERNAL, f"vLLM's answer is not HTTP: {error}"))
        if self._ready_bytes > HELD_BYTES and self._transport is not None and not self._is_paused:
            self._is_paused = True
            self._transport.pause_reading()
        self._wake()

    def connection_lost(self, error: Exception | None) -> None:
        self._transport = None
        self._end(FailureError(FailureKind.UNAVAILABLE, "vLLM ended the stream before its last event"))
        self._wake()

    # What the parser calls.

    def on_headers_complete(self) -> None:
        self._status = self._parser.get_status_code()

    def on_body(self, body: bytes) -> None:
        data = self._tail + body if self._tail else body
        if self._status != 200:
            self._tail = data[:MAX_ERROR_BYTES]
            return
        if data.endswith(END):
            self._tail = b""
        else:
            cut = data.rfind(END) + len(END)
            if cut < len(END):
                cut = 0
            data, self._tail = data[:cut], data[cut:]
            if len(self._tail) > MAX_EVENT_BYTES:
                self._end(FailureError(FailureKind.INTERNAL, "vLLM sent an event without an end"))
        if data.endswith(DONE):
            data = data[: -len(DONE)]
            self._is_done = True
        if data:
            self._ready.append(data)
            self._ready_bytes += len(data)

    def on_message_complete(self) -> None:
        if self._status != 200:
            self._end(self._failure(self._status, self._tail))

    def _end(self, error: FailureError) -> None:
        if not self._is_done and self._error is None:
            self._error = error

    def _wake(self) -> None:
        waiter, self._waiter = self._waiter, None
        if waiter is not None and not waiter.done() and (self._ready or self._is_done or self._error):
            waiter.set_result(None)
        else:
            self._waiter = waiter
