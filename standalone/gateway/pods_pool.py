"""Connections to one address (a pod's port, or a unix socket): dial, keep, hand out, close.

The engine and the prober ask for a ``PodCall``; HTTP/1 connections are kept idle for ``pod_idle_s`` only (see
``settings``), HTTP/2 connections are shared. Invariant: a call that was handed out is on a live connection as far as
we know, and every connection is closed by ``close``.
"""

from __future__ import annotations

import asyncio
from dataclasses import dataclass

from standalone.gateway.exchange import DialError, PodCall
from standalone.gateway.h1_pod import H1PodConnection
from standalone.gateway.h2_pod import H2PodConnection
from standalone.gateway.settings import Limits


@dataclass(frozen=True, slots=True)
class Address:
    """Where to dial: ``host`` and ``port``, or a unix socket's ``path``."""

    host: str = "127.0.0.1"
    port: int = 0
    path: str = ""

    def __str__(self) -> str:
        return f"unix {self.path}" if self.path else f"tcp {self.host}:{self.port}"


class Pool:
    """All connections to one address."""

    def __init__(self, address: Address, limits: Limits) -> None:
        self.address = address
        self._limits = limits
        self._idle: list[H1PodConnection] = []
        self._shared: list[H2PodConnection] = []
        self._dialing: asyncio.Lock = asyncio.Lock()
        self._is_closed = False

    async def call(self, *, is_h2: bool) -> PodCall:
        """A connection for one request. Raises ``DialError``."""
        if is_h2:
            return (await self._shared_connection()).open_call()
        kept = self.take_idle()
        if kept is not None:
            return kept
        connection = H1PodConnection(self)
        await self._connect(connection)
        return connection

    def take_idle(self) -> PodCall | None:
        """A kept HTTP/1 connection, without waiting."""
        oldest = asyncio.get_running_loop().time() - self._limits.pod_idle_s
        while self._idle:
            connection = self._idle.pop()
            if connection.idle_since >= oldest and connection.is_quiet:
                return connection
            connection.transport.close()
        return None

    def keep(self, connection: H1PodConnection) -> bool:
        """Called by a connection whose request is over."""
        if self._is_closed or len(self._idle) >= self._limits.pod_idle_connections:
            return False
        self._idle.append(connection)
        return True

    def forget(self, connection: H1PodConnection) -> None:
        """Called by a connection that was closed."""
        if connection in self._idle:
            self._idle.remove(connection)

    def prune(self) -> None:
        """Close connections that were idle too long."""
        oldest = asyncio.get_running_loop().time() - self._limits.pod_idle_s
        while self._idle and self._idle[0].idle_since < oldest:
            self._idle.pop(0).transport.close()

    async def _shared_connection(self) -> H2PodConnection:
        async with self._dialing:
            self._shared = [c for c in self._shared if not c.is_going_away]
            for connection in self._shared:
                if connection.has_room:
                    return connection
            connection = H2PodConnection(self._limits)
            await self._connect(connection)
            self._shared.append(connection)
            return connection

    async def _connect(self, protocol: asyncio.Protocol) -> None:
        loop = asyncio.get_running_loop()
        address = self.address
        try:
            async with asyncio.timeout(self._limits.connect_timeout_s):
                if address.path:
                    await loop.create_unix_connection(lambda: protocol, address.path)
                else:
                    await loop.create_connection(lambda: protocol, address.host, address.port)
        except TimeoutError as error:
            raise DialError(f"dial {address}: i/o timeout") from error
        except OSError as error:
            reason = (error.strerror or str(error)).lower()
            raise DialError(f"dial {address}: connect: {reason}") from error
        except UnicodeError as error:  # a label of more than 63 bytes, or none between two dots
            raise DialError(f"dial {address}: no such host") from error

    def close(self) -> None:
        """Close what is idle; connections in use are closed when their request ends."""
        self._is_closed = True
        for connection in self._idle:
            connection.transport.close()
        self._idle.clear()
        for shared in self._shared:
            shared.leave()
        self._shared.clear()
