"""Read one request body under three bounds: its own size, all bodies held together, and time.

Called by ``http_edge`` before a codec sees anything. The size counts decompressed bytes (aiohttp inflates in small
steps), so a compression bomb stops at the bound. The shared budget is charged as bytes arrive and given back when
the request ends, because 256 waiting requests of 64 MiB would not fit.

Invariant: bytes held by all requests never exceed ``max_buffered_bytes`` plus one read of each connection.
"""

from __future__ import annotations

import asyncio
from types import TracebackType

from aiohttp import ClientPayloadError, HttpVersion11, web

from wakeful.core.errors import FailureError, FailureKind, InvalidError

ENCODINGS = frozenset({"", "identity", "gzip", "deflate"})
"""What aiohttp inflates without other packages; ``br`` and ``zstd`` it refuses itself (400)."""


class BodyTooLargeError(InvalidError):
    """413: the body is over the limit."""


class BodyTimeoutError(InvalidError):
    """408: the client sent its body too slowly."""


class EncodingError(InvalidError):
    """415: the body is compressed in a way this server does not know."""


class ExpectationError(InvalidError):
    """417: the client wants to be promised something other than to be heard."""


class Budget:
    """Bytes that all requests together may hold."""

    def __init__(self, max_bytes: int, max_body_bytes: int, timeout_s: float) -> None:
        self.max_bytes = max_bytes
        self.max_body_bytes = max_body_bytes
        self.timeout_s = timeout_s
        self.held_bytes = 0

    def lease(self) -> Lease:
        return Lease(self)


class Lease:
    """One request's part of the budget; a context manager."""

    __slots__ = ("_budget", "_bytes")

    def __init__(self, budget: Budget) -> None:
        self._budget = budget
        self._bytes = 0

    def __enter__(self) -> Lease:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._budget.held_bytes -= self._bytes

    async def read(self, request: web.BaseRequest) -> bytes:
        """The whole body. Raises ``FailureError``: too large, too slow, broken, or no memory left (overloaded)."""
        limit = self._budget.max_body_bytes
        if request.content_length is not None and request.content_length > limit:
            raise _too_large(limit)
        encoding = request.headers.get("Content-Encoding", "").strip().lower()
        if encoding not in ENCODINGS:
            raise EncodingError(f"Content-Encoding {encoding[:40]!r}: send gzip, deflate or none")
        await _answer_expectation(request)
        try:
            async with asyncio.timeout(self._budget.timeout_s):
                return await self._read(request, limit)
        except TimeoutError as error:
            raise BodyTimeoutError(
                f"the request body did not arrive within {self._budget.timeout_s:g} s"
            ) from error
        except (ClientPayloadError, web.RequestPayloadError) as error:
            raise InvalidError(f"the request body cannot be read: {_first_line(error)}") from error

    async def _read(self, request: web.BaseRequest, limit: int) -> bytes:
        chunks: list[bytes] = []
        size = 0
        while True:
            chunk = await request.content.readany()
            if not chunk:
                break
            size += len(chunk)
            if size > limit:
                raise _too_large(limit)
            self._charge(len(chunk))
            chunks.append(chunk)
        return chunks[0] if len(chunks) == 1 else b"".join(chunks)

    def _charge(self, count: int) -> None:
        budget = self._budget
        if budget.held_bytes + count > budget.max_bytes:
            raise FailureError(
                FailureKind.OVERLOADED,
                f"request bodies already hold {budget.held_bytes} bytes, the limit is {budget.max_bytes}: try again later",
            )
        budget.held_bytes += count
        self._bytes += count


async def _answer_expectation(request: web.BaseRequest) -> None:
    """Say ``100 Continue`` to a client that waits for it (curl does, before bodies of 1 MiB and more)."""
    expectation = request.headers.get("Expect")
    if expectation is None or request.version != HttpVersion11:
        return
    if expectation.strip().lower() != "100-continue":
        raise ExpectationError(f"Expect: {expectation[:40]} is not known: only 100-continue is")
    if request.transport is not None:
        request.transport.write(b"HTTP/1.1 100 Continue\r\n\r\n")


def _too_large(limit: int) -> BodyTooLargeError:
    return BodyTooLargeError(
        f"the request body is larger than {limit} bytes: send less, or start the server with --max_body_bytes"
    )


def _first_line(error: Exception) -> str:
    return (str(error).splitlines() or [type(error).__name__])[0][:200]
