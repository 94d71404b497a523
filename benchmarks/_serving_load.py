"""A lean load generator: raw connections on uvloop that send one prebuilt request again and again.

Closed loop (``saturate``): each connection asks again as soon as it is answered. Open loop (``pace``): requests are due
at a fixed rate, and time is counted from when one was due, so that a slow server cannot slow the question down.
An answer is counted by its length, which the first one (parsed) tells: 2 to 4 us a request. Its ceiling is measured
against ``_serving_floor`` and printed beside every table.
"""

from __future__ import annotations

import asyncio
import time
from collections import deque
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from typing import Any, TypeVar

OK = b"HTTP/1.1 200"


@dataclass(slots=True)
class Round:
    """What one round measured."""

    seconds: float = 0.0
    latencies_s: list[float] = field(default_factory=list)
    busy: float = 0.0
    """The share of the time that this process computed: near 1, it is the limit and not the server."""

    @property
    def rate(self) -> float:
        return len(self.latencies_s) / self.seconds


class _Caller(asyncio.Protocol):
    """One connection. Answers must all be as long as the first."""

    def __init__(self, message: bytes, latencies_s: list[float], is_paced: bool) -> None:
        self._message = message
        self._latencies_s = latencies_s
        self._is_paced = is_paced
        self._length = 0
        self._got = 0
        self._start = b""
        self._due: deque[float] = deque()
        self.failed = ""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport: Any = transport

    def ask(self, due: float) -> None:
        """Send one request, unless one is on its way: then as soon as that is answered."""
        self._due.append(due)
        if len(self._due) == 1:
            self._transport.write(self._message)

    def data_received(self, data: bytes) -> None:
        if self._got == 0 and data[:12] != OK:
            self.failed = data[:400].decode(errors="replace")
            self._transport.close()
            return
        if not self._length:
            self._measure(data)
        self._got += len(data)
        if not self._length or self._got < self._length:
            return
        if self._got > self._length:
            self.failed = f"an answer of {self._got} bytes instead of {self._length}"
            self._transport.close()
            return
        self._got = 0
        now = time.perf_counter()
        self._latencies_s.append(now - self._due.popleft())
        if not self._is_paced:
            self._due.append(now)
            self._transport.write(self._message)
        elif self._due:
            self._transport.write(self._message)

    def _measure(self, data: bytes) -> None:
        self._start += data
        head, found, _ = self._start.partition(b"\r\n\r\n")
        lower = head.lower()
        at = lower.find(b"\r\ncontent-length:")
        if found and at >= 0:
            self._length = len(head) + 4 + int(lower[at + 17 :].split(b"\r\n", 1)[0])
        elif found and self._start.endswith(b"0\r\n\r\n"):
            self._length = len(self._start)

    def connection_lost(self, error: Exception | None) -> None:
        self.failed = self.failed or "the server closed the connection"

    def close(self) -> None:
        self._transport.abort()


async def saturate(port: int, message: bytes, connections: int, seconds: float) -> Round:
    """As many requests as the server answers. Raises ``RuntimeError`` for any answer but 200."""

    async def drive(callers: list[_Caller], began: float) -> None:
        for caller in callers:
            caller.ask(began)
        await asyncio.sleep(seconds)

    return await measured(port, connections, lambda found: _Caller(message, found.latencies_s, False), drive)


async def pace(port: int, message: bytes, connections: int, seconds: float, rate: float) -> Round:
    """``rate`` requests a second, spread over the connections."""

    async def drive(callers: list[_Caller], began: float) -> None:
        await _pace(callers, began, seconds, rate)

    return await measured(port, connections, lambda found: _Caller(message, found.latencies_s, True), drive)


C = TypeVar("C", bound=Any)


async def measured(
    port: int,
    connections: int,
    caller_of: Callable[[Round], C],
    drive: Callable[[list[C], float], Awaitable[None]],
) -> Round:
    """One round: so many callers, connected, driven, closed. Raises ``RuntimeError`` with what one of them found wrong."""
    loop = asyncio.get_running_loop()
    found = Round()
    callers: list[C] = []
    for _ in range(connections):
        _, caller = await loop.create_connection(lambda: caller_of(found), "127.0.0.1", port)
        callers.append(caller)
    began, computed_s = time.perf_counter(), time.process_time()
    await drive(callers, began)
    found.seconds = time.perf_counter() - began
    found.busy = (time.process_time() - computed_s) / found.seconds
    found.latencies_s = list(found.latencies_s)
    failed = next((caller.failed for caller in callers if caller.failed), "")
    for caller in callers:
        caller.close()
    await asyncio.sleep(0.02)
    if failed:
        raise RuntimeError(failed)
    return found


async def _pace(callers: list[_Caller], began: float, seconds: float, rate: float) -> None:
    count = int(seconds * rate)
    sent = 0
    while sent < count:
        now = time.perf_counter()
        while sent < count and began + sent / rate <= now:
            callers[sent % len(callers)].ask(began + sent / rate)
            sent += 1
        await asyncio.sleep(
            0
        )  # a timer of the loop is a millisecond late, which is more than what is measured
    await asyncio.sleep(0.2)
