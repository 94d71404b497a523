"""One client connection that speaks HTTP/2 without TLS (h2c by prior knowledge): gRPC and others.

``h1_front`` hands the socket over when it sees the preface. Every stream is an exchange with its own task. Requests
beyond what the settings allow are refused by h2; streams that a client opens and resets in turn (rapid reset) count
as cheap frames and end the connection at ``h2_floods_per_s``. A body that stops coming is answered with 408 as over
HTTP/1, but for gRPC, whose streams may be silent and are bounded by the revision's timeout.
"""

from __future__ import annotations

import asyncio
import re
from typing import Any

import h2.errors
import h2.events
import h2.exceptions

from standalone.gateway import replies
from standalone.gateway.exchange import Head
from standalone.gateway.front import NEVER, Front
from standalone.gateway.h2_link import H2Link, Stream
from standalone.gateway.inbox import BodyError, Headers

TOKEN = re.compile(rb"[!#$%&'*+.^_`|~0-9A-Za-z-]+")
"""A method (RFC 9110 5.6.2); anything else would be written into an HTTP/1 request line as it is."""
DROPPED_BYTES = 64 * 1024 * 1024
"""A body up to this length (the most that a model server takes) is dropped as it comes behind an answer that is complete."""


class H2Exchange(Stream):
    """See ``exchange.Exchange``."""

    link: H2Front

    def __init__(self, link: H2Front, number: int, head: Head) -> None:
        super().__init__(link, number)
        self.head = head
        self.body = self.inbox
        self.is_started = False
        self.task: asyncio.Task[None] | None = None
        self.heard_at = asyncio.get_running_loop().time()
        """When its body last came on, or was not waited for."""
        self._kept: Headers = []

    @property
    def has_timed_body(self) -> bool:
        """Bytes of its body are to come within a time."""
        return not (self.inbox.is_settled or self.head.is_grpc)

    def start(self, status: int, headers: Headers, has_body: bool = True) -> None:
        self.is_started = True
        self._kept = [(b":status", b"%d" % status), *headers]

    def flush(self) -> None:
        kept, self._kept = self._kept, []
        if kept and not self.is_lost:
            self.link.send_answer(self, kept, is_last=False)

    def want_body(self) -> None:
        pass

    def become_tunnel(self, headers: Headers) -> None:
        raise AssertionError("HTTP/2 requests ask for no upgrade")

    def abort(self) -> None:
        self.link.reset(self, h2.errors.ErrorCodes.INTERNAL_ERROR)

    def write(self, data: bytes) -> None:
        self.flush()
        if self.head.method != b"HEAD":
            super().write(data)

    def finish(self, data: bytes, trailers: Headers) -> None:
        if self.head.method == b"HEAD":
            data = b""
        if self._kept and not data and not trailers and not self.is_lost:
            # one frame for an answer of headers only: gRPC's "trailers-only" must end with it
            kept, self._kept = self._kept, []
            self.is_finishing = self.is_sent = True
            self.link.send_answer(self, kept, is_last=True)
            return
        self.flush()
        super().finish(data, trailers)


