"""One gRPC call on one HTTP/2 stream: messages in, messages and a status out.

``UnaryCall`` hands its one message to the method's handler without a task; ``grpc_stream_call`` has the calls of many.
``grpc_server`` makes them. Left out: what methods do (``grpc_edge``).

Invariant: a call gets exactly one status, or none where the client has gone; its work is cancelled when it has; what it
charged on the budget is given back when it ends.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Coroutine, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Any

from wakeful.core.errors import FailureError, FailureKind, InvalidError
from wakeful.core.protocol import oip, problem
from wakeful.kit import logs
from wakeful.kit.http2 import heads
from wakeful.kit.http2.connection import Connection
from wakeful.kit.http2.heads import Fields, RequestHead
from wakeful.kit.http2.stream import Stream, answer
from wakeful.serving import grpc_messages, grpc_status, http_replies
from wakeful.serving.exchange import CLIENT_CLOSED, Headers, Reply
from wakeful.serving.grpc_messages import Buffer, Unframer
from wakeful.serving.model import Context

if TYPE_CHECKING:
    from wakeful.serving.grpc_server import GrpcServer
    from wakeful.serving.observing import Watch

REQUEST_ID = "x-request-id"
COMPRESS_BYTES = 1024
"""Answers from here on are compressed where the request was."""
NOTHING: Mapping[str, str] = {}

log = logs.get("serving")


@dataclass(frozen=True, slots=True)
class Method:
    """One method of a service. ``handle`` gets the call; a stream's is a coroutine function."""

    name: str
    handle: Callable[[Any], Any]
    is_stream: bool = False


@dataclass(frozen=True, slots=True)
class Prepared:
    """What a request's head says, worked out once for all calls with the same head."""

    method: Method
    headers: Headers
    coding: str
    """Of the messages; '' for none."""
    timeout_s: float | None


class GrpcCall(Stream):
    """What both kinds share."""

    __slots__ = (
        "_cancel",
        "_context",
        "_failed",
        "_is_ended",
        "_server",
        "_watch",
        "model",
        "prepared",
        "unframer",
    )

    def __init__(
        self, connection: Connection, number: int, head: RequestHead, prepared: Prepared, server: GrpcServer
    ) -> None:
        super().__init__(connection, number, head)
        self.prepared = prepared
        self.unframer = Unframer(server.limits.receive_bytes, prepared.coding, server.budget)
        self.model: str | None = None
        """The model that an inference call asks, ``-`` before that is known; None for other methods."""
        self._server = server
        self._watch: Watch | None = None
        self._failed: Callable[[Reply], None] | None = None
        """Whom to tell of a failure, where nobody wants to see more."""
        self._context: Context | None = None
        self._cancel: Callable[[], object] | None = None
        self._is_ended = False
        server.enter(self)

    @property
    def context(self) -> Context:
        """The call's headers, id and deadline, for the model."""
        if self._context is None:
            self._context = self.new_context(self.prepared.headers)
        return self._context

    def new_context(self, headers: Headers) -> Context:
        """A context of this call: for the call, or for one request of a stream."""
        context = Context(headers, http_replies.request_id(headers), "grpc")
        if self.prepared.timeout_s is not None:
            context.deadline = asyncio.get_running_loop().time() + self.prepared.timeout_s
        return context

    def observe(self, content: Buffer) -> None:
        """Let the server's observers see this call, an inference with ``content``; before ``context`` is asked for."""
        watched = self._server.watch(self, content)
        if watched is None:
            self._failed = partial(self._server.failed, self, content, time.perf_counter())
        else:
            self._watch, headers = watched
            self._context = self.new_context(headers)

    def _tell_observers(self, reply: Reply) -> None:
        watch, self._watch = self._watch, None
        if watch is not None:
            watch.end(reply)

    def cancel_by(self, cancel: Callable[[], object]) -> None:
        """Say what ends the work when the client has gone."""
        if self._is_ended:
            cancel()
        self._cancel = cancel

    def fail(self, error: FailureError) -> None:
        """End the call with a failure's status."""
        if self._is_ended:
            return
        metadata = self._context.response_headers if self._context is not None else NOTHING
        trailers = grpc_status.failed(error, metadata)
        status = grpc_status.http_status(error)
        failed = self._failed
        self._over(status)
        self._close(trailers)
        if self._watch is not None:
            self._tell_observers(observed_failure(self.context, error))
        elif failed is not None:
            failed(observed_failure(self.context, error))

    def _close(self, trailers: bytes) -> None:
        raise NotImplementedError

    def broken(self, error: Exception) -> None:
        """End the call after a mistake of ours."""
        log.error(
            "gRPC call failed",
            method=self.prepared.method.name,
            error=f"{type(error).__name__}: {error}"[:500],
        )
        self.fail(FailureError(FailureKind.INTERNAL, "internal error; the server's log says more"))

    def on_lost(self, code: int) -> None:
        self._over(CLIENT_CLOSED)
        if self._watch is not None:
            self._tell_observers(observed_reply(self.context, CLIENT_CLOSED))

    def _over(self, status: int) -> None:
        if self._is_ended:
            return
        self._is_ended = True
        self.unframer.release()
        self._failed = None  # it refers to the call, which is to go now, with its message
        cancel, self._cancel = self._cancel, None
        if cancel is not None:
            cancel()
        self._server.leave(self, status)

    def on_leaving(self, *, is_late: bool) -> None:
        if is_late:
            limit_s = self.connection.limits.stall_s
            self.fail(
                FailureError(FailureKind.DEADLINE, f"the call's message did not arrive within {limit_s:g} s")
            )

    def head_block(self) -> bytes:
        """The answer's headers."""
        block = grpc_status.HEAD
        if self._context is not None:
            block += heads.literal(REQUEST_ID, self._context.request_id)
        if self.will_compress:
            block += heads.encode([("grpc-encoding", self.prepared.coding)])
        return block

    @property
    def will_compress(self) -> bool:
        """Answers go out as the request came."""
        return self.prepared.coding in ("gzip", "deflate")

    def frame(self, parts: Sequence[Buffer]) -> list[Buffer]:
        """A message with its prefix. Raises ``FailureError`` for one over the send limit."""
        size = sum(map(len, parts))
        limit = self._server.limits.send_bytes
        if size > limit:
            raise grpc_status.TooLargeError(
                f"the answer has {size} bytes, this server sends {limit} (--grpc_max_send_message_length)"
            )
        if self.will_compress and size >= COMPRESS_BYTES:
            content = grpc_messages.compressed(b"".join(parts), self.prepared.coding)
            return [grpc_messages.prefix(len(content), is_compressed=True), content]
        return [grpc_messages.prefix(size), *parts]


