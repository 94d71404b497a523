"""HTTP/1.1 on asyncio: parses requests with httptools, answers with complete bytes or chunked streams.

One ``Connection`` per socket, made by ``server``; ``dispatch`` is ``routes.Router.dispatch``. Written for this server
because aiohttp's own costs more than the whole rest of a get (docs/decisions/0010). Left out: TLS (asyncio's),
HTTP/2 (clients fall back), trailers, upgrades.

Invariants: answers leave in the order of their requests; what one connection may hold in memory is bounded (head,
body, queue of pipelined requests, bytes not yet read by the peer).
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Awaitable, Callable
from http import HTTPStatus
from typing import cast

from standalone.apiserver import errors
from standalone.apiserver.server_reader import RequestReader
from standalone.apiserver.server_types import Request, Response, Stream, error_response, frame
from wakeful.kit import logs

Answer = Response | Stream
Dispatch = Callable[[Request], Answer | Awaitable[Answer]]

MAX_PIPELINED = 32
REQUEST_S = 30.0
"""A request must arrive completely within this."""
STALLED_S = 60.0
"""A peer that reads nothing of a waiting answer for this long is cut off."""
IDLE_S = 600.0
MAX_WARNINGS = 40
MAX_WARNING_BYTES = 8 * 1024
_PHRASES = {status.value: status.phrase for status in HTTPStatus}
_log = logs.get("apiserver.http")


class Connection(asyncio.Protocol):
    """One client connection."""

    def __init__(self, dispatch: Dispatch, connections: set[Connection]) -> None:
        self._dispatch = dispatch
        self._connections = connections
        self._reader = RequestReader(self._begin, self._continue, self._take)
        self._transport: asyncio.Transport | None = None
        self._waiting: deque[Request] = deque()
        self._task: asyncio.Task[None] | None = None
        self._end_stream: Callable[[], None] | None = None
        self._is_busy = False
        self._is_paused = False
        self._is_closing = False
        self._refusal: Response | None = None
        """The answer to bytes that are no request: it goes last, and nothing is read after them."""
        self._since = asyncio.get_running_loop().time()

    # -- asyncio's callbacks

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.Transport, transport)
        self._connections.add(self)

    def connection_lost(self, exc: Exception | None) -> None:
        self._connections.discard(self)
        self._transport = None
        self._waiting.clear()
        if self._end_stream is not None:
            end, self._end_stream = self._end_stream, None
            end()
        if self._task is not None:
            self._task.cancel()

    def data_received(self, data: bytes) -> None:
        if self._refusal is not None:
            return
        try:
            self._reader.feed(data)
        except errors.StatusError as error:
            self._refuse(error)

    def _begin(self) -> None:
        self._since = asyncio.get_running_loop().time()

    def _continue(self) -> None:
        if self._transport is not None:
            self._transport.write(b"HTTP/1.1 100 Continue\r\n\r\n")

    def pause_writing(self) -> None:
        self._is_paused = True
        self._since = asyncio.get_running_loop().time()

    def resume_writing(self) -> None:
        self._is_paused = False
        self._next()

    def _take(self, request: Request, keeps_alive: bool) -> None:
        """The reader's callback: a request is complete."""
        self._is_closing = self._is_closing or not keeps_alive
        self._waiting.append(request)
        if len(self._waiting) > MAX_PIPELINED and self._transport is not None:
            self._transport.pause_reading()
        self._next()

    # -- answering

    def _next(self) -> None:
        while self._waiting and not self._is_busy and not self._is_paused and self._transport is not None:
            request = self._waiting.popleft()
            if len(self._waiting) == MAX_PIPELINED:
                self._transport.resume_reading()
            self._is_busy = True
            try:
                answer = self._dispatch(request)
            except Exception as error:  # every fault of a handler becomes an answer
                answer = _failure(request, error)
            if isinstance(answer, Response):
                self._send(request, answer)
            elif isinstance(answer, Stream):
                self._start(request, answer)
            else:
                self._task = asyncio.ensure_future(self._await(request, answer))

    async def _await(self, request: Request, pending: Awaitable[Answer]) -> None:
        answer: Answer
        try:
            answer = await pending
        except Exception as error:  # every fault of a handler becomes an answer
            answer = _failure(request, error)
        self._task = None
        if isinstance(answer, Response):
            self._send(request, answer)
        else:
            self._start(request, answer)
        self._next()

    def _send(self, request: Request, response: Response) -> None:
        if self._transport is not None:
            body = b"" if request.method == "HEAD" else response.body
            head = _head(response.status, response.content_type, response.headers, request.warnings)
            close = "Connection: close\r\n" if self._is_closing and not self._waiting else ""
            # A 304 describes the answer that the client has: a length of 0 would empty it in a cache.
            length = "" if response.status == 304 else f"Content-Length: {len(response.body)}\r\n"
            self._transport.write(f"{head}{close}{length}\r\n".encode() + body)
        self._finish()

    def _start(self, request: Request, stream: Stream) -> None:
        if self._transport is None:
            return
        if self._refusal is not None:
            self.abort()
            return
        head = _head(200, stream.content_type, (), request.warnings)
        self._transport.write(f"{head}Transfer-Encoding: chunked\r\n\r\n".encode())
        end = stream.start(self)
        if self._is_busy:
            self._end_stream = end
        else:
            end()

    def _finish(self) -> None:
        self._is_busy = False
        self._since = asyncio.get_running_loop().time()
        if self._refusal is not None and not self._waiting and not self._is_closing:
            self._is_closing = True
            self._send(Request("", "", "", {}, b""), self._refusal)
        elif self._is_closing and not self._waiting and self._transport is not None:
            self._transport.close()

    def _refuse(self, error: errors.StatusError) -> None:
        """Answer a request that cannot be read, and end the connection: its rest has no meaning.

        What came whole before it is answered first: a write under way must not be cut off by the junk behind it. A
        stream would never end, so it is cut.
        """
        self._refusal = error_response(error)
        if self._end_stream is not None:
            self.abort()
        elif not self._is_busy and not self._waiting:
            self._finish()

    # -- Sink

    def write(self, data: bytes) -> None:
        self.write_framed(frame(data))

    def write_framed(self, chunk: bytes) -> None:
        if self._transport is not None and self._is_busy:
            self._transport.write(chunk)

    def waiting_bytes(self) -> int:
        return self._transport.get_write_buffer_size() if self._transport is not None else 0

    def close(self) -> None:
        if self._transport is None or not self._is_busy:
            return
        self._transport.write(b"0\r\n\r\n")
        self._end_stream = None
        self._finish()
        self._next()

    def abort(self) -> None:
        if self._transport is not None:
            self._transport.abort()

    def sweep(self, now: float) -> None:
        """Cut the connection when its peer takes too long. Called every few seconds with the loop's time."""
        waited_s = now - self._since
        is_stalled = self._is_paused and waited_s > STALLED_S
        is_slow = self._reader.is_receiving and not self._is_busy and waited_s > REQUEST_S
        is_idle = not self._is_busy and not self._reader.is_receiving and waited_s > IDLE_S
        if is_stalled or is_slow or is_idle:
            self.abort()

    def shut(self) -> None:
        """End an idle connection or a stream now, a running request after its answer."""
        self._is_closing = True
        if self._end_stream is not None:
            end = self._end_stream
            self.close()
            end()
        elif not self._is_busy and self._transport is not None:
            self._transport.close()


