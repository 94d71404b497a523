"""The listening side: accept, bound and time client connections, and run one task per request.

``h1_front`` and ``h2_front`` are its protocols; the engine is the ``handler`` of each ``Exchange``. A sweep once a
second closes connections that are past what they were waiting for (headers, body, next request), which costs the hot
path one attribute instead of one timer per state.

Invariant: after ``stop`` no request task is left.
"""

from __future__ import annotations

import asyncio
import contextlib
import socket
from collections.abc import Callable, Coroutine, Iterable
from typing import Any, Protocol

from standalone.gateway.exchange import Exchange
from standalone.gateway.settings import Limits
from wakeful.kit import logs
from wakeful.kit.httpserver import ListenError

Handler = Callable[[Exchange], Coroutine[Any, Any, None]]
NEVER = float("inf")
SWEEP_S = 0.5
FAULT_PAUSE_S = 30.0
BACKLOG = 2048
TOO_MANY = (
    b"HTTP/1.1 503 Service Unavailable\r\ncontent-type: text/plain\r\nretry-after: 1\r\n"
    b"connection: close\r\ncontent-length: 21\r\n\r\ntoo many connections\n"
)


class ClientConnection(Protocol):
    """What the front knows of a connection."""

    deadline: float
    """Loop time when it is to be closed; ``NEVER`` while it waits for us."""

    def on_deadline(self) -> None:
        """The deadline has passed."""

    def drain(self) -> None:
        """Take no further request; close when those under way are answered."""


class Front:
    """All client connections of the process."""

    def __init__(self, limits: Limits, handler: Handler) -> None:
        self.limits = limits
        self.handler = handler
        self.connections: set[ClientConnection] = set()
        self.tasks: set[asyncio.Task[None]] = set()
        self.refused = 0
        self.is_draining = False
        self._servers: list[asyncio.Server] = []
        self._loop = asyncio.get_running_loop()
        self._log = logs.get("gateway")

    async def listen(self, port: int, descriptors: Iterable[int] = ()) -> int:
        """Listen on 127.0.0.1 and, where the machine has it, on [::1]; or take over sockets that listen already (those
        of the supervisor, which keep clients waiting while this process is away). Returns the port.

        Raises ``ListenError``.
        """
        from standalone.gateway.h1_front import H1Front

        def make() -> H1Front:
            return H1Front(self)

        for descriptor in descriptors:
            try:
                listener = socket.socket(fileno=descriptor)
            except OSError as error:
                raise ListenError(f"--listen-fd {descriptor} is no socket: {error.strerror}") from error
            self._servers.append(await self._loop.create_server(make, sock=listener, backlog=BACKLOG))
        if self._servers:
            return int(self._servers[0].sockets[0].getsockname()[1])
        try:
            server = await self._loop.create_server(make, "127.0.0.1", port, backlog=BACKLOG)
        except OSError as error:
            raise ListenError(
                f"the gateway cannot listen on 127.0.0.1:{port}: {error.strerror or error}; choose another --port"
            ) from error
        self._servers.append(server)
        port = server.sockets[0].getsockname()[1]
        if socket.has_ipv6:
            with contextlib.suppress(OSError):  # no IPv6 here, or the port is taken there: IPv4 serves
                self._servers.append(await self._loop.create_server(make, "::1", port, backlog=BACKLOG))
        return port

    def enter(self, connection: ClientConnection, transport: asyncio.Transport) -> bool:
        """A connection opens. False (and it is closed with 503) above the limit."""
        if len(self.connections) >= self.limits.connections:
            self.refused += 1
            transport.write(TOO_MANY)
            transport.close()
            return False
        self.connections.add(connection)
        return True

    def leave(self, connection: ClientConnection) -> None:
        self.connections.discard(connection)

    def run(self, exchange: Exchange) -> asyncio.Task[None]:
        """Start the task of one request."""
        task = self._loop.create_task(self.handler(exchange))
        self.tasks.add(task)
        task.add_done_callback(self.tasks.discard)
        return task

    async def run_sweep(self) -> None:
        """For ever: close connections past their deadline."""
        while True:
            await asyncio.sleep(SWEEP_S)
            now = self._loop.time()
            for connection in [c for c in self.connections if c.deadline <= now]:
                try:
                    connection.on_deadline()
                except (
                    Exception
                ) as error:  # one connection must not end the process, nor its own second chance
                    connection.deadline = now + FAULT_PAUSE_S
                    self._log.error("connection not ended", error=repr(error))

    async def stop(self) -> None:
        """Accept nothing new, let requests under way end within ``drain_s``, cancel the rest."""
        self.is_draining = True
        for server in self._servers:
            server.close()
        for connection in list(self.connections):
            connection.drain()
        if self.tasks:
            await asyncio.wait(self.tasks, timeout=self.limits.drain_s)
        for task in list(self.tasks):
            task.cancel()
        if self.tasks:
            await asyncio.gather(*self.tasks, return_exceptions=True)
        for connection in list(self.connections):
            connection.on_deadline()
