"""The outgoing half of an HTTP/2 connection: bytes to write, windows, who waits for them, and the client's calm.

The base of ``connection``; ``stream`` sends through it. Left out: what comes in.
Invariant: bytes leave in the order in which they were put out; every stream that waits gets its turn, one slice each.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

from wakeful.kit.http2 import frames
from wakeful.kit.http2.frames import Code, Setting, WireError
from wakeful.kit.http2.limits import Limits

if TYPE_CHECKING:
    from wakeful.kit.http2.stream import Buffer, Stream

CALM_PER_ANSWER = 8
BURST_BYTES = 1024 * 1024
"""Bytes put out before the link writes them; bodies wait for the next turn beyond it."""
BYTES_PER_CALM = 1024
"""Body bytes sent that give one back: who reads much sends many window updates."""


class Outbox:
    """See the module."""

    def __init__(self, limits: Limits, wants_write: Callable[[], None]) -> None:
        self.limits = limits
        self.streams: dict[int, Stream] = {}
        self.now = 0.0
        """The link's clock, set before each call."""
        self.peer = ""
        """The client's address, for logs."""
        self.heard_at = 0.0
        self.is_flowing = True
        """The transport takes bytes; False while its buffer is full."""
        self.pending_bytes = 0
        self.peer_frame_bytes = frames.DEFAULT_FRAME_BYTES
        self.peer_window_bytes = frames.DEFAULT_WINDOW
        self.send_window = frames.DEFAULT_WINDOW
        self.last_number = 0
        self.is_going_away = False
        self.is_closing = False
        """The last GOAWAY was sent: later requests are not taken."""
        self._wants_write = wants_write
        self._out: list[Buffer] = []
        self._out_bytes = 0
        self._unacknowledged = 0
        self._blocked: dict[int, Stream] = {}
        self._calm = float(limits.calm)
        self._calm_at = 0.0

    def greet(self) -> None:
        """Say our settings. First."""
        limits = self.limits
        self.heard_at = self._calm_at = self.now
        self.send(
            frames.settings(
                {
                    Setting.MAX_CONCURRENT_STREAMS: limits.streams,
                    Setting.INITIAL_WINDOW_SIZE: limits.stream_window_bytes,
                    Setting.MAX_FRAME_SIZE: limits.frame_bytes,
                    Setting.MAX_HEADER_LIST_SIZE: limits.head_bytes,
                }
            )
        )
        self.send(frames.window_update(0, limits.window_bytes - frames.DEFAULT_WINDOW))

    def send(self, data: Buffer) -> None:
        """Put bytes out; they are written together, soon."""
        if not self._out:
            self._wants_write()
        self._out.append(data)
        self._out_bytes += len(data)

    @property
    def can_send(self) -> bool:
        """Bodies may be put out now."""
        return self.is_flowing and self._out_bytes < BURST_BYTES

    @property
    def has_more(self) -> bool:
        """A body waits that could go out after what is put out now."""
        return bool(self._blocked) and self.is_flowing and self.send_window > 0

    def take(self) -> list[Buffer]:
        """What is to be written now."""
        out, self._out = self._out, []
        self._out_bytes = 0
        return out

    def credit(self, size_bytes: int) -> None:
        """Give the connection's window back for bytes that were taken."""
        self._unacknowledged += size_bytes
        if self._unacknowledged * 2 >= self.limits.window_bytes:
            self.send(frames.window_update(0, self._unacknowledged))
            self.widen(self._unacknowledged)
            self._unacknowledged = 0

    def widen(self, size_bytes: int) -> None:
        """The client may send ``size_bytes`` more; for the incoming half."""
        raise NotImplementedError

    def block(self, stream: Stream) -> None:
        """Remember a stream that waits for window or for its turn."""
        self._blocked[stream.number] = stream

    def push_blocked(self) -> None:
        """Send what can be sent now, one slice a stream in turn."""
        has_more = True
        while has_more and self.can_send and self.send_window > 0 and self._blocked:
            waiting, self._blocked = self._blocked, {}
            has_more = False
            for stream in waiting.values():
                has_more |= stream.push()

    def forget(self, stream: Stream, *, was_answered: bool = False) -> None:
        """Take a stream off the list; an answered one shows that its client means it."""
        self.streams.pop(stream.number, None)
        self._blocked.pop(stream.number, None)
        stream.discard()
        if was_answered:
            self._calm = min(self._calm + CALM_PER_ANSWER, self.limits.calm)

    def go_away(self, code: Code = Code.NO_ERROR, reason: str = "", *, last: int | None = None) -> None:
        """Say that no new request should come; ``last`` None: what has come so far is the end."""
        self.is_going_away = True
        self.is_closing = self.is_closing or last is None
        self.send(frames.goaway(self.last_number if last is None else last, code, reason))

    def drop_all(self) -> list[Stream]:
        """Forget every stream; they are returned."""
        streams, self.streams = self.streams, {}
        self._blocked.clear()
        for stream in streams.values():
            stream.discard()
        return list(streams.values())

    @property
    def is_full(self) -> bool:
        """No further request can be taken now."""
        limits = self.limits
        return (
            len(self.streams) >= limits.streams
            or self.pending_bytes > limits.pending_bytes
            or self.is_closing
        )

    def calm_by_bytes(self, size_bytes: int) -> None:
        """Give calm back for body bytes that the client has taken."""
        self._calm = min(self._calm + size_bytes / BYTES_PER_CALM, self.limits.calm)

    def spend(self, cost: int) -> None:
        """Take ``cost`` from the client's calm. Raises ``WireError`` where none is left."""
        self._calm -= cost
        if self._calm >= 0:
            return
        limits = self.limits
        regained = (self.now - self._calm_at) * limits.calm_per_s
        self._calm_at = self.now
        self._calm = min(self._calm + regained, limits.calm)
        if self._calm < 0:
            raise WireError(Code.ENHANCE_YOUR_CALM, "too many control frames")
