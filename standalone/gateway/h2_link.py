"""One HTTP/2 connection, either side: the h2 state machine on a transport, with flow control and flood limits.

``h2_front`` (towards clients) and ``h2_pod`` (towards pods) derive from it. Each stream has an ``Inbox`` for what
comes in and a pending buffer for what goes out. Window credit is given back to the peer as the inbox is read, per
stream; the connection's window is as large as all streams' together, so that one slow stream stalls no other.

Left out: priorities (deprecated), server push. Invariant: memory per connection is bounded by streams x window on
the way in and by streams x ``CONGESTED_BYTES`` (plus one write) on the way out; a peer that sends control frames
faster than ``h2_floods_per_s``, or does not read our answers to them, is cut off.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections import deque
from typing import Any, cast

import h2.config
import h2.errors
import h2.events
import h2.exceptions
import h2.settings

from standalone.gateway.h2_state import GracefulConnection
from standalone.gateway.inbox import BodyError, Headers, Inbox
from standalone.gateway.outgoing import Outgoing
from standalone.gateway.settings import Limits

CONGESTED_BYTES = 64 * 1024
UNREAD_BYTES = 1024 * 1024
"""Bytes the transport may hold for a peer that does not read; beyond it the peer is cut off."""
CHEAP_EVENTS = (
    h2.events.StreamReset,
    h2.events.PingReceived,
    h2.events.RemoteSettingsChanged,
    h2.events.PriorityUpdated,
    h2.events.UnknownFrameReceived,
)


def _ignore(_: int) -> None:
    pass


class Stream:
    """What goes in and out on one stream; the base of ``H2Exchange`` and ``H2PodCall``."""

    def __init__(self, link: H2Link, number: int) -> None:
        self.link = link
        self.number = number
        self.inbox = Inbox(self._on_read)
        self.pending: deque[bytes] = deque()
        self.pending_bytes = 0
        self.is_finishing = False
        self.out_trailers: Headers = []
        self.is_sent = False
        self.is_lost = False
        self._drain: asyncio.Future[None] | None = None

    def write(self, data: bytes) -> None:
        if self.is_lost or self.is_finishing or not data:
            return
        self.pending.append(data)
        self.pending_bytes += len(data)
        self.link.push(self)

    def finish(self, data: bytes, trailers: Headers) -> None:
        if self.is_lost or self.is_finishing:
            return
        if data:
            self.pending.append(data)
            self.pending_bytes += len(data)
        self.out_trailers = trailers
        self.is_finishing = True
        self.link.push(self)

    def flush(self) -> None:
        pass

    @property
    def is_congested(self) -> bool:
        return self.is_lost or self.pending_bytes > CONGESTED_BYTES

    async def drained(self) -> None:
        while self.is_congested and not self.is_lost:
            self._drain = asyncio.get_running_loop().create_future()
            await self._drain
        if self.is_lost:
            raise BodyError("the peer closed the stream")

    def wake_writer(self) -> None:
        drain, self._drain = self._drain, None
        if drain is not None and not drain.done():
            drain.set_result(None)

    def lose(self, error: BaseException) -> None:
        """The stream is over before its time. What was not read is credited to the connection's window."""
        self.is_lost = True
        if self.inbox.buffered:
            self.link.credit(self.number, self.inbox.buffered)
        self.inbox.on_read = _ignore
        self.pending.clear()
        self.pending_bytes = 0
        self.inbox.fail(error)
        self.wake_writer()

    def _on_read(self, size_bytes: int) -> None:
        self.link.credit(self.number, size_bytes)