def _head(status: int, content_type: str, headers: tuple[tuple[str, str], ...], warnings: list[str]) -> str:
    head = f"HTTP/1.1 {status} {_PHRASES.get(status, '')}\r\nContent-Type: {content_type}\r\n"
    for name, value in headers:
        head += f"{name}: {value}\r\n"
    if warnings:
        head += _warnings(warnings)
    return head


def _warnings(warnings: list[str]) -> str:
    """As many as fit: clients refuse heads of more than a hundred lines or some tens of kilobytes."""
    shown = ""
    for index, warning in enumerate(warnings):
        if len(shown) > MAX_WARNING_BYTES or index == MAX_WARNINGS:
            return f'{shown}Warning: 299 - "and {len(warnings) - index} more warnings"\r\n'
        shown += f'Warning: 299 - "{_quoted(warning)}"\r\n'
    return shown


def _quoted(text: str) -> str:
    clean = "".join(char if char.isprintable() else " " for char in text[:2000])
    return clean.replace("\\", "\\\\").replace('"', '\\"')


def _failure(request: Request, error: Exception) -> Response:
    if isinstance(error, errors.StatusError):
        return error_response(error)
    _log.error("handler failed", method=request.method, path=request.path, error=repr(error))
    return error_response(errors.internal(f"{type(error).__name__}: {error}"))
