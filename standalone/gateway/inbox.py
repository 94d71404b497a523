"""A body on its way through: bytes come in by ``feed``, one reader takes them by ``read``, and nobody buffers all of it.

Used for request bodies (fed by a front) and response bodies (fed by a pod's connection). The feeder looks at
``buffered`` to stop reading its socket, and learns through ``on_read`` that there is room again.

Invariant: ``read`` returns every byte once and in order, then ``b""``; after ``fail`` it raises the error instead,
once what came before has been read. The first outcome (end or failure) stands.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable

Headers = list[tuple[bytes, bytes]]
"""Names in lower case, in order, repeated where they were repeated."""


class BodyError(Exception):
    """The body will not come to its end: the peer is gone or broke the protocol."""


def _ignore(_: int) -> None:
    pass


class Inbox:
    """One body. Single event loop, one reader."""

    __slots__ = ("_chunks", "_error", "_waiter", "buffered", "is_ended", "on_read", "total", "trailers")

    def __init__(self, on_read: Callable[[int], None] = _ignore) -> None:
        self._chunks: deque[bytes] = deque()
        self._waiter: asyncio.Future[None] | None = None
        self._error: BaseException | None = None
        self.on_read = on_read
        """Called with the number of bytes taken by each read."""
        self.buffered = 0
        self.total = 0
        """Bytes fed so far."""
        self.is_ended = False
        self.trailers: Headers = []

    def feed(self, data: bytes) -> None:
        """More bytes. Ignored after the end or a failure."""
        if self.is_ended or self._error is not None:
            return
        self._chunks.append(data)
        size = len(data)
        self.buffered += size
        self.total += size
        self._wake()

    def end(self) -> None:
        """The body is complete (``trailers`` too)."""
        if self._error is None:
            self.is_ended = True
            self._wake()

    def fail(self, error: BaseException) -> None:
        """The rest will not come."""
        if not self.is_ended and self._error is None:
            self._error = error
            self._wake()

    @property
    def is_settled(self) -> bool:
        """Ended or failed: nothing more will be fed."""
        return self.is_ended or self._error is not None

    @property
    def has_data(self) -> bool:
        """A ``read`` would not wait."""
        return bool(self._chunks) or self.is_settled

    @property
    def is_awaited(self) -> bool:
        """The reader waits for bytes now."""
        return self._waiter is not None

    def take(self) -> bytes:
        """What is there now, without waiting."""
        if len(self._chunks) == 1:
            data = self._chunks.popleft()
        else:
            data = b"".join(self._chunks)
            self._chunks.clear()
        self.buffered = 0
        if data:
            self.on_read(len(data))
        return data

    async def read(self) -> bytes:
        """All that is there, waiting for at least one byte; ``b""`` at the end. Raises what ``fail`` was given."""
        while not self._chunks:
            if self.is_ended:
                return b""
            if self._error is not None:
                raise self._error
            self._waiter = asyncio.get_running_loop().create_future()
            await self._waiter
        return self.take()

    def _wake(self) -> None:
        waiter, self._waiter = self._waiter, None
        if waiter is not None and not waiter.done():
            waiter.set_result(None)
