"""The HTTP/2 wire of the model server's port: REST and gRPC by content type, on one connection.

``port`` makes one for every connection that begins with the preface. gRPC goes to ``grpc_server``, everything else
becomes a ``Request`` (``http2_rest``). The protocol itself is ``wakeful.kit.http2``. The gRPC edge is made on the first
call that needs it: protobuf costs a server without gRPC nothing.

Invariant: as for every wire: in ``wires`` until ``forget``, and nothing of the connection outlives ``connection_lost``.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable

from wakeful.kit.http2 import limits
from wakeful.kit.http2.connection import Connection, Opener
from wakeful.kit.http2.heads import RequestHead
from wakeful.kit.http2.link import Link
from wakeful.kit.http2.stream import Stream
from wakeful.serving.wire.connections import Connections, Wire
from wakeful.serving.wire.http2_rest import RestStream

SWEEP_S = 1.0
GRPC = "application/grpc"


class Http2(Link, Wire):
    """One connection."""

    def __init__(self, shared: Connections, grpc: Callable[[], Opener] | None) -> None:
        bounds = shared.limits
        super().__init__(
            limits.Limits(
                head_bytes=bounds.head_bytes, idle_s=bounds.idle_timeout_s, stall_s=bounds.body_timeout_s
            ),
            self._open,
        )
        self._shared = shared
        self._grpc = grpc
        self.deadline = 0.0

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        super().connection_made(transport)
        self.deadline = self._loop.time() + SWEEP_S

    def connection_lost(self, exc: Exception | None) -> None:
        super().connection_lost(exc)
        self._shared.forget(self)

    def expire(self) -> None:
        """The port's sweep, about once a second."""
        now = self._loop.time()
        self.deadline = now + SWEEP_S
        self.sweep(now)

    def close(self) -> None:
        self.close_when_done()
        for stream in list(self.connection.streams.values()):
            stream.on_leaving(is_late=False)

    def _open(self, connection: Connection, number: int, head: RequestHead) -> Stream:
        if self._shared.is_draining:
            self.ask_to_leave()
        if self._grpc is not None and is_grpc(head):
            return self._grpc()(connection, number, head)
        return RestStream(connection, number, head, self._shared)


def is_grpc(head: RequestHead) -> bool:
    """Whether the content type is gRPC's (with protobuf, which it is without a subtype)."""
    if head.memo is not None:
        return True
    kind = next((value for name, value in head.fields if name == "content-type"), "")
    return kind == GRPC or kind.startswith((GRPC + "+", GRPC + ";"))
