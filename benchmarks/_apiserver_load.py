"""The client side of the API server's benchmark: keep-alive connections that send raw HTTP/1.1 and count answers.

Used by ``benchmarks.apiserver``. Written on asyncio streams without a client library, so that the client's core is
not the limit. Invariant: an answer counts only when its status is the expected one.
"""

from __future__ import annotations

import asyncio
import json
import ssl
import time
from collections.abc import Callable
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Endpoint:
    """Where the server is and how to speak to it."""

    port: int
    token: str
    tls: ssl.SSLContext

    def head(self, method: str, path: str, body: bytes = b"", media: str = "application/json") -> bytes:
        """A complete request."""
        lines = [
            f"{method} {path} HTTP/1.1",
            f"Host: 127.0.0.1:{self.port}",
            f"Authorization: Bearer {self.token}",
            "Accept: application/json",
            "User-Agent: benchmark/1",
        ]
        if body:
            lines += [f"Content-Type: {media}", f"Content-Length: {len(body)}"]
        return "\r\n".join(lines).encode() + b"\r\n\r\n" + body


class Client:
    """One connection."""

    def __init__(self, endpoint: Endpoint) -> None:
        self.endpoint = endpoint
        self._reader: asyncio.StreamReader
        self._writer: asyncio.StreamWriter

    async def open(self) -> None:
        self._reader, self._writer = await asyncio.open_connection(
            "127.0.0.1", self.endpoint.port, ssl=self.endpoint.tls, limit=1 << 20
        )

    async def call(self, request: bytes, expected: int = 200) -> bytes:
        """The body of the answer. Raises ``RuntimeError`` for another status."""
        self._writer.write(request)
        head = await self._reader.readuntil(b"\r\n\r\n")
        status = int(head[9:12])
        length = int(head.lower().rpartition(b"content-length: ")[2].split(b"\r\n", 1)[0])
        body = await self._reader.readexactly(length)
        if status != expected:
            raise RuntimeError(f"answer {status} instead of {expected}: {body[:300]!r}")
        return body

    async def lines(self, request: bytes, on_line: Callable[[bytes], bool]) -> None:
        """Read a watch: ``on_line`` for each event until it returns False."""
        self._writer.write(request)
        await self._reader.readuntil(b"\r\n\r\n")
        rest = b""
        while True:
            size = int(await self._reader.readuntil(b"\r\n"), 16)
            if size == 0:
                return
            data = rest + await self._reader.readexactly(size)
            await self._reader.readexactly(2)
            *lines, rest = data.split(b"\n")
            for line in lines:
                if not on_line(line):
                    return

    def close(self) -> None:
        self._writer.close()


async def rate(
    endpoint: Endpoint, clients: int, requests: list[bytes], expected: int
) -> tuple[float, list[float]]:
    """Requests a second over ``clients`` connections, and each request's seconds."""
    queue = iter(requests)
    latencies: list[float] = []

    async def work(client: Client) -> None:
        for request in queue:
            begun = time.perf_counter()
            await client.call(request, expected)
            latencies.append(time.perf_counter() - begun)

    connections = [Client(endpoint) for _ in range(clients)]
    await asyncio.gather(*(client.open() for client in connections))
    begun = time.perf_counter()
    await asyncio.gather(*(work(client) for client in connections))
    took_s = time.perf_counter() - begun
    for client in connections:
        client.close()
    return len(requests) / took_s, sorted(latencies)


def config_map(name: str, payload_bytes: int = 200) -> bytes:
    """A ConfigMap of about 300 bytes."""
    obj = {
        "apiVersion": "v1",
        "kind": "ConfigMap",
        "metadata": {"name": name, "labels": {"app": "bench"}},
        "data": {"text": "x" * payload_bytes},
    }
    return json.dumps(obj).encode()
