"""Receiving request bodies with bounds: size of one, sum of all, number at once, and time.

Used by the ingress. The limit counts decoded bytes, so a compressed bomb ends at the limit too.
Invariant: the sum of the bodies held never passes ``max_buffered_bytes`` by more than one chunk a request.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from aiohttp import web
from aiohttp.http_exceptions import HttpProcessingError


class BodyError(Exception):
    """A body that is not taken: HTTP status and one sentence."""

    def __init__(self, status: int, message: str, retry_after_s: int = 0) -> None:
        super().__init__(message)
        self.status = status
        self.retry_after_s = retry_after_s


class Bodies:
    """The bounds and what is in use of them. Single event loop."""

    def __init__(
        self, max_body_bytes: int, max_buffered_bytes: int, max_requests: int, timeout_s: float
    ) -> None:
        self.max_body_bytes = max_body_bytes
        self._max_buffered_bytes = max_buffered_bytes
        self._max_requests = max_requests
        self._timeout_s = timeout_s
        self._buffered_bytes = 0
        self._requests = 0

    @asynccontextmanager
    async def receive(self, request: web.BaseRequest) -> AsyncIterator[bytes]:
        """The whole body; its bytes count as buffered until the context ends. Raises ``BodyError``."""
        if request.content_length is not None and request.content_length > self.max_body_bytes:
            raise self._too_large()
        if self._requests >= self._max_requests:
            raise BodyError(503, f"{self._requests} events are being received: try again", 1)
        self._requests += 1
        body = bytearray()
        try:
            async with asyncio.timeout(self._timeout_s):
                await self._read(request, body)
            yield bytes(body)
        except TimeoutError:
            raise BodyError(408, f"the body did not arrive within {self._timeout_s:g} s") from None
        except ConnectionError:  # nobody is there to read the answer
            raise BodyError(400, "the producer went away before its body was complete") from None
        except (web.RequestPayloadError, HttpProcessingError) as error:
            raise BodyError(400, f"the body is not readable: {error}") from error
        finally:
            self._requests -= 1
            self._buffered_bytes -= len(body)

    async def _read(self, request: web.BaseRequest, body: bytearray) -> None:
        if request.headers.get("Expect", "").lower() == "100-continue" and request.transport is not None:
            request.transport.write(b"HTTP/1.1 100 Continue\r\n\r\n")
        async for chunk in request.content.iter_any():
            body += chunk
            self._buffered_bytes += len(chunk)
            if len(body) > self.max_body_bytes:
                raise self._too_large()
            if self._buffered_bytes > self._max_buffered_bytes:
                raise BodyError(503, "too many bytes of events are being received: try again", 1)

    def _too_large(self) -> BodyError:
        return BodyError(413, f"the event is larger than {self.max_body_bytes} bytes")
