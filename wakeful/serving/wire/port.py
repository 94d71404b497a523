"""One listening port: accepts connections, tells their wires by the first bytes, sweeps the late, closes at the end.

Composed by ``wakeful.serving.server``. Each connection is handed to a wire (``http1``, or the HTTP/2 one it was given)
for the rest of its life, with no layer between it and the socket.

Invariants: at most ``limits.connections`` are served, the next one hears 503; after ``close`` no connection is left.
"""

from __future__ import annotations

import asyncio
import socket
from collections.abc import Callable
from email.utils import formatdate
from typing import cast

from wakeful.kit import listening
from wakeful.serving import http_log
from wakeful.serving.wire.connections import NEVER, Connections, Wire
from wakeful.serving.wire.http1 import Http1

PREFACE = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"
TLS_HANDSHAKE = 0x16
BACKLOG = 1024
SWEEP_S = (0.05, 1.0)
"""Between two sweeps: a quarter of the shortest timeout, within these."""
CLOSE_S = 1.0
"""For connections to send what they still hold at the end."""

MakeWire = Callable[[Connections], Wire]


class Port:
    """One server's port. ``http2`` makes the wire of connections that begin with HTTP/2's preface; None: refused."""

    def __init__(self, connections: Connections, http2: MakeWire | None = None) -> None:
        self._connections = connections
        self._http2 = http2
        self._server: asyncio.Server | None = None
        self._sweeper: asyncio.TimerHandle | None = None

    async def listen(self, host: str, port: int, bound: socket.socket | None = None) -> int:
        """Accept connections, on ``bound`` where it is given; the port's number. Raises ``listening.ListenError``."""
        loop = asyncio.get_running_loop()
        try:
            sock = bound or listening.bind(host, port)
            if sock is not None:
                self._server = await loop.create_server(self._accept, sock=sock, backlog=BACKLOG)
            else:
                self._server = await loop.create_server(self._accept, host, port, backlog=BACKLOG)
        except OSError as error:
            raise listening.ListenError(listening.sentence(f"tcp:{host}:{port}", error)) from error
        self._sweep()
        return int(self._server.sockets[0].getsockname()[1])

    async def close(self) -> None:
        """Close the port and every connection; what is still being answered ``CLOSE_S`` later is cut off."""
        wires = self._connections.wires
        if self._sweeper is not None:
            self._sweeper.cancel()
        if self._server is not None:
            self._server.close()
            self._server = None
        for wire in list(wires):
            wire.close()
        try:
            async with asyncio.timeout(CLOSE_S):
                while wires:
                    self._connections.is_fewer.clear()
                    await self._connections.is_fewer.wait()
        except TimeoutError:
            for wire in list(wires):
                wire.abort()

    def _accept(self) -> asyncio.Protocol:
        return Sniffer(self._connections, self._http2)

    def _sweep(self) -> None:
        loop = asyncio.get_running_loop()
        now = loop.time()
        shared = self._connections
        shared.now = formatdate(usegmt=True)
        shared.date = b"Date: %b\r\n" % shared.now.encode()
        for wire in [wire for wire in shared.wires if wire.deadline <= now]:
            wire.expire()
        shortest_s = min(shared.limits.idle_timeout_s, shared.limits.body_timeout_s) / 4
        self._sweeper = loop.call_later(max(SWEEP_S[0], min(SWEEP_S[1], shortest_s)), self._sweep)


class Sniffer(Wire):
    """A new connection until it is clear what it speaks: one byte is enough for all but HTTP/2."""

    __slots__ = ("_connections", "_first", "_http2", "_transport")

    def __init__(self, connections: Connections, http2: MakeWire | None) -> None:
        self._connections = connections
        self._http2 = http2
        self._first = b""
        self._transport: asyncio.Transport | None = None
        self.deadline = NEVER

    def connection_made(self, made: asyncio.BaseTransport) -> None:
        transport = cast(asyncio.Transport, made)  # uvloop's is no subclass
        shared = self._connections
        if len(shared.wires) >= shared.limits.connections:
            shared.refused += 1
            _refuse(transport, 503, "the server has as many connections as it may: try again later")
            return
        self._transport = transport
        self.deadline = asyncio.get_running_loop().time() + shared.limits.idle_timeout_s
        shared.wires[self] = None

    def data_received(self, data: bytes) -> None:
        transport = self._transport
        if transport is None or transport.is_closing():
            return
        data = self._first + data
        if len(data) < len(PREFACE) and PREFACE.startswith(data):
            self._first = data
            return
        is_http2 = data.startswith(PREFACE)
        if data[0] == TLS_HANDSHAKE or (is_http2 and self._http2 is None):
            what = f"{'HTTP/2' if is_http2 else 'TLS'} on a port that speaks plain HTTP/1.1"
            http_log.refused(what)
            _refuse(transport, 400, what)
            return
        shared = self._connections
        wire = self._http2(shared) if is_http2 and self._http2 is not None else Http1(shared)
        self._transport = None
        del shared.wires[self]
        shared.wires[wire] = None
        transport.set_protocol(wire)
        wire.connection_made(transport)
        wire.data_received(data)

    def connection_lost(self, error: Exception | None) -> None:
        self._transport = None
        self._connections.forget(self)

    def expire(self) -> None:
        self.abort()

    def close(self) -> None:
        self.abort()

    def abort(self) -> None:
        if self._transport is not None:
            self._transport.abort()


def _refuse(transport: asyncio.Transport, status: int, text: str) -> None:
    body = b'{"error":"%b"}' % text.encode()
    words = b"400 Bad Request\r\n" if status == 400 else b"503 Service Unavailable\r\nRetry-After: 1\r\n"
    transport.write(
        b"HTTP/1.1 %bServer: wakeful\r\nConnection: close\r\nContent-Type: application/json\r\n"
        b"Content-Length: %d\r\n\r\n%b" % (words, len(body), body)
    )
    transport.close()
