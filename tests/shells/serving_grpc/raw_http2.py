"""HTTP/2 by hand, for what no well-behaved client sends."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass

import hpack

PREFACE = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"
DATA, HEADERS, PRIORITY, RST, SETTINGS, PUSH, PING, GOAWAY, WINDOW, CONTINUATION = range(10)
INFER = "/inference.GRPCInferenceService/ModelInfer"
STREAM = "/inference.GRPCInferenceService/ModelStreamInfer"


def frame(kind: int, flags: int = 0, stream: int = 0, payload: bytes = b"") -> bytes:
    return len(payload).to_bytes(3, "big") + bytes((kind, flags)) + stream.to_bytes(4, "big") + payload


def block(
    path: str = INFER,
    *extra: tuple[str, str],
    method: str = "POST",
    kind: str = "application/grpc",
    authority: str = "m",
) -> bytes:
    fields = [
        (":method", method), (":scheme", "http"), (":path", path), (":authority", authority), ("te", "trailers"),
        *([("content-type", kind)] if kind else []), *extra,
    ]  # fmt: skip
    encoder = hpack.Encoder()
    encoder.header_table_size = 0
    return bytes(encoder.encode([(n.encode(), v.encode("latin-1")) for n, v in fields], huffman=False))


def message(content: bytes, flag: int = 0) -> bytes:
    return bytes((flag,)) + len(content).to_bytes(4, "big") + content


@dataclass
class Frame:
    """What came."""

    kind: int
    flags: int
    stream: int
    payload: bytes


class Raw:
    """One connection."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.reader = reader
        self.writer = writer
        self._decoder = hpack.Decoder()

    def send(self, *frames: bytes) -> None:
        self.writer.write(b"".join(frames))

    async def frame(self, limit_s: float = 15.0) -> Frame | None:
        """The next frame, None at the end of the connection."""
        try:
            async with asyncio.timeout(limit_s):
                head = await self.reader.readexactly(9)
                payload = await self.reader.readexactly(int.from_bytes(head[:3], "big"))
        except (asyncio.IncompleteReadError, ConnectionError):
            return None
        return Frame(head[3], head[4], int.from_bytes(head[5:], "big"), payload)

    async def wait_for(self, *kinds: int, stream: int | None = None) -> Frame:
        """The next frame of one of ``kinds``."""
        while True:
            found = await self.frame()
            assert found is not None, "the server closed the connection"
            if found.kind in kinds and stream in (None, found.stream):
                return found

    async def end(self) -> tuple[int, str] | None:
        """(code, reason) of the GOAWAY after which the server closed; None: it closed without."""
        told = None
        while (found := await self.frame()) is not None:
            if found.kind == GOAWAY:
                told = int.from_bytes(found.payload[4:8], "big"), found.payload[8:].decode()
        return told

    def fields(self, found: Frame) -> dict[str, str]:
        return {
            bytes(n).decode(): bytes(v).decode() for n, v in self._decoder.decode(found.payload, raw=True)
        }

    async def status(self, stream: int) -> tuple[int, str]:
        """gRPC's status of a call: (code, message)."""
        while True:
            found = await self.wait_for(HEADERS, RST)
            if found.kind == RST:
                assert found.stream != stream, f"reset with {found.payload!r}"
                continue
            fields = self.fields(found)
            if found.stream == stream and "grpc-status" in fields:
                return int(fields["grpc-status"]), fields.get("grpc-message", "")


@asynccontextmanager
async def connected(port: int, greeting: bytes = PREFACE + frame(SETTINGS)) -> AsyncIterator[Raw]:
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    writer.write(greeting)
    try:
        yield Raw(reader, writer)
    finally:
        writer.close()
        with contextlib.suppress(ConnectionError):
            await writer.wait_closed()