class H2Front(H2Link):
    """The connection."""

    def __init__(self, front: Front, peer: str) -> None:
        super().__init__(False, front.limits)
        self.front = front
        self.peer = peer
        self.deadline = NEVER

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        super().connection_made(transport)
        self.front.connections.add(self)
        self.deadline = self._loop.time() + self.limits.idle_timeout_s

    def connection_lost(self, exc: Exception | None) -> None:
        self.front.leave(self)
        super().connection_lost(exc)

    def on_event(self, event: Any) -> None:
        if isinstance(event, h2.events.RequestReceived):
            self._on_request(event)
        elif isinstance(event, h2.events.ConnectionTerminated) and not self.streams:
            self.transport.close()

    def _on_request(self, event: Any) -> None:
        number = event.stream_id
        head = _make_head(event.headers, is_ended=event.stream_ended is not None)
        if self.front.is_draining or head is None or len(head.headers) > self.limits.header_count:
            code = h2.errors.ErrorCodes
            self.h2.reset_stream(number, code.REFUSED_STREAM if head else code.PROTOCOL_ERROR)
            return
        head.peer = self.peer
        exchange = H2Exchange(self, number, head)
        if event.stream_ended is not None:
            exchange.inbox.end()
        self.streams[number] = exchange
        self._watch_bodies()
        exchange.task = self.front.run(exchange)
        exchange.task.add_done_callback(self._on_task_done)

    def _on_task_done(self, _: asyncio.Task[None]) -> None:
        if not self.streams:
            self.deadline = self._loop.time() + self.limits.idle_timeout_s
            if self.front.is_draining:
                self.drain()

    def _on_data(self, event: Any) -> None:
        stream = self.streams.get(event.stream_id)
        if isinstance(stream, H2Exchange):
            stream.heard_at = self._loop.time()
        super()._on_data(event)

    def _watch_bodies(self) -> None:
        """Come back when the first of the bodies under way may have stopped."""
        exchanges = (stream for stream in self.streams.values() if isinstance(stream, H2Exchange))
        heard = [exchange.heard_at for exchange in exchanges if exchange.has_timed_body]
        self.deadline = min(heard) + self.limits.body_idle_timeout_s if heard else NEVER

    def _end_stopped_bodies(self) -> None:
        now = self._loop.time()
        for stream in list(self.streams.values()):
            if not isinstance(stream, H2Exchange) or not stream.has_timed_body:
                continue
            if not stream.inbox.is_awaited:
                stream.heard_at = now  # it is we who do not read
            elif stream.heard_at + self.limits.body_idle_timeout_s <= now:
                self._refuse_body(stream)
        self._watch_bodies()

    def _refuse_body(self, exchange: H2Exchange) -> None:
        if exchange.is_started:
            exchange.abort()
        else:
            reply = replies.text(408, "the request's body stopped coming")
            exchange.start(reply.status, reply.headers)
            exchange.finish(reply.body, [])
        if exchange.task is not None:
            exchange.task.cancel()

    def on_stream_lost(self, stream: Stream, code: int) -> None:
        if isinstance(stream, H2Exchange) and stream.task is not None:
            stream.task.cancel()

    def send_answer(self, stream: H2Exchange, headers: Headers, *, is_last: bool) -> None:
        """Send status and headers; ``is_last``: nothing follows."""
        try:
            self.h2.send_headers(stream.number, headers, end_stream=is_last)
        except h2.exceptions.ProtocolError:
            self.reset(stream, h2.errors.ErrorCodes.INTERNAL_ERROR)
            return
        if is_last:
            self.on_sent(stream)
            self._forget_if_done(stream)
        self._flush_soon()

    def on_sent(self, stream: Stream) -> None:
        if stream.inbox.is_settled or not isinstance(stream, H2Exchange):
            return
        length = stream.head.length
        if length is not None and length <= DROPPED_BYTES:
            # no reset: to curl it is a failure, and httpx reads no answer before it has sent all
            stream.lose(BodyError("the answer was complete before the request"))
        else:  # the rest of the request is not wanted (RFC 9113 8.1)
            self.reset(stream, h2.errors.ErrorCodes.NO_ERROR)

    def on_deadline(self) -> None:
        if self.streams and not self.front.is_draining:
            self._end_stopped_bodies()
            return
        self.close_with(h2.errors.ErrorCodes.NO_ERROR, "idle")

    def drain(self) -> None:
        if not self.streams:
            self.close_with(h2.errors.ErrorCodes.NO_ERROR, "the gateway is stopping")


def _make_head(fields: Headers, *, is_ended: bool) -> Head | None:
    pseudo = {name: value for name, value in fields if name.startswith(b":")}
    headers = [(name, value) for name, value in fields if not name.startswith(b":")]
    method, path = pseudo.get(b":method", b""), pseudo.get(b":path", b"")
    authority = pseudo.get(b":authority")
    if authority is None:
        authority = next((value for name, value in headers if name == b"host"), b"")
    if method == b"CONNECT" or not TOKEN.fullmatch(method):
        return None
    if not path.startswith((b"/", b"*")) or any(c <= 32 for c in path):
        return None
    length = next((v for n, v in headers if n == b"content-length"), None)
    if is_ended and length is not None and length.strip(b"0"):
        return None  # a pod's HTTP/1 connection would take the next request for the body that never comes
    return Head(
        method=method,
        target=path,
        authority=authority.decode("latin-1"),
        headers=headers,
        version="2",
        has_body=not is_ended,
        length=int(length) if length is not None and length.isdigit() and len(length) < 19 else None,
    )
