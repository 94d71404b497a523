"""An HTTP/2 connection on a transport: writes together what was put out together, and keeps the time.

A server makes one ``Link`` for each connection that begins with the preface and calls ``sweep`` about once a second,
which ends what waits too long, so that the hot path sets no timers. Left out: what a request means (``open_stream``).

Invariant: every stream of a lost connection is told so once; no exception of an owner ends anything but its connection.
"""

from __future__ import annotations

import asyncio
from typing import cast

from wakeful.kit import logs
from wakeful.kit.http2 import frames
from wakeful.kit.http2.connection import Connection, Opener
from wakeful.kit.http2.frames import Code, WireError
from wakeful.kit.http2.limits import Limits

JOIN_BYTES = 64 * 1024
"""Output up to this size is joined into one write; above it the buffers are handed on as they are."""
UNREAD_BYTES = 4 * 1024 * 1024
"""Bytes the transport may hold for a client that reads nothing, not even our control frames; then it is cut off."""

log = logs.get("http2")


class Link(asyncio.Protocol):
    """One connection, the protocol of its transport."""

    def __init__(self, limits: Limits, open_stream: Opener) -> None:
        self._limits = limits
        self._loop = asyncio.get_running_loop()
        self._is_planned = False
        self._is_receiving = False
        self._is_lost = False
        self._pinged_at = 0.0
        self._idle_since = 0.0
        self._transport: asyncio.Transport | None = None
        self.connection = Connection(limits, open_stream, self._plan)

    # ---- asyncio's calls

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.Transport, transport)  # uvloop's is one, by duck only
        peer = transport.get_extra_info("peername")
        self.connection.peer = f"{peer[0]}:{peer[1]}" if isinstance(peer, tuple) else ""
        self.connection.now = self._idle_since = self._loop.time()
        self.connection.greet()

    def data_received(self, data: bytes) -> None:
        if self._is_lost:
            return
        connection = self.connection
        connection.now = self._loop.time()
        self._is_receiving = True
        try:
            connection.receive(data)
        except WireError as error:
            self._end(error.code, str(error))
        except Exception as error:  # an owner failed: its connection ends, nothing else does
            log.error("http2 connection failed", error=f"{type(error).__name__}: {error}"[:500])
            self._end(Code.INTERNAL_ERROR, "internal error")
        finally:
            self._is_receiving = False
            self._flush()

    def eof_received(self) -> bool:
        return False

    def connection_lost(self, exc: Exception | None) -> None:
        self._is_lost = True
        self.connection.lose_all()

    def pause_writing(self) -> None:
        self.connection.is_flowing = False

    def resume_writing(self) -> None:
        self.connection.is_flowing = True
        self.connection.now = self._loop.time()
        self.connection.push_blocked()

    # ---- out

    def _plan(self) -> None:
        if not (self._is_planned or self._is_receiving or self._is_lost):
            self._is_planned = True
            self._loop.call_soon(self._flush)

    def _flush(self) -> None:
        self._is_planned = False
        transport = self._transport
        if self._is_lost or transport is None:
            return
        out = self.connection.take()
        if out:
            if sum(map(len, out)) <= JOIN_BYTES:
                transport.write(b"".join(out))
            else:
                transport.writelines(out)
            if not self.connection.is_flowing and transport.get_write_buffer_size() > UNREAD_BYTES:
                transport.abort()
                return
            if self.connection.has_more and not self._is_planned:
                self._is_planned = True
                self._loop.call_soon(self._go_on)
        if not self.connection.streams:
            self._idle_since = self._loop.time()
            if self.connection.is_closing:
                transport.close()

    def _go_on(self) -> None:
        """Another turn for bodies that filled the last one."""
        self.connection.push_blocked()
        self._flush()

    # ---- the end

    def ask_to_leave(self) -> None:
        """A first GOAWAY that names no end: the client opens its next connection elsewhere."""
        if not self.connection.is_going_away:
            self.connection.go_away(last=frames.MAX_NUMBER)

    def close_when_done(self) -> None:
        """The last GOAWAY; the connection closes when its requests are answered."""
        if not self.connection.is_closing:
            self.connection.go_away()
            self._plan()

    def abort(self) -> None:
        if self._transport is not None:
            self._transport.abort()

    def _end(self, code: Code, reason: str) -> None:
        """Say why and close."""
        self.connection.go_away(code, reason)
        self._is_receiving = False
        self.connection.lose_all()
        self._flush()
        if self._transport is not None:
            self._transport.close()
        self._is_lost = True

    def sweep(self, now: float) -> None:
        """End what waits too long; to be called about once a second."""
        connection, limits = self.connection, self._limits
        connection.now = now
        if self._is_lost:
            self.abort()  # closed a second ago and the client has not read why
            return
        if not connection.streams:
            if now - self._idle_since > limits.idle_s:
                self.close_when_done()
            return
        for stream in list(connection.streams.values()):
            if stream.is_owed and now - stream.opened_at > limits.stall_s:
                stream.on_leaving(is_late=True)
            if stream.pending_bytes and now - stream.moved_at > limits.stall_s:
                stream.reset(Code.CANCEL)
                stream.on_lost(Code.CANCEL)
        if now - connection.heard_at <= limits.ping_s:
            return
        if self._pinged_at > connection.heard_at:
            if now - self._pinged_at > limits.ping_s:
                self.abort()
            return
        self._pinged_at = now
        connection.send(frames.ping(b"wakeful?", is_answer=False))
