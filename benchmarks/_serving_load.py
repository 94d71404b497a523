"""A lean load generator: raw connections on epoll that send one prebuilt request again and again.

Closed loop (``saturate``): each connection asks again as soon as it is answered. Open loop (``pace``): requests are due
at a fixed rate, and time is counted from when one was due, so that a slow server cannot slow the question down; it
spins, as a timer's millisecond would be most of what is measured. An answer is counted by its length, which the first
one (parsed) tells. Its ceiling is measured against ``_serving_floor``, and ``Round.busy`` says how near it was.
"""

from __future__ import annotations

import contextlib
import select
import socket
import time
from collections import deque
from dataclasses import dataclass, field

OK = b"HTTP/1.1 200"
GONE = select.EPOLLHUP | select.EPOLLERR
LAST_ANSWERS_S = 5.0
"""The open loop waits so long for the answers to what it has sent; those that do not come count as long as they took till then."""
_buffer = bytearray(1 << 20)
"""What is received is looked at only by its length, so all connections share it."""


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


class _Caller:
    """One connection. Answers must all be as long as the first."""

    def __init__(self, port: int, message: bytes, poll: select.epoll) -> None:
        self.socket = socket.create_connection(("127.0.0.1", port))
        self.socket.setblocking(False)
        self.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self.due: deque[float] = deque()
        """When each request that is not answered was due; the first one is on its way."""
        self._poll = poll
        self._message = memoryview(message)
        self._rest = self._message[:0]
        self._length = self._got = 0
        self._start = b""
        poll.register(self.socket, select.EPOLLIN)

    def ask(self, due: float) -> None:
        """Send one request, unless one is on its way: then as soon as that is answered."""
        self.due.append(due)
        if len(self.due) == 1:
            self.send(self._message)

    def send(self, rest: memoryview) -> None:
        """Write ``rest``, what the kernel does not take as soon as it does."""
        with contextlib.suppress(BlockingIOError):
            rest = rest[self.socket.send(rest) :]
        if rest or self._rest:
            self._poll.modify(self.socket, select.EPOLLIN | (select.EPOLLOUT if rest else 0))
        self._rest = rest

    def is_answered_after(self, events: int) -> bool:
        """Do what the poll's ``events`` ask for; whether that ended the answer. Raises as ``is_answered``."""
        if events & select.EPOLLOUT:
            self.send(self._rest)
        return bool(events & (select.EPOLLIN | GONE)) and self.is_answered()

    def is_answered(self) -> bool:
        """Read what came; whether it ends the answer. Raises ``RuntimeError`` for any answer but 200."""
        count = self.socket.recv_into(_buffer)
        if not count:
            raise RuntimeError("the server closed the connection")
        if self._got == 0 and not _buffer.startswith(OK):
            raise RuntimeError(_buffer[: min(count, 400)].decode(errors="replace"))
        if not self._length:
            self._measure(bytes(_buffer[:count]))
        self._got += count
        if not self._length or self._got < self._length:
            return False
        if self._got > self._length:
            raise RuntimeError(f"an answer of {self._got} bytes instead of {self._length}")
        self._got = 0
        return True

    def _measure(self, data: bytes) -> None:
        self._start += data
        head, found, _ = self._start.partition(b"\r\n\r\n")
        lower = head.lower()
        at = lower.find(b"\r\ncontent-length:")
        if found and at >= 0:
            self._length = len(head) + 4 + int(lower[at + 17 :].split(b"\r\n", 1)[0])
        elif found and self._start.endswith(b"0\r\n\r\n"):
            self._length = len(self._start)

    def answered(self, now: float) -> float:
        """Seconds that the answer took; the next one that is due is sent."""
        taken = now - self.due.popleft()
        if self.due:
            self.send(self._message)
        return taken


def saturate(port: int, message: bytes, connections: int, seconds: float) -> Round:
    """As many requests as the server answers. Raises ``RuntimeError`` for any answer but 200."""
    return _round(port, message, (connections, seconds, 0.0))


def pace(port: int, message: bytes, connections: int, seconds: float, rate: float) -> Round:
    """``rate`` requests a second, spread over the connections."""
    return _round(port, message, (connections, seconds, rate))


def _round(port: int, message: bytes, plan: tuple[int, float, float]) -> Round:
    connections, seconds, rate = plan
    found = Round()
    with select.epoll() as poll:
        callers = [_Caller(port, message, poll) for _ in range(connections)]
        try:
            began, computed_s = time.perf_counter(), time.process_time()
            if rate:
                _paced(poll, callers, began, (seconds, rate), found)
            else:
                _saturated(poll, callers, began, seconds, found)
            found.seconds = time.perf_counter() - began
            found.busy = (time.process_time() - computed_s) / found.seconds
        finally:
            for caller in callers:
                caller.socket.close()
    return found


def _saturated(
    poll: select.epoll, callers: list[_Caller], began: float, seconds: float, found: Round
) -> None:
    by_number = {caller.socket.fileno(): caller for caller in callers}
    latencies_s, now = found.latencies_s, time.perf_counter
    for caller in callers:
        caller.ask(now())
    while now() < began + seconds:
        for number, events in poll.poll(0.05):
            caller = by_number[number]
            if caller.is_answered_after(events):
                moment = now()
                latencies_s.append(caller.answered(moment))
                caller.ask(moment)


def _paced(
    poll: select.epoll, callers: list[_Caller], began: float, plan: tuple[float, float], found: Round
) -> None:
    by_number = {caller.socket.fileno(): caller for caller in callers}
    seconds, rate = plan
    count, sent, last = int(seconds * rate), 0, began + seconds + LAST_ANSWERS_S
    while (now := time.perf_counter()) < last and (sent < count or any(caller.due for caller in callers)):
        while sent < count and began + sent / rate <= now:
            callers[sent % len(callers)].ask(began + sent / rate)
            sent += 1
        for number, events in poll.poll(0):
            caller = by_number[number]
            if caller.is_answered_after(events):
                found.latencies_s.append(caller.answered(time.perf_counter()))
    found.latencies_s += [now - due for caller in callers for due in caller.due]
