"""One HTTP/2 connection to a pod, shared by many requests: gRPC and pods that declare an ``h2c`` port.

``pods_pool`` opens another when the streams that the pod allows are taken or the pod says GOAWAY. Invariant: a
connection that failed or is going away is offered to no new request.
"""

from __future__ import annotations

import asyncio
from typing import Any

import h2.errors
import h2.events
import h2.exceptions

from standalone.gateway.exchange import Answer, DialError, Head, PodError
from standalone.gateway.h2_link import H2Link, Stream
from standalone.gateway.inbox import BodyError, Headers
from standalone.gateway.settings import Limits


class H2PodCall(Stream):
    """See ``exchange.PodCall``."""

    link: H2PodConnection

    def __init__(self, link: H2PodConnection, number: int) -> None:
        super().__init__(link, number)
        self.is_reused = link.is_used
        self._answer: asyncio.Future[Answer] = asyncio.get_running_loop().create_future()

    def start(self, head: Head, headers: Headers) -> None:
        fields = [
            (b":method", head.method),
            (b":scheme", b"http"),
            (b":path", head.target),
            (b":authority", head.authority.encode("latin-1")),
            *((name, value) for name, value in headers if name != b"host"),
        ]
        self.link.send_request(self, fields, is_ended=not head.has_body)

    async def answer(self) -> Answer:
        return await self._answer

    def settle(self, answer: Answer) -> None:
        if not self._answer.done():
            self._answer.set_result(answer)

    def refuse(self, error: PodError) -> None:
        """No answer will come."""
        if not self._answer.done():
            self._answer.set_exception(error)
            self._answer.exception()  # retrieved: the caller may be gone

    def finish(self, data: bytes, trailers: Headers) -> None:
        if not self.is_sent:
            super().finish(data, trailers)

    def release(self) -> None:
        if not (self.is_sent and self.inbox.is_settled):
            self.link.reset(self, h2.errors.ErrorCodes.CANCEL)

    def abort(self) -> None:
        self.link.reset(self, h2.errors.ErrorCodes.CANCEL)


class H2PodConnection(H2Link):
    """The connection."""

    def __init__(self, limits: Limits) -> None:
        super().__init__(True, limits)
        self.is_used = False
        self.is_going_away = False

    @property
    def has_room(self) -> bool:
        """Another request may be started here."""
        if self.is_lost or self.is_going_away:
            return False
        allowed = min(self.h2.remote_settings.max_concurrent_streams, self.limits.h2_streams)
        return len(self.streams) < allowed

    def open_call(self) -> H2PodCall:
        """A new stream. Raises ``DialError`` where the connection is not to be used any more."""
        try:
            call = H2PodCall(self, self.h2.get_next_available_stream_id())
        except h2.exceptions.ProtocolError as error:
            self.is_going_away = True
            raise DialError(f"the connection to the pod is used up: {error}") from error
        self.streams[call.number] = call
        return call

    def send_request(self, call: H2PodCall, fields: Headers, *, is_ended: bool) -> None:
        """Send a request's headers."""
        try:
            self.h2.send_headers(call.number, fields, end_stream=is_ended)
        except h2.exceptions.ProtocolError as error:
            self.is_going_away = True
            self._drop(call.number)
            call.refuse(DialError(f"the pod's connection takes no request: {error}"))
            return
        self.is_used = True
        call.is_sent = is_ended
        self._flush_soon()

    def on_event(self, event: Any) -> None:
        if isinstance(event, h2.events.ConnectionTerminated):
            self._go_away(event.last_stream_id or 0)
        if not isinstance(event, h2.events.ResponseReceived):
            return
        call = self.streams.get(event.stream_id)
        if not isinstance(call, H2PodCall):
            return
        status = next((value for name, value in event.headers if name == b":status"), b"")
        if not status.isdigit():
            call.refuse(PodError("the pod's answer has no status"))
            return
        headers = [(name, value) for name, value in event.headers if not name.startswith(b":")]
        if event.stream_ended is not None:
            call.inbox.end()
        call.settle(Answer(int(status), headers))

    def on_stream_lost(self, stream: Stream, code: int) -> None:
        if not isinstance(stream, H2PodCall):
            return
        if code == h2.errors.ErrorCodes.REFUSED_STREAM:
            stream.refuse(DialError("the pod refused the request unprocessed"))
        else:
            stream.refuse(PodError("the pod closed the stream before it answered (does it speak HTTP/2?)"))

    def _go_away(self, last_number: int) -> None:
        self.is_going_away = True
        for number in [n for n in self.streams if n > last_number]:
            call = self.streams.pop(number)
            self.on_stream_lost(call, h2.errors.ErrorCodes.REFUSED_STREAM)
            call.lose(BodyError("the pod is going away"))
        self.leave()

    def leave(self) -> None:
        """Take no new request; close when those under way have ended."""
        self.is_going_away = True
        if not self.streams:
            self.on_quiet()

    def on_quiet(self) -> None:
        if self.is_going_away and not self.is_lost:
            # not at once: what ends the last stream (RST_STREAM) may have to be written first
            self._loop.call_soon(self.close_with, h2.errors.ErrorCodes.NO_ERROR, "done")

    def connection_lost(self, exc: Exception | None) -> None:
        self.is_going_away = True
        super().connection_lost(exc)