class H2Link(Outgoing):
    """The connection. Subclasses handle the events in ``on_event``."""

    def __init__(self, is_client: bool, limits: Limits) -> None:
        super().__init__()
        self.limits = limits
        self.streams: dict[int, Stream] = {}
        self._blocked: dict[int, None] = {}
        self._flush_planned = False
        self._flood_from = 0.0
        self._flood_count = 0
        self._loop = asyncio.get_running_loop()
        config = h2.config.H2Configuration(
            client_side=is_client,
            header_encoding=None,
            validate_outbound_headers=False,
            normalize_outbound_headers=False,
        )
        self.h2 = GracefulConnection(config)
        codes = h2.settings.SettingCodes
        changes = {
            codes.INITIAL_WINDOW_SIZE: limits.h2_stream_window_bytes,
            codes.MAX_HEADER_LIST_SIZE: limits.head_bytes,
            codes.MAX_CONCURRENT_STREAMS: limits.h2_streams,
            codes.ENABLE_CONNECT_PROTOCOL: 0,
        }
        if is_client:
            changes[codes.ENABLE_PUSH] = 0
        self.h2.local_settings = h2.settings.Settings(client=is_client, initial_values=changes)
        self.h2.max_inbound_frame_size = self.h2.local_settings.max_frame_size

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = cast(asyncio.Transport, transport)  # uvloop's is one, by duck only
        self.h2.initiate_connection()
        everything = self.limits.h2_stream_window_bytes * self.limits.h2_streams
        self.h2.increment_flow_control_window(min(everything, 2**31 - 1 - 65535))
        self._flush_now()

    def data_received(self, data: bytes) -> None:
        if self.is_lost:
            return
        try:
            events = self.h2.receive_data(data)
        except h2.exceptions.ProtocolError as error:
            self.close_with(error.error_code, f"HTTP/2 protocol error: {error}")
            return
        cheap = 0
        for event in events:
            cheap += isinstance(event, CHEAP_EVENTS) or (
                isinstance(event, h2.events.DataReceived) and not event.data
            )
            self._dispatch(event)
        if cheap and self._is_flood(cheap):
            self.close_with(h2.errors.ErrorCodes.ENHANCE_YOUR_CALM, "too many control frames")
            return
        self._flush_now()

    def _dispatch(self, event: Any) -> None:
        if isinstance(event, h2.events.DataReceived):
            self._on_data(event)
        elif isinstance(event, h2.events.WindowUpdated):
            self._on_window(event.stream_id)
        elif isinstance(event, h2.events.RemoteSettingsChanged):
            # a peer may allow a huge table; what we send needs none larger than the default
            self.h2.encoder.header_table_size = min(self.h2.encoder.header_table_size, 4096)
            self._on_window(0)
        elif isinstance(event, h2.events.StreamEnded):
            stream = self.streams.get(event.stream_id)
            if stream is not None:
                stream.inbox.end()
                self._forget_if_done(stream)
        elif isinstance(event, h2.events.TrailersReceived):
            stream = self.streams.get(event.stream_id)
            if stream is not None:
                stream.inbox.trailers = [(n, v) for n, v in event.headers if not n.startswith(b":")]
        elif isinstance(event, h2.events.StreamReset):
            stream = self._drop(event.stream_id)
            if stream is not None:
                stream.lose(BodyError("the peer reset the stream"))
                self.on_stream_lost(stream, event.error_code)
        else:
            self.on_event(event)

    def on_event(self, event: Any) -> None:
        """Requests, answers and GOAWAY; for subclasses."""

    def on_stream_lost(self, stream: Stream, code: int) -> None:
        """The peer gave a stream up, or the connection is gone; for subclasses."""

    def on_quiet(self) -> None:
        """The last stream has ended; for subclasses."""

    def _drop(self, number: int) -> Stream | None:
        """Take a stream off the list."""
        self._blocked.pop(number, None)
        stream = self.streams.pop(number, None)
        if stream is not None and not self.streams:
            self.on_quiet()
        return stream

    def _on_data(self, event: Any) -> None:
        stream = self.streams.get(event.stream_id)
        if stream is None or stream.inbox.is_settled:
            self.credit(event.stream_id, event.flow_controlled_length)
            return
        padding = event.flow_controlled_length - len(event.data)
        if padding:
            self.credit(event.stream_id, padding)
        if event.data:
            stream.inbox.feed(event.data)

    def credit(self, number: int, size_bytes: int) -> None:
        """Give window back for bytes that were taken."""
        if self.is_lost:
            return
        try:
            self.h2.acknowledge_received_data(size_bytes, number)
        except (h2.exceptions.ProtocolError, KeyError, ValueError):
            return  # the stream is closed; h2 has credited the connection
        self._flush_soon()

    # ---- out

    def push(self, stream: Stream) -> None:
        """Send what the windows allow of a stream's pending bytes; the rest waits for the next window update."""
        number = stream.number
        if self.is_lost or number not in self.streams:
            return
        try:
            self._send_pending(stream)
        except h2.exceptions.ProtocolError as error:
            self._drop(number)
            stream.lose(BodyError(f"the stream is closed: {error}"))
            self.on_stream_lost(stream, h2.errors.ErrorCodes.STREAM_CLOSED)
        self._flush_soon()

    def _send_pending(self, stream: Stream) -> None:
        number = stream.number
        while stream.pending:
            room = 0 if self._paused_writing else self.h2.local_flow_control_window(number)
            room = min(room, self.h2.max_outbound_frame_size)
            if room <= 0:
                self._blocked[number] = None
                return
            data = stream.pending.popleft()
            if len(data) > room:
                stream.pending.appendleft(data[room:])
                data = data[:room]
            stream.pending_bytes -= len(data)
            is_last = stream.is_finishing and not stream.pending and not stream.out_trailers
            self.h2.send_data(number, data, end_stream=is_last)
            if is_last:
                stream.is_sent = True
        self._blocked.pop(number, None)
        if not stream.is_congested:
            stream.wake_writer()
        if stream.is_finishing and not stream.is_sent:
            if stream.out_trailers:
                self.h2.send_headers(number, stream.out_trailers, end_stream=True)
            else:
                self.h2.end_stream(number)
            stream.is_sent = True
        if stream.is_sent:
            self.on_sent(stream)
            self._forget_if_done(stream)

    def on_sent(self, stream: Stream) -> None:
        """Our side of the stream is complete; for subclasses."""

    def _forget_if_done(self, stream: Stream) -> None:
        if stream.is_sent and stream.inbox.is_settled:
            self._drop(stream.number)

    def _on_window(self, number: int) -> None:
        for blocked in [number] if number else list(self._blocked):
            stream = self.streams.get(blocked)
            if stream is not None and stream.pending:
                self.push(stream)

    def resume_writing(self) -> None:
        super().resume_writing()
        self._on_window(0)

    def reset(self, stream: Stream, code: int) -> None:
        """Give a stream up and tell the peer."""
        self._drop(stream.number)
        stream.lose(BodyError("the stream was given up"))
        if not self.is_lost:
            try:
                self.h2.reset_stream(stream.number, code)
            except (h2.exceptions.ProtocolError, KeyError):
                return  # closed already
            self._flush_soon()

    def _flush_soon(self) -> None:
        if not self._flush_planned and not self.is_lost:
            self._flush_planned = True
            self._loop.call_soon(self._flush_now)

    def _flush_now(self) -> None:
        self._flush_planned = False
        if self.is_lost:
            return
        data = self.h2.data_to_send()
        if data:
            self.transport.write(data)
            if self._paused_writing and self.transport.get_write_buffer_size() > UNREAD_BYTES:
                self.transport.abort()

    # ---- end

    def close_with(self, code: int, reason: str) -> None:
        """Say GOAWAY and close."""
        if self.is_lost:
            return
        with contextlib.suppress(h2.exceptions.ProtocolError):
            self.h2.close_connection(code, reason.encode()[:200])
        self._flush_now()
        self.transport.close()
        self._lose_all(BodyError(reason))

    def connection_lost(self, exc: Exception | None) -> None:
        self._lose_all(BodyError(f"the connection was closed: {exc}" if exc else "the connection was closed"))

    def _lose_all(self, error: BodyError) -> None:
        self._writing_lost()
        streams, self.streams = self.streams, {}
        self._blocked.clear()
        for stream in streams.values():
            stream.lose(error)
            self.on_stream_lost(stream, h2.errors.ErrorCodes.CANCEL)

    def _is_flood(self, cheap: int) -> bool:
        now = self._loop.time()
        if now - self._flood_from > 1.0:
            self._flood_from, self._flood_count = now, 0
        self._flood_count += cheap
        return self._flood_count > self.limits.h2_floods_per_s
