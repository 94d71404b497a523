"""A gRPC call of many messages each way: its handler is a task that receives and sends with back-pressure.

Made by ``grpc_server`` for methods that stream. The handler's task begins with the first message, so that a stream that only
was opened costs half a kilobyte. Window credit is given back as the handler receives, room is waited for as it sends.
Left out: unary calls and what both share (``grpc_call``).

Invariant: at most the stream's window and one message wait to be received, and one message beyond ``CONGESTED_BYTES`` to
be sent.
"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from functools import partial
from typing import TYPE_CHECKING

from wakeful.core.errors import FailureError, FailureKind, InvalidError
from wakeful.kit.http2.connection import Connection
from wakeful.kit.http2.heads import Fields, RequestHead
from wakeful.serving import grpc_messages, grpc_status
from wakeful.serving.grpc_call import GrpcCall, Prepared
from wakeful.serving.grpc_messages import Buffer

if TYPE_CHECKING:
    from wakeful.serving.grpc_server import GrpcServer


class StreamCall(GrpcCall):
    """Messages both ways, as many as each side likes. The handler's task begins with the first message."""

    __slots__ = ("_is_begun", "_is_started", "_waiter", "_writer")

    def __init__(
        self, connection: Connection, number: int, head: RequestHead, prepared: Prepared, server: GrpcServer
    ) -> None:
        super().__init__(connection, number, head, prepared, server)
        self._waiter: asyncio.Future[None] | None = None
        self._writer: asyncio.Future[None] | None = None
        self._is_begun = False
        self._is_started = False

    @property
    def is_owed(self) -> bool:
        return not self._is_begun

    def on_data(self, data: Buffer) -> None:
        try:
            self.unframer.put(data)
        except FailureError as error:
            self.fail(error)
            return
        self._begin()
        _wake(self._waiter)

    def on_end(self, trailers: Fields) -> None:
        self._begin()
        _wake(self._waiter)

    def on_writable(self) -> None:
        _wake(self._writer)

    def on_lost(self, code: int) -> None:
        super().on_lost(code)
        _wake(self._writer)
        _wake(self._waiter)

    def on_leaving(self, *, is_late: bool) -> None:
        if is_late:
            super().on_leaving(is_late=True)
        else:
            self.fail(FailureError(FailureKind.UNAVAILABLE, "the server is shutting down"))

    def _begin(self) -> None:
        if not (self._is_begun or self._is_ended):
            self._is_begun = True
            self._server.run(self, self._run())

    async def _run(self) -> None:
        try:
            async with asyncio.timeout_at(self.context.deadline):
                await self.prepared.method.handle(self)
        except TimeoutError as error:
            raise FailureError(FailureKind.DEADLINE, "the call's deadline has passed") from error
        trailers = grpc_status.ok(self.context.response_headers)
        self._over(200)
        if self._is_started:
            self.finish(trailers)
        else:
            self.start(self.head_block() + trailers, is_last=True)

    async def receive(self) -> Buffer | None:
        """The next message, or None after the last. Raises ``FailureError`` for one that cannot be read."""
        while True:
            framed = self.unframer.take_framed()
            if framed is not None:
                flag, message = framed
                self.consumed(len(message) + grpc_messages.PREFIX_BYTES)
                return await self._inflated(flag, message) if flag else message
            self.consumed(self.held_bytes)  # the rest of a message over the window must be able to come
            if self.is_received:
                if self.unframer.has_rest:
                    raise InvalidError("the call ended in the middle of a message")
                return None
            self._waiter = asyncio.get_running_loop().create_future()
            await self._waiter

    async def _inflated(self, flag: int, message: Buffer) -> Buffer:
        work = partial(self.unframer.inflate, flag, message)
        if len(message) > grpc_messages.LONG_BYTES:
            return self.unframer.keep(await asyncio.get_running_loop().run_in_executor(None, work))
        return self.unframer.keep(work())

    async def send(self, parts: Sequence[Buffer]) -> None:
        """Send one message; returns when the client has room for more. Raises ``FailureError`` over the send limit."""
        work = partial(self.frame, parts)
        if self.will_compress and sum(map(len, parts)) > grpc_messages.LONG_BYTES:
            framed = await asyncio.get_running_loop().run_in_executor(None, work)
        else:
            framed = work()
        if not self._is_started:
            self._is_started = True
            self.start(self.head_block())
        for part in framed:
            self.write(part)
        while self.is_congested and not self.is_sent:
            self._writer = asyncio.get_running_loop().create_future()
            await self._writer

    def _close(self, trailers: bytes) -> None:
        if self._is_started:
            self.finish(trailers)
        else:
            self.start(self.head_block() + trailers, is_last=True)


def _wake(waiter: asyncio.Future[None] | None) -> None:
    if waiter is not None and not waiter.done():
        waiter.set_result(None)
