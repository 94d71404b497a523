"""The two ends of the event benchmark: a client that posts ready-made events, a subscriber that counts.

Used by ``benchmarks.eventing`` only. Both parse no more of HTTP than they need, so that they take little of the machine.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from typing import Any


def head(path: str, id_: str, type_: str, size: int, extra: str = "") -> bytes:
    """The head of one event in binary mode."""
    lines = (
        f"POST {path} HTTP/1.1\r\nhost: broker-ingress.knative-eventing.localhost\r\nce-specversion: 1.0\r\n"
        f"ce-id: {id_}\r\nce-source: /bench\r\nce-type: {type_}\r\n{extra}content-length: {size}\r\n\r\n"
    )
    return lines.encode()


class Client:
    """Posts one event after the other on one connection."""

    def __init__(self, number: int, path: str) -> None:
        self._number = number
        self._path = path
        self.latencies_s: list[float] = []
        self.refused = 0

    async def run(self, address: Callable[[], Any], stop_at: float) -> None:
        """Until ``stop_at`` (``time.perf_counter``)."""
        reader, writer = await address()
        body = b'{"n": 1}' * 16
        at = 0
        while (began := time.perf_counter()) < stop_at:
            at += 1
            writer.write(head(self._path, f"{self._number}-{at}", "load", len(body)) + body)
            answer = await reader.readuntil(b"\r\n\r\n")
            if answer.startswith(b"HTTP/1.1 202"):
                self.latencies_s.append(time.perf_counter() - began)
            else:
                self.refused += 1
                await asyncio.sleep(0.01)
        writer.close()


class Subscriber:
    """Answers 202 to everything; ``arrived`` is set by what comes after ``expect``."""

    def __init__(self) -> None:
        self.count = 0
        self.arrived = asyncio.Event()

    def expect(self) -> None:
        self.arrived.clear()

    def protocol(self) -> asyncio.Protocol:
        return _Connection(self)


class _Connection(asyncio.Protocol):
    def __init__(self, owner: Subscriber) -> None:
        self._owner = owner
        self._buffer = b""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport: Any = transport

    def data_received(self, data: bytes) -> None:
        self._buffer += data
        while (end := self._buffer.find(b"\r\n\r\n")) >= 0:
            lines = self._buffer[:end].lower().split(b"\r\n")
            size = next((int(line[15:]) for line in lines if line.startswith(b"content-length:")), 0)
            if len(self._buffer) < end + 4 + size:
                return
            self._buffer = self._buffer[end + 4 + size :]
            self._owner.count += 1
            self._owner.arrived.set()
            self._transport.write(b"HTTP/1.1 202 Accepted\r\ncontent-length: 0\r\n\r\n")
