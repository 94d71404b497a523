"""The least relay there is: what a machine adds to tokens that anything relays.

``python -m benchmarks._sse_floor SOCKET PORT``, a peer of ``sse``: each client gets a connection of its own to the engine,
and bytes are copied both ways, without HTTP, events, deadlines or metrics.
"""

from __future__ import annotations

import asyncio
import sys
from typing import cast

import uvloop


class Floor(asyncio.Protocol):
    """One end; ``_other`` is where its bytes go."""

    def __init__(self, socket: str) -> None:
        self._socket = socket
        self._other: asyncio.Transport | None = None
        self._opening: asyncio.Task[None] | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = cast(asyncio.Transport, transport)

    def data_received(self, data: bytes) -> None:
        if self._other is not None:
            self._other.write(data)
        else:
            self._opening = asyncio.get_running_loop().create_task(self._open(data))

    async def _open(self, request: bytes) -> None:
        far = Floor(self._socket)
        other, _ = await asyncio.get_running_loop().create_unix_connection(lambda: far, self._socket)
        far._other, self._other = self.transport, other
        other.write(request)

    def connection_lost(self, error: Exception | None) -> None:
        if self._other is not None:
            self._other.close()


async def main() -> None:
    socket, port = sys.argv[1], int(sys.argv[2])
    server = await asyncio.get_running_loop().create_server(lambda: Floor(socket), "127.0.0.1", port)
    await server.serve_forever()


if __name__ == "__main__":
    uvloop.run(main())
