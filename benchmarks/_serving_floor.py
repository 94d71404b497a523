"""What a server can do at most: a bare protocol that answers a request with its own body, or with a fixed answer.

``python -m benchmarks._serving_floor PORT echo|fixed``: a peer of ``serving`` without a model, a codec or a check. ``echo``
is the memory-copy limit of large tensors; ``fixed`` shows the load generator's own ceiling.
"""

from __future__ import annotations

import asyncio
import sys
from typing import Any

import uvloop

FIXED = (
    b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: 21\r\n\r\n"
    + b'{"predictions":[0,1]}'[:21]
)


class Floor(asyncio.Protocol):
    def __init__(self, is_echo: bool) -> None:
        self._is_echo = is_echo
        self._parts: list[bytes] = []
        self._left = 0

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport: Any = transport

    def data_received(self, data: bytes) -> None:
        if not self._left:
            head, _, body = data.partition(b"\r\n\r\n")
            lower = head.lower()
            if lower.startswith(b"get"):
                self._transport.write(FIXED)
                return
            at = lower.index(b"\r\ncontent-length:")
            self._left = int(lower[at + 17 :].split(b"\r\n", 1)[0])
            data = body
        self._parts.append(data)
        self._left -= len(data)
        if self._left:
            return
        if self._is_echo:
            body = b"".join(self._parts)
            head = (
                b"HTTP/1.1 200 OK\r\nContent-Type: application/octet-stream\r\nContent-Length: %d\r\n\r\n"
                % len(body)
            )
            self._transport.writelines([head, body])
        else:
            self._transport.write(FIXED)
        self._parts = []


async def main() -> None:
    loop = asyncio.get_running_loop()
    is_echo = sys.argv[2] == "echo"
    server = await loop.create_server(lambda: Floor(is_echo), "127.0.0.1", int(sys.argv[1]))
    await server.serve_forever()


if __name__ == "__main__":
    uvloop.run(main())
