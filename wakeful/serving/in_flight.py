"""How many inference requests are being answered, and when the last one left: what the drain waits for.

Kept by ``http_edge`` for every protocol's requests; a streamed answer is in flight until its last part.

Invariant: ``enter`` and ``leave`` come in pairs, whether a request is answered, fails, or its client goes away.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable

from wakeful.core.errors import FailureError, FailureKind


class InFlight:
    """A count on the event loop. ``limit`` is how many may be answered at once; 0: the data plane's bounds alone."""

    def __init__(self, limit: int = 0) -> None:
        self.count = 0
        self.rejected = 0
        """Requests over the limit so far."""
        self.limit = limit
        self._is_watched = False
        self._last_at = 0.0
        self._idle = asyncio.Event()

    def enter(self) -> None:
        """A request has come."""
        self.count += 1

    def check(self) -> None:
        """Asked after ``enter``: whether the request is within the limit. Raises ``FailureError`` (overloaded)."""
        if self.limit and self.count > self.limit:
            self.rejected += 1
            raise FailureError(
                FailureKind.OVERLOADED,
                f"{self.limit} requests are being answered, which is the limit (--max_concurrency): try again later",
                1.0,
            )

    def leave(self) -> None:
        """A request has been answered or given up."""
        self.count -= 1
        if self._is_watched and self.count == 0:
            self._last_at = asyncio.get_running_loop().time()
            self._idle.set()

    async def quiet(self, quiet_s: float) -> None:
        """Return when no request has been here for ``quiet_s``: nobody sends any more."""
        loop = asyncio.get_running_loop()
        self._is_watched = True
        self._last_at = loop.time()
        while True:
            while self.count:
                self._idle.clear()
                await self._idle.wait()
            left_s = self._last_at + quiet_s - loop.time()
            if left_s <= 0:
                return
            await asyncio.sleep(left_s)


class Watched:
    """A streamed body that says when it has ended. A class: a generator that never began would not say so."""

    __slots__ = ("_body", "_on_end")

    def __init__(self, body: AsyncIterator[bytes], on_end: Callable[[], object]) -> None:
        self._body = body
        self._on_end: Callable[[], object] | None = on_end

    def __aiter__(self) -> Watched:
        return self

    async def __anext__(self) -> bytes:
        return await anext(self._body)

    async def aclose(self) -> None:
        """Close the body; ``on_end`` is called once."""
        on_end, self._on_end = self._on_end, None
        try:
            close = getattr(self._body, "aclose", None)
            if close is not None:
                await close()
        finally:
            if on_end is not None:
                on_end()
