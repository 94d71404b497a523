"""Writing to one TCP connection with back-pressure: what both HTTP/1 sides share.

asyncio calls ``pause_writing`` when the transport's buffer passes its high mark; until ``resume_writing`` the
connection is congested and ``drained`` waits. Invariant: a connection that is lost wakes everybody who waits on it.
"""

from __future__ import annotations

import asyncio

from standalone.gateway.inbox import BodyError


class Outgoing(asyncio.Protocol):
    """A protocol that knows whether its peer keeps up."""

    transport: asyncio.Transport
    is_lost = False
    _paused_writing = False
    _drain_waiters: list[asyncio.Future[None]]

    def __init__(self) -> None:
        self._drain_waiters = []

    def pause_writing(self) -> None:
        self._paused_writing = True

    def resume_writing(self) -> None:
        self._paused_writing = False
        self._wake_writers()

    @property
    def is_congested(self) -> bool:
        return self._paused_writing or self.is_lost

    async def drained(self) -> None:
        """Wait until the peer has read enough. Raises ``BodyError`` when it is gone."""
        while self._paused_writing and not self.is_lost:
            waiter = asyncio.get_running_loop().create_future()
            self._drain_waiters.append(waiter)
            await waiter
        if self.is_lost:
            raise BodyError("the peer closed the connection")

    def _writing_lost(self) -> None:
        self.is_lost = True
        self._wake_writers()

    def _wake_writers(self) -> None:
        waiters, self._drain_waiters = self._drain_waiters, []
        for waiter in waiters:
            if not waiter.done():
                waiter.set_result(None)
