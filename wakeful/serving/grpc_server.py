"""The gRPC server on the model server's HTTP/2 wire: finds the method, makes the call, keeps count.

``wire.http2`` opens every request of content type ``application/grpc`` here. Services register their methods by path
(``/package.Service/Method``); a head is worked out once (``Prepared``) and kept with the connection's header table.
Source: gRPC over HTTP/2 (public). Left out: what methods do.

Invariant: every request gets a status: an unknown method is UNIMPLEMENTED with its name, never silence.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine, Mapping
from dataclasses import dataclass
from functools import partial
from typing import Any, cast

from wakeful.core.errors import FailureError, FailureKind, InvalidError
from wakeful.core.protocol.problem import shown
from wakeful.kit.http2.connection import Connection
from wakeful.kit.http2.heads import RequestHead
from wakeful.kit.http2.stream import Stream
from wakeful.serving import grpc_status
from wakeful.serving.exchange import Headers, Reply, Request
from wakeful.serving.grpc_call import GrpcCall, Method, Prepared, UnaryCall
from wakeful.serving.grpc_messages import ENCODINGS, Buffer
from wakeful.serving.grpc_stream_call import StreamCall
from wakeful.serving.http_body import Budget
from wakeful.serving.in_flight import InFlight
from wakeful.serving.keeping import Kept
from wakeful.serving.metrics import Metrics, Refusal
from wakeful.serving.observing import SERVER_ERROR, Observed, Watch

_UNITS_S = {"H": 3600.0, "M": 60.0, "S": 1.0, "m": 1e-3, "u": 1e-6, "n": 1e-9}
TIMEOUT_DIGITS = 8


@dataclass(frozen=True, slots=True)
class Limits:
    """Bounds of gRPC calls."""

    receive_bytes: int = 64 * 1024 * 1024
    """One message from a client, inflated."""
    send_bytes: int = 2**31 - 1
    """One message to a client."""
    streams: int = 1024
    """Streaming calls open at once in the whole server; each may stay for hours and costs some 8 KB."""


class GrpcServer:
    """Event loop only."""

    def __init__(
        self,
        limits: Limits,
        budget: Budget,
        flights: InFlight,
        metrics: Metrics,
        observed: Observed | None = None,
    ) -> None:
        self.limits = limits
        self.budget = budget
        self.open_streams = 0
        self.rejected = 0
        """Streaming calls over the limit so far."""
        metrics.count_refusals(Refusal.STREAMS, lambda: self.rejected)
        self._flights = flights
        self._metrics = metrics
        self._observed = observed
        self._methods: dict[str, Method] = {}
        self._tasks: set[asyncio.Task[None]] = set()
        self.services: list[str] = []
        """Full names, for reflection."""

    def add(
        self, service: str, methods: Mapping[str, Callable[[Any], Any]], *, streams: bool = False
    ) -> None:
        """Register the methods of a service; ``streams``: they are coroutine functions on a ``StreamCall``."""
        if service not in self.services:
            self.services.append(service)
        for name, handle in methods.items():
            self._methods[f"/{service}/{name}"] = Method(f"{service}/{name}", handle, streams)

    def open(self, connection: Connection, number: int, head: RequestHead) -> Stream:
        """The owner of a new request."""
        prepared = head.memo
        if prepared is None:
            prepared = head.memo = self._prepare(head)
        if isinstance(prepared, bytes):
            return _refused(connection, number, head, prepared)
        if prepared.method.is_stream:
            if self.open_streams >= self.limits.streams:
                self.rejected += 1
                error = FailureError(
                    FailureKind.OVERLOADED,
                    f"{self.open_streams} streaming calls are open, which is the limit",
                    1.0,
                )
                return _refused(connection, number, head, grpc_status.HEAD + grpc_status.failed(error))
            return StreamCall(connection, number, head, prepared, self)
        return UnaryCall(connection, number, head, prepared, self)

    def enter(self, call: GrpcCall) -> None:
        """A call has begun."""
        self.open_streams += call.prepared.method.is_stream

    def begin_inference(self) -> None:
        """An inference request has begun: a drain waits for it. ``end_inference`` must follow."""
        self._flights.enter()

    def check_inference(self) -> None:
        """Whether it is within the limit of requests at once. Raises ``FailureError`` (overloaded)."""
        self._flights.check()

    def watch(self, call: GrpcCall, content: Buffer) -> tuple[Watch, Headers] | None:
        """Observe an inference request; what to tell of its end, and its headers under a span.

        None: nobody observes, or failures only (``failed``).
        """
        observed = self._observed
        if observed is None or observed.is_quiet:
            return None
        request = _observed_request(call, content)
        return observed.watch(request), request.headers

    def failed(self, call: GrpcCall, content: Buffer, began: float, reply: Reply) -> None:
        """Tell those who observe failures only of one; ``watch`` was None."""
        if self._observed is not None and reply.status >= SERVER_ERROR:
            self._observed.watch(_observed_request(call, content), began).end(reply)

    def kept(self) -> Kept | None:
        """For a copy of an answer in several parts; None where nobody observes."""
        return None if self._observed is None else Kept(self._observed.keeping)

    def end_inference(self, model: str, status: int) -> None:
        """It has ended."""
        self._flights.leave()
        self._metrics.count(model, "grpc", status)

    def leave(self, call: GrpcCall, status: int) -> None:
        """A call has ended; ``status`` in HTTP's words."""
        self.open_streams -= call.prepared.method.is_stream
        if call.model is not None:
            self.end_inference(call.model, status)

    def run(self, call: GrpcCall, work: Coroutine[Any, Any, None]) -> None:
        """Run ``work`` for ``call``: its failure is the call's, and it is cancelled when the client has gone."""
        task = asyncio.get_running_loop().create_task(work)
        self._tasks.add(task)
        task.add_done_callback(partial(self._ended, call))
        call.cancel_by(task.cancel)

    def _ended(self, call: GrpcCall, task: asyncio.Task[None]) -> None:
        self._tasks.discard(task)
        if task.cancelled():
            call.fail(FailureError(FailureKind.CANCELLED, "the call was cancelled"))
            return
        error = task.exception()
        if isinstance(error, FailureError):
            call.fail(error)
        elif isinstance(error, Exception):
            call.broken(error)

    def _prepare(self, head: RequestHead) -> Prepared | bytes:
        """What a head asks for, or the refusal's header block."""
        try:
            return self._prepared(head)
        except FailureError as error:
            block = grpc_status.HEAD + grpc_status.failed(error)
            return block + grpc_status.ACCEPTED if "grpc-encoding" in str(error) else block

    def _prepared(self, head: RequestHead) -> Prepared:
        if head.is_too_large:
            raise grpc_status.TooLargeError("the metadata is larger than this server takes")
        if head.method != "POST":
            raise InvalidError(f"gRPC calls are POST, not {shown(head.method)}")
        headers = Headers(head.fields)
        method = self._methods.get(head.target)
        if method is None:
            raise FailureError(
                FailureKind.UNSUPPORTED,
                f"there is no method {shown(head.target)} here; the services are {', '.join(self.services)}",
            )
        coding = headers.get("grpc-encoding", "identity")
        if coding not in ENCODINGS:
            raise FailureError(
                FailureKind.UNSUPPORTED,
                f"grpc-encoding {shown(coding)} is not known here: send gzip, deflate or none",
            )
        return Prepared(method, headers, "" if coding == "identity" else coding, _timeout_s(headers))


def _observed_request(call: GrpcCall, content: Buffer) -> Request:
    body = cast(bytes, content)  # observers take any buffer's length, and copy what they keep
    return Request("POST", call.head.target, call.prepared.headers, body, "grpc", call.connection.peer)


def _timeout_s(headers: Headers) -> float | None:
    """Seconds in ``grpc-timeout``: up to eight digits and a unit."""
    value = headers.get("grpc-timeout")
    if value is None:
        return None
    digits, unit = value[:-1], _UNITS_S.get(value[-1:])
    if unit is None or not (digits.isascii() and digits.isdigit() and len(digits) <= TIMEOUT_DIGITS):
        raise InvalidError(
            f"grpc-timeout {shown(value)} is not a number of up to 8 digits and one of H M S m u n"
        )
    return int(digits) * unit


def _refused(connection: Connection, number: int, head: RequestHead, block: bytes) -> Stream:
    stream = Stream(connection, number, head)
    stream.start(block, is_last=True)
    return stream
