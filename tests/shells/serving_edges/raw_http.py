"""A client that sends any bytes and reads whole answers: what aiohttp would never send, or would hide."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass

PATIENCE_S = 10.0


@dataclass(frozen=True, slots=True)
class Answer:
    """One answer; ``headers`` by lower-case name."""

    status: int
    headers: dict[str, str]
    body: bytes


class Raw:
    """One connection."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.reader = reader
        self.writer = writer

    def send(self, data: bytes) -> None:
        self.writer.write(data)

    async def answer(self, is_head: bool = False, patience_s: float = PATIENCE_S) -> Answer:
        """The next answer. Raises ``EOFError`` when the server has closed instead."""
        async with asyncio.timeout(patience_s):
            try:
                head = await self.reader.readuntil(b"\r\n\r\n")
            except (asyncio.IncompleteReadError, ConnectionError) as error:
                raise EOFError from error
            first, *lines = head.decode("latin-1").split("\r\n")[:-2]
            headers = {name.lower(): value for name, _, value in (line.partition(": ") for line in lines)}
            body = b"" if is_head else await self._body(headers)
            return Answer(int(first.split(" ")[1]), headers, body)

    async def _body(self, headers: dict[str, str]) -> bytes:
        if "content-length" in headers:
            return await self.reader.readexactly(int(headers["content-length"]))
        if headers.get("transfer-encoding") != "chunked":
            return await self.reader.read() if headers.get("connection") == "close" else b""
        parts = []
        while size := int(await self.reader.readline(), 16):
            parts.append(await self.reader.readexactly(size))
            await self.reader.readexactly(2)
        await self.reader.readexactly(2)
        return b"".join(parts)

    async def is_closed(self, patience_s: float = PATIENCE_S) -> bool:
        """Whether the server closes, without another byte, within ``patience_s``."""
        try:
            async with asyncio.timeout(patience_s):
                return await self.reader.read(1) == b""
        except ConnectionError:
            return True
        except TimeoutError:
            return False

    def abort(self) -> None:
        self.writer.transport.abort()


@asynccontextmanager
async def connected(port: int) -> AsyncIterator[Raw]:
    """A connection to ``port`` on loopback."""
    reader, writer = await asyncio.open_connection("127.0.0.1", port, limit=1 << 24)
    try:
        yield Raw(reader, writer)
    finally:
        writer.transport.abort()


def request(
    body: bytes = b"{}",
    *lines: str,
    path: str = "/v1/models/m:predict",
    method: str = "POST",
    version: str = "1.1",
) -> bytes:
    """One request with its length, and more header ``lines``."""
    head = "".join(f"{line}\r\n" for line in (f"Content-Length: {len(body)}", *lines))
    return f"{method} {path} HTTP/{version}\r\nHost: x\r\n{head}\r\n".encode("latin-1") + body
