"""A streamed answer: parts from an iterator to the socket, each as it comes, no faster than the client reads.

Run by ``http1`` as one task an answer. The head goes out with the first part, so that a stream that fails before it has
said anything is answered with the right status; one that fails later is cut off, which the client notices because the
last chunk is missing.

Invariant: the iterator is closed whether it ended, failed, or the task was cancelled.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable

from wakeful.serving.exchange import Reply

LAST_CHUNK = b"0\r\n\r\n"

_closing: set[asyncio.Task[None]] = set()


def discard(reply: Reply) -> None:
    """Close the body of a reply that nobody will read."""
    if not isinstance(reply.body, bytes | tuple):
        task = asyncio.get_running_loop().create_task(_close(reply.body))
        _closing.add(task)
        task.add_done_callback(_closing.discard)


async def _close(body: AsyncIterator[bytes]) -> None:
    close = getattr(body, "aclose", None)
    if close is not None:
        await close()


class Stream:
    """One answer. ``put`` writes and waits for room; ``head`` makes the head."""

    def __init__(
        self,
        body: AsyncIterator[bytes],
        head: Callable[[], bytes],
        put: Callable[[bytes], Awaitable[None]],
        is_chunked: bool,
        is_bodyless: bool,
    ) -> None:
        self._body = body
        self._head = head
        self._put = put
        self._is_chunked = is_chunked
        self._is_bodyless = is_bodyless
        self.is_begun = False
        """Whether the head is written."""

    async def run(self) -> None:
        """Write all of it. Raises what the iterator raises."""
        try:
            if not self._is_bodyless:
                async for part in self._body:
                    if part:
                        await self._part(part)
            end = LAST_CHUNK if self._is_chunked and not self._is_bodyless else b""
            await self._put(end if self.is_begun else self._begin() + end)
        finally:
            await _close(self._body)

    async def _part(self, part: bytes) -> None:
        data = b"%x\r\n%b\r\n" % (len(part), part) if self._is_chunked else part
        await self._put(data if self.is_begun else self._begin() + data)

    def _begin(self) -> bytes:
        head = self._head()
        self.is_begun = True
        return head
