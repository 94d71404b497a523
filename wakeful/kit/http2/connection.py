"""The server's side of one HTTP/2 connection (RFC 9113) without I/O: bytes in, calls of streams; calls in, bytes out.

``link`` feeds ``receive`` and sends what ``take`` returns (``outbox``). Frames are taken from the received bytes in one
pass; the payload of a DATA frame is told as it comes, so that a large frame is never collected here. Single owner,
synchronous; the clock is set by the link (``now``).

Invariant: memory is bounded: a header block by ``limits.head_bytes``, unfinished frames by 16 KiB, unread bodies by
the windows, unread answers by ``limits.pending_bytes`` plus the answers of the requests under way. Frames that cost
the sender little (RST_STREAM, PING, SETTINGS, empty DATA, ...) are paid from ``calm``; a client without any left is
cut off.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Protocol

from wakeful.kit.http2 import frames
from wakeful.kit.http2.frames import Code, Setting, WireError
from wakeful.kit.http2.heads import HARD_FACTOR, Decoder, MalformedError, RequestHead
from wakeful.kit.http2.limits import Limits
from wakeful.kit.http2.outbox import Outbox
from wakeful.kit.http2.stream import Stream

RESET_COST = 4
"""Of a request given up before its answer: it has cost us a decode and a call of the model. 500 at once are taken."""
VIEW_BYTES = 64 * 1024
"""Parts of bodies from here on are views of what was received; smaller ones are copied, so that they keep nothing."""


class Opener(Protocol):
    """Who makes the owner of a new request."""

    def __call__(self, connection: Connection, number: int, head: RequestHead) -> Stream: ...


class Connection(Outbox):
    """See the module."""

    def __init__(self, limits: Limits, open_stream: Opener, wants_write: Callable[[], None]) -> None:
        super().__init__(limits, wants_write)
        self._open_stream = open_stream
        self._recv_window = limits.window_bytes
        self._buffer = bytearray()
        self._needed = len(frames.PREFACE)
        self._is_greeted = False
        self._data: tuple[Stream | None, int, bool] | None = None
        self._block: tuple[int, bool, bytearray] | None = None
        self._decoder = Decoder(limits.head_bytes)

    def widen(self, size_bytes: int) -> None:
        self._recv_window += size_bytes

    def lose_all(self) -> None:
        """The connection is gone: tell every stream."""
        for stream in self.drop_all():
            stream.on_lost(Code.CANCEL)

    # ---- in

    def receive(self, data: bytes) -> None:
        """Take the client's bytes, however they are cut. Raises ``WireError``."""
        self.heard_at = self.now
        if self._buffer:
            self._buffer += data
            if len(self._buffer) < self._needed:
                return
            data = bytes(self._buffer)
            self._buffer.clear()
        position, total = 0, len(data)
        if not self._is_greeted:
            if total < len(frames.PREFACE):
                self._keep(data, 0, len(frames.PREFACE))
                return
            if not data.startswith(frames.PREFACE):
                raise WireError(Code.PROTOCOL_ERROR, "this is not HTTP/2")
            self._is_greeted, position = True, len(frames.PREFACE)
        while True:
            if self._data is not None:
                position = self._go_on(data, position)
            if total - position < frames.HEAD_BYTES:
                self._keep(data, position, frames.HEAD_BYTES)
                return
            high, low, kind, flags, number = frames.unpack_head(data, position)
            length = high << 8 | low
            end = position + frames.HEAD_BYTES + length
            number &= frames.MAX_NUMBER
            if self._block is not None and (kind != frames.CONTINUATION or self._block[0] != number):
                raise WireError(Code.PROTOCOL_ERROR, "a header block is interrupted")
            if kind == frames.DATA and not flags & frames.PADDED:
                position += frames.HEAD_BYTES
                self._begin_data(number, length, bool(flags & frames.END_STREAM))
                continue
            if (
                length > frames.DEFAULT_FRAME_BYTES and kind != frames.DATA
            ) or length > self.limits.frame_bytes:
                raise WireError(Code.FRAME_SIZE_ERROR, f"a frame of {length} bytes")
            if end > total:
                self._keep(data, position, frames.HEAD_BYTES + length)
                return
            if kind == frames.HEADERS:
                self._on_headers(number, flags, data[position + frames.HEAD_BYTES : end])
            else:
                self._on_other(kind, number, flags, data[position + frames.HEAD_BYTES : end])
            position = end

    def _keep(self, data: bytes, position: int, needed: int) -> None:
        if position < len(data):
            self._buffer += data[position:] if position else data
            self._needed = needed

    def _begin_data(self, number: int, length: int, is_last: bool) -> None:
        if length > self.limits.frame_bytes:
            raise WireError(Code.FRAME_SIZE_ERROR, f"a DATA frame of {length} bytes")
        stream = self._known(number, frames.DATA)
        self._recv_window -= length
        if self._recv_window < 0:
            raise WireError(Code.FLOW_CONTROL_ERROR, "more DATA than the connection's window")
        if stream is not None and stream.is_received:
            self._fail(stream, Code.STREAM_CLOSED)
            stream = None
        if stream is None or (not length and not is_last):
            self.spend(1)
        if stream is not None:
            stream.recv_window -= length
            if stream.recv_window < 0:
                raise WireError(Code.FLOW_CONTROL_ERROR, "more DATA than the stream's window")
            if stream.expected_bytes is not None:
                stream.expected_bytes -= length
                if stream.expected_bytes < 0 or (is_last and stream.expected_bytes):
                    self._fail(stream, Code.PROTOCOL_ERROR)
                    stream = None
        if length:
            self._data = stream, length, is_last
        elif is_last and stream is not None:
            self._ended(stream, [])

    def _go_on(self, data: bytes, position: int) -> int:
        """Tell what has come of the DATA frame under way. Returns where the next frame begins."""
        if self._data is None or position >= len(data):
            return position
        stream, left, is_last = self._data
        end = min(position + left, len(data))
        size = end - position
        self._data = (stream, left - size, is_last) if size < left else None
        if stream is None or stream.is_sent:
            self.credit(size)
            return end
        stream.held_bytes += size
        stream.moved_at = self.now
        stream.on_data(memoryview(data)[position:end] if size >= VIEW_BYTES else data[position:end])
        if size == left and is_last and not stream.is_sent:
            self._ended(stream, [])
        return end

    def _ended(self, stream: Stream, trailers: list[tuple[str, str]]) -> None:
        stream.is_received = True
        stream.on_end(trailers)

    def _known(self, number: int, kind: int) -> Stream | None:
        """The stream of a frame; None where it has ended. Raises ``WireError`` for one that never was."""
        stream = self.streams.get(number)
        if stream is None and (number > self.last_number or not number & 1):
            raise WireError(
                Code.PROTOCOL_ERROR, f"a frame of type {kind} on stream {number}, which is not open"
            )
        return stream

    def _fail(self, stream: Stream, code: Code) -> None:
        """A stream error that is the client's."""
        stream.reset(code)
        stream.on_lost(code)

    # ---- header blocks

    def _on_headers(self, number: int, flags: int, payload: bytes) -> None:
        if flags & (frames.PADDED | frames.WITH_PRIORITY):
            payload = _unpadded(payload, flags)
        if not number & 1:
            raise WireError(Code.PROTOCOL_ERROR, f"HEADERS on stream {number}")
        is_last = bool(flags & frames.END_STREAM)
        if flags & frames.END_HEADERS:
            self._on_block(number, payload, is_last)
        else:
            self._block = number, is_last, bytearray(payload)

    def _on_continuation(self, number: int, flags: int, payload: bytes) -> None:
        if self._block is None:
            raise WireError(Code.PROTOCOL_ERROR, "CONTINUATION without HEADERS")
        _, is_last, block = self._block
        self.spend(1)
        block += payload
        if len(block) > self.limits.head_bytes * HARD_FACTOR:
            raise WireError(Code.ENHANCE_YOUR_CALM, "the headers are far too large")
        if flags & frames.END_HEADERS:
            self._block = None
            self._on_block(number, bytes(block), is_last)

    def _on_block(self, number: int, block: bytes, is_last: bool) -> None:
        if number <= self.last_number:
            self._on_trailers(number, block, is_last)
            return
        self.last_number = number
        try:
            head = self._decoder.request(block)
            if is_last and head.content_length:
                raise MalformedError("a body is announced that does not come")
        except MalformedError:
            self.spend(1)
            self.send(frames.reset(number, Code.PROTOCOL_ERROR))
            return
        if self.is_full:
            self.spend(1)
            self.send(frames.reset(number, Code.REFUSED_STREAM))
            return
        stream = self._open_stream(self, number, head)
        if not stream.is_sent:
            self.streams[number] = stream
            if is_last:
                self._ended(stream, [])

    def _on_trailers(self, number: int, block: bytes, is_last: bool) -> None:
        stream = self.streams.get(number)
        try:
            trailers = self._decoder.trailers(block)
            if stream is None:
                self.spend(1)
            elif stream.is_received or not is_last or stream.expected_bytes:
                raise MalformedError("headers within a body")
            else:
                self._ended(stream, trailers)
        except MalformedError:
            self.spend(1)
            if stream is not None:
                self._fail(stream, Code.PROTOCOL_ERROR)

    # ---- the other frames

    def _on_other(self, kind: int, number: int, flags: int, payload: bytes) -> None:
        match kind:
            case frames.WINDOW_UPDATE:
                self._on_window_update(number, payload)
            case frames.SETTINGS:
                self._on_settings(number, flags, payload)
            case frames.PING:
                self._on_ping(number, flags, payload)
            case frames.RST_STREAM:
                self._on_reset(number, payload)
            case frames.CONTINUATION:
                self._on_continuation(number, flags, payload)
            case frames.DATA:
                self._on_padded_data(number, flags, payload)
            case frames.PUSH_PROMISE:
                raise WireError(Code.PROTOCOL_ERROR, "clients promise nothing")
            case frames.PRIORITY if len(payload) != 5 or not number:
                raise WireError(Code.FRAME_SIZE_ERROR, "a PRIORITY frame takes 5 bytes and a stream")
            case frames.GOAWAY if number or len(payload) < 8:
                raise WireError(Code.PROTOCOL_ERROR, "a GOAWAY frame is broken")
            case _:
                self.spend(1)  # PRIORITY, GOAWAY (its streams end as they would), unknown types

    def _on_padded_data(self, number: int, flags: int, payload: bytes) -> None:
        content = _unpadded(payload, flags & ~frames.WITH_PRIORITY)
        padding = len(payload) - len(content)
        self._recv_window -= padding
        stream = self._known(number, frames.DATA)
        if stream is not None:
            stream.recv_window -= padding
            stream.held_bytes += padding
            stream.consumed(padding)
        else:
            self.credit(padding)
        self.spend(1)
        self._begin_data(number, len(content), bool(flags & frames.END_STREAM))
        if content:
            self._go_on(content, 0)

    def _on_window_update(self, number: int, payload: bytes) -> None:
        if len(payload) != 4:
            raise WireError(Code.FRAME_SIZE_ERROR, "a WINDOW_UPDATE frame takes 4 bytes")
        size = int.from_bytes(payload, "big") & frames.MAX_WINDOW
        self.spend(1)
        if number == 0:
            self.send_window += size
            if not size or self.send_window > frames.MAX_WINDOW:
                raise WireError(Code.FLOW_CONTROL_ERROR, "a window update of 0 or over the limit")
            self.push_blocked()
            return
        stream = self._known(number, frames.WINDOW_UPDATE)
        if stream is None:
            return
        stream.send_window += size
        if not size or stream.send_window > frames.MAX_WINDOW:
            self._fail(stream, Code.FLOW_CONTROL_ERROR)
        elif number in self._blocked:
            self.push_blocked()

    def _on_settings(self, number: int, flags: int, payload: bytes) -> None:
        if number or len(payload) % 6 or (flags & frames.ACK and payload):
            raise WireError(Code.FRAME_SIZE_ERROR, "a SETTINGS frame is broken")
        if flags & frames.ACK:
            return
        self.spend(1 + len(payload) // 60)
        values: dict[int, int] = {}
        for start in range(0, len(payload), 6):
            values[int.from_bytes(payload[start : start + 2], "big")] = int.from_bytes(
                payload[start + 2 : start + 6], "big"
            )
        if values.get(Setting.ENABLE_PUSH, 0) > 1:
            raise WireError(Code.PROTOCOL_ERROR, "ENABLE_PUSH is 0 or 1")
        frame_bytes = values.get(Setting.MAX_FRAME_SIZE, self.peer_frame_bytes)
        if not frames.DEFAULT_FRAME_BYTES <= frame_bytes < 2**24:
            raise WireError(Code.PROTOCOL_ERROR, f"MAX_FRAME_SIZE is {frame_bytes}")
        self.peer_frame_bytes = frame_bytes
        self.send(frames.SETTINGS_ACK)
        self._set_window(values.get(Setting.INITIAL_WINDOW_SIZE, self.peer_window_bytes))

    def _set_window(self, size_bytes: int) -> None:
        if size_bytes > frames.MAX_WINDOW:
            raise WireError(Code.FLOW_CONTROL_ERROR, "INITIAL_WINDOW_SIZE is over the limit")
        change, self.peer_window_bytes = size_bytes - self.peer_window_bytes, size_bytes
        if not change:
            return
        for stream in self.streams.values():
            stream.send_window += change
            if stream.send_window > frames.MAX_WINDOW:
                raise WireError(Code.FLOW_CONTROL_ERROR, "INITIAL_WINDOW_SIZE makes a window too large")
        self.push_blocked()

    def _on_ping(self, number: int, flags: int, payload: bytes) -> None:
        if number or len(payload) != 8:
            raise WireError(Code.FRAME_SIZE_ERROR, "a PING frame takes 8 bytes")
        if not flags & frames.ACK:
            self.spend(1)
            self.send(frames.ping(payload, is_answer=True))

    def _on_reset(self, number: int, payload: bytes) -> None:
        if len(payload) != 4:
            raise WireError(Code.FRAME_SIZE_ERROR, "a RST_STREAM frame takes 4 bytes")
        stream = self._known(number, frames.RST_STREAM)
        self.spend(1 if stream is None else RESET_COST)
        if stream is not None:
            self.forget(stream)
            stream.on_lost(int.from_bytes(payload, "big"))


def _unpadded(payload: bytes, flags: int) -> bytes:
    """A payload without padding and priority. Raises ``WireError``."""
    start, stop = 0, len(payload)
    if flags & frames.PADDED:
        start = 1
        stop -= payload[0] if payload else 1
    if flags & frames.WITH_PRIORITY:
        start += 5
    if start > stop:
        raise WireError(Code.PROTOCOL_ERROR, "more padding than payload")
    return payload[start:stop]
