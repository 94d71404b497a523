"""What watches requests from outside the edge: spans, the access log, the payload logger.

``Observed`` stands between the wires and the edge, only where somebody watches; then it costs some microseconds a
request. It watches POST requests, which are those that ask models; probes and metrics pass by. A request that is traced
goes on with the ``traceparent`` of its own span, so a transformer's call of its predictor is a child of it.
Left out: what is written down about a request (``access_log``, ``payload_log``, ``wakeful.kit.tracing``).

Invariant: the reply goes out first, whatever its observers do; each observed request is reported once, at its last byte.
"""

from __future__ import annotations

import time
from collections.abc import AsyncIterator, Sequence
from functools import partial
from typing import Protocol

from wakeful.kit import logs
from wakeful.kit.tracing import Span, Tracer
from wakeful.serving.exchange import CLIENT_CLOSED, Answer, Cancel, Handler, Headers, Reply, Request
from wakeful.serving.keeping import Keeping, Kept
from wakeful.serving.model import Context

SERVER_ERROR = 500

log = logs.get("serving")


class Observer(Protocol):
    """Told of every finished request whose status is ``least_status`` or more."""

    @property
    def least_status(self) -> int:
        """0: of all."""

    @property
    def body_bytes(self) -> int:
        """How much of a body it looks at; longer ones it takes as left out. 0: none."""

    def answered(self, request: Request, reply: Reply, request_id: str, duration_s: float) -> None:
        """One request was answered; the body of ``reply`` is bytes, or left out (``CutReply``)."""


class TracedHeaders(Headers):
    """A request's headers under a span: its own ``traceparent``, and where the parts of the work are noted.

    What a handler derives from a head does not depend on the span, so ``memo`` is the one of the headers that came: requests
    with the same head share it, traced or not.
    """

    __slots__ = ("_given", "span")

    def __init__(self, headers: Headers, span: Span) -> None:
        self._given = headers
        self.span = span
        self.first = {**headers.first, "traceparent": span.traceparent}
        rest = [pair for pair in headers.pairs if pair[0] != "traceparent"]
        self.pairs = [*rest, ("traceparent", span.traceparent)]

    @property
    def memo(self) -> object:
        return self._given.memo

    @memo.setter
    def memo(self, value: object) -> None:
        self._given.memo = value


def note(context: Context, part: str, seconds: float) -> None:
    """Record that ``part`` of a traced call has just ended and took ``seconds``; nothing where it is not traced."""
    span: Span | None = context.span
    if span is not None:
        end_ns = time.time_ns()
        span.child(part, end_ns - int(seconds * 1e9), end_ns)


class Observed:
    """A ``Handler`` around another."""

    def __init__(self, inner: Handler, observers: Sequence[Observer], tracer: Tracer | None) -> None:
        self._inner = inner
        self._observers = observers
        self._tracer = tracer
        self.keeping = Keeping(max((it.body_bytes for it in observers), default=0))
        """Of streamed answers."""
        self.is_quiet = tracer is None and all(it.least_status >= SERVER_ERROR for it in observers)
        """Only failures are of interest: what ends well costs a clock and a comparison."""

    def begin(self, request: Request, answer: Answer) -> Cancel | None:
        if request.method != "POST":
            return self._inner.begin(request, answer)
        if self.is_quiet:
            return self._inner.begin(
                request, partial(self._answer_quietly, request, time.perf_counter(), answer)
            )
        watch = self.watch(request)
        cancel = self._inner.begin(request, partial(self._answer, watch, answer))
        return None if cancel is None else partial(_cancel, watch, cancel)

    def screen(self, head: Request) -> Reply | None:
        reply = self._inner.screen(head)
        if reply is not None and head.method == "POST":
            self.watch(head).end(reply)
        return reply

    def failed(self, head: Request | None, error: Exception) -> Reply:
        reply = self._inner.failed(head, error)
        if head is not None and head.method == "POST":
            self.watch(head).end(reply)
        return reply

    def watch(self, request: Request, began: float | None = None) -> Watch:
        """Observe ``request``, whose headers are its span's from now on; gRPC, which is no ``Handler``, asks too.

        Where only failures are of interest (``is_quiet``) it may be asked at the failure, and told when the request ``began``.
        """
        span = None
        if self._tracer is not None:
            path = request.target.partition("?")[0][:300]
            attributes: dict[str, str | int] = {
                "http.request.method": request.method,
                "url.path": path,
                "network.protocol.name": request.scheme,
                "http.request.body.size": len(request.body),
            }
            span = self._tracer.begin(f"{request.method} {path}", request.headers.first, attributes)
            request.headers = TracedHeaders(request.headers, span)
        return Watch(request, span, self._observers, began)

    def _answer_quietly(self, request: Request, began: float, answer: Answer, reply: Reply) -> None:
        """A stream that fails later is reported by ``failed``; a caller that goes away is no failure."""
        if reply.status < SERVER_ERROR:
            answer(reply)
        else:
            self._answer(self.watch(request, began), answer, reply)

    def _answer(self, watch: Watch, answer: Answer, reply: Reply) -> None:
        if isinstance(reply.body, bytes | tuple):
            answer(reply)
            watch.end(reply)
        else:
            reply.body = _Observed(reply, reply.body, watch, Kept(self.keeping))
            answer(reply)


def _cancel(watch: Watch, cancel: Cancel) -> None:
    cancel()
    watch.end(Reply(CLIENT_CLOSED))


class Watch:
    """One request under way."""

    __slots__ = ("_began", "_is_open", "_observers", "_request", "_span")

    def __init__(
        self, request: Request, span: Span | None, observers: Sequence[Observer], began: float | None = None
    ) -> None:
        self._request = request
        self._span = span
        self._observers = observers
        self._began = time.perf_counter() if began is None else began
        self._is_open = True

    def end(self, reply: Reply) -> None:
        """Tell everybody, once; what goes wrong with them is logged and nothing else."""
        if not self._is_open:
            return
        self._is_open = False
        duration_s = time.perf_counter() - self._began
        request_id = reply.headers.get("X-Request-Id", "")
        for observer in self._observers:
            if reply.status < observer.least_status:
                continue
            try:
                observer.answered(self._request, reply, request_id, duration_s)
            except Exception as error:
                log.error("observer failed", error=f"{type(error).__name__}: {error}"[:300])
        if self._span is not None:
            attributes: dict[str, str | int] = {
                "http.response.status_code": reply.status,
                "wakeful.request_id": request_id,
            }
            self._span.end(attributes, f"status {reply.status}" if reply.status >= SERVER_ERROR else "")


class _Observed:
    """A streamed body that tells at its end what it was."""

    __slots__ = ("_body", "_is_failed", "_kept", "_reply", "_watch")

    def __init__(self, reply: Reply, body: AsyncIterator[bytes], watch: Watch, kept: Kept) -> None:
        self._reply = reply
        self._body = body
        self._watch = watch
        self._kept = kept
        self._is_failed = False

    def __aiter__(self) -> _Observed:
        return self

    async def __anext__(self) -> bytes:
        try:
            part = await anext(self._body)
        except StopAsyncIteration:
            raise
        except BaseException:
            self._is_failed = True
            raise
        self._kept.add(part)
        return part

    async def aclose(self) -> None:
        """Close the body and report."""
        try:
            close = getattr(self._body, "aclose", None)
            if close is not None:
                await close()
        finally:
            if self._is_failed:  # the wire asks for the answer to the failure, and that is reported
                self._kept.drop()
            else:
                self._watch.end(self._kept.take(self._reply.status, self._reply.headers))
