"""Listens: HTTPS on 127.0.0.1 with our certificate, and sweeps away connections whose peers are too slow.

Made by ``__main__``. The port is checked before anything is served; ``close`` ends streams, lets running requests
finish and then returns. Invariant: after ``close`` no connection is left.
"""

from __future__ import annotations

import asyncio
import errno
import ssl

from standalone.apiserver.server_http import Connection, Dispatch

SWEEP_S = 5.0
MAX_CONNECTIONS = 4096


class ListenError(Exception):
    """The port cannot be listened on; the text is one sentence for the user."""


class Server:
    """The listening socket and its connections."""

    def __init__(self, dispatch: Dispatch) -> None:
        self._dispatch = dispatch
        self._connections: set[Connection] = set()
        self._listener: asyncio.Server | None = None
        self._sweeper: asyncio.Task[None] | None = None
        self.port = 0

    async def start(self, host: str, port: int, tls: ssl.SSLContext | None) -> None:
        """Listen; port 0 takes a free one (read ``port``). Raises ``ListenError``."""
        loop = asyncio.get_running_loop()
        try:
            self._listener = await loop.create_server(self._connect, host, port, ssl=tls, backlog=1024)
        except OSError as error:
            if error.errno == errno.EADDRINUSE:
                text = (
                    f"{host}:{port} is in use by another program: stop it or choose another port with --port"
                )
            else:
                text = f"cannot listen on {host}:{port}: {error.strerror or error}"
            raise ListenError(text) from error
        self.port = self._listener.sockets[0].getsockname()[1]
        self._sweeper = loop.create_task(self._sweep())

    def _connect(self) -> asyncio.Protocol:
        if len(self._connections) >= MAX_CONNECTIONS:
            return _Refused()
        return Connection(self._dispatch, self._connections)

    async def _sweep(self) -> None:
        loop = asyncio.get_running_loop()
        while True:
            await asyncio.sleep(SWEEP_S)
            now = loop.time()
            for connection in list(self._connections):
                connection.sweep(now)

    async def close(self, patience_s: float = 5.0) -> None:
        """Stop listening, end streams, wait for running requests up to ``patience_s``, then cut."""
        if self._sweeper is not None:
            self._sweeper.cancel()
        if self._listener is not None:
            self._listener.close()
        for connection in list(self._connections):
            connection.shut()
        loop = asyncio.get_running_loop()
        deadline = loop.time() + patience_s
        while self._connections and loop.time() < deadline:  # noqa: ASYNC110 ends once, at shutdown
            await asyncio.sleep(0.01)
        for connection in list(self._connections):
            connection.abort()


class _Refused(asyncio.Protocol):
    """Closes a connection beyond the limit at once."""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        transport.close()
