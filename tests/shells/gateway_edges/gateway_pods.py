"""Small servers that play pods, written by hand so that they can also misbehave."""

from __future__ import annotations

import asyncio
import contextlib
from dataclasses import dataclass, field


@dataclass
class Request:
    line: str
    headers: list[tuple[str, str]]
    body: bytes

    def get(self, name: str) -> str | None:
        return next((v for k, v in self.headers if k == name), None)


@dataclass
class EchoPod:
    """Answers every request with what it got; waits for ``gate`` before it answers."""

    requests: list[Request] = field(default_factory=list)
    gate: asyncio.Event = field(default_factory=asyncio.Event)
    answer: bytes | None = None
    probe_answer: bytes = (
        b"HTTP/1.1 200 OK\r\nserver-timing: import;dur=12.5, load;dur=3\r\ncontent-length: 0\r\n\r\n"
    )
    in_flight: int = 0
    peak: int = 0
    cancelled: int = 0

    def __post_init__(self) -> None:
        self.gate.set()

    async def __call__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with contextlib.suppress(ConnectionError, asyncio.IncompleteReadError):
            while await self._one(reader, writer):
                pass
        writer.close()

    async def _one(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> bool:
        request = await read_request(reader)
        if request is None:
            return False
        if request.get("user-agent") == "Knative-Activator-Probe":
            writer.write(self.probe_answer)
            return True
        self.requests.append(request)
        self.in_flight += 1
        self.peak = max(self.peak, self.in_flight)
        try:
            gone = asyncio.ensure_future(reader.read(1))
            gate = asyncio.ensure_future(self.gate.wait())
            await asyncio.wait({gone, gate}, return_when=asyncio.FIRST_COMPLETED)
            if gone.done() and not gate.done():
                self.cancelled += 1
                gate.cancel()
                return False
            gone.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await gone
        finally:
            self.in_flight -= 1
        body = request.body or b"hello"
        writer.write(self.answer or b"HTTP/1.1 200 OK\r\ncontent-length: %d\r\n\r\n%b" % (len(body), body))
        await writer.drain()
        return self.answer is None


async def read_request(reader: asyncio.StreamReader) -> Request | None:
    head = await read_head(reader)
    if not head:
        return None
    line, *fields = head.decode("latin-1").split("\r\n")
    headers = [tuple(entry.split(": ", 1)) for entry in fields if entry]
    names = dict(headers)  # type: ignore[arg-type]
    body = b""
    if names.get("transfer-encoding") == "chunked":
        while size := int((await reader.readline()).strip(), 16):
            body += await reader.readexactly(size)
            await reader.readline()
        await read_head(reader, b"\r\n")
    elif "content-length" in names:
        body = await reader.readexactly(int(names["content-length"]))
    return Request(line, headers, body)  # type: ignore[arg-type]


async def read_head(reader: asyncio.StreamReader, end: bytes = b"\r\n\r\n") -> bytes:
    try:
        return (await reader.readuntil(end)).removesuffix(end)
    except asyncio.IncompleteReadError:
        return b""