class UnaryCall(GrpcCall):
    """One message in, one out."""

    __slots__ = ("message",)

    message: Buffer

    def on_data(self, data: Buffer) -> None:
        try:
            self.unframer.put(data)
            if self.unframer.has_several:
                raise self._too_many()
        except FailureError as error:
            self.fail(error)
            return
        self.consumed(len(data))

    def _too_many(self) -> InvalidError:
        return InvalidError(f"{self.prepared.method.name} takes one message, the call has more")

    def on_end(self, trailers: Fields) -> None:
        if self._is_ended:
            return
        try:
            framed = self.unframer.take_framed()
            if framed is None:
                raise InvalidError("the call ended before its message was complete")
            if self.unframer.has_rest:
                raise self._too_many()
            flag, message = framed
            if flag and len(message) > grpc_messages.LONG_BYTES:
                self._server.run(self, self._inflated(flag, message))
                return
            self._handle(self.unframer.keep(self.unframer.inflate(flag, message)) if flag else message)
        except FailureError as error:
            self.fail(error)

    async def _inflated(self, flag: int, message: Buffer) -> None:
        work = partial(self.unframer.inflate, flag, message)
        content = await asyncio.get_running_loop().run_in_executor(None, work)
        self._cancel = None  # the handler says what ends its own work
        self._handle(self.unframer.keep(content))

    def _handle(self, message: Buffer) -> None:
        self.message = message
        try:
            self.prepared.method.handle(self)
        except FailureError as error:
            self.fail(error)
        except Exception as error:  # a handler's mistake ends its call, nothing else
            self.broken(error)

    def reply(self, parts: Sequence[Buffer]) -> None:
        """Answer with one message and OK. Raises ``FailureError`` for one, or metadata, over the limit."""
        if self._is_ended:
            return
        if self.will_compress and sum(map(len, parts)) > grpc_messages.LONG_BYTES:
            self._server.run(self, self._reply_compressed(parts))
            return
        self._reply(parts, self.frame(parts))

    async def _reply_compressed(self, parts: Sequence[Buffer]) -> None:
        loop = asyncio.get_running_loop()
        self._reply(parts, await loop.run_in_executor(None, partial(self.frame, parts)))

    def _reply(self, parts: Sequence[Buffer], framed: list[Buffer]) -> None:
        if self._is_ended:
            return
        block = self.head_block()
        trailers = grpc_status.ok(self._context.response_headers if self._context is not None else NOTHING)
        self._over(200)
        if len(framed) == 2 and len(framed[1]) < grpc_messages.JOIN_BYTES:
            answer(self, block, b"".join(framed), trailers)
        else:
            self.start(block)
            for part in framed:
                self.write(part)
            self.finish(trailers)
        if self._watch is not None:
            plain = (grpc_messages.prefix(sum(map(len, parts))), *parts)
            self._tell_observers(observed_reply(self.context, 200, plain))

    def reply_later(self, work: Coroutine[Any, Any, Sequence[Buffer]]) -> None:
        """Answer with what ``work`` returns or raises."""
        self._server.run(self, self._reply_later(work))

    async def _reply_later(self, work: Coroutine[Any, Any, Sequence[Buffer]]) -> None:
        self.reply(await work)

    def _close(self, trailers: bytes) -> None:
        self.start(self.head_block() + trailers, is_last=True)


def observed_reply(context: Context, status: int, body: tuple[Buffer, ...] = ()) -> Reply:
    """What observers see of an answer: HTTP's status for the same outcome, messages with their prefixes, inflated."""
    return Reply(status, {"X-Request-Id": context.request_id, "content-type": "application/grpc"}, body)


def observed_failure(context: Context, error: FailureError) -> Reply:
    """What they see of a failure: the body that REST answers."""
    headers = {"X-Request-Id": context.request_id, "content-type": "application/json"}
    return Reply(grpc_status.http_status(error), headers, oip.dump(problem.render(error).body))
