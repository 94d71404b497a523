"""``ModelStreamInfer``: requests and answers on one stream, in the same order, several at work at once.

The call of Triton's streaming client. Every request of the stream is an inference of its own (batched, counted, bounded
like any other); one that fails is answered with ``error_message`` and the stream goes on. A model that answers in parts
gives one message a part. Left out: the stream itself (``grpc_stream_call``).

Invariant: answers come in the order of the requests; at most ``AHEAD`` requests of one stream are at work; when the stream
ends, none is left.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Callable, Iterator, Sequence
from functools import partial
from typing import Any

from wakeful.core.errors import FailureError, FailureKind
from wakeful.core.protocol import oip_proto
from wakeful.core.protocol.oip_messages import ModelInferResponse, ModelStreamInferResponse
from wakeful.serving import grpc_edge, grpc_messages, grpc_status, http_v2, streams
from wakeful.serving.exchange import CLIENT_CLOSED, Reply
from wakeful.serving.grpc_call import observed_failure, observed_reply
from wakeful.serving.grpc_edge import UNKNOWN, InferenceService
from wakeful.serving.grpc_messages import Buffer
from wakeful.serving.grpc_stream_call import StreamCall
from wakeful.serving.keeping import Kept
from wakeful.serving.model import Context
from wakeful.serving.observing import Watch

AHEAD = 16
_RESPONSE_TAG = b"\x12"
_END = object()


class Asked:
    """One request of a stream, what came of it, and what observers get to see of that."""

    __slots__ = ("_failed", "_kept", "_watch", "context", "incoming", "result")

    def __init__(
        self, context: Context, watch: Watch | None, kept: Kept | None, failed: Callable[[Reply], None]
    ) -> None:
        self.context = context
        self.incoming: oip_proto.Incoming | None = None
        self.result: Any = None
        """The model's, or the ``FailureError``."""
        self._watch = watch
        self._kept = kept
        self._failed = failed

    def keep(self, parts: Sequence[Buffer]) -> None:
        """Remember an answer for the observers, as long as all together are not too long."""
        if self._watch is not None and self._kept is not None:
            self._kept.add(grpc_messages.prefix(sum(map(len, parts))), *parts)

    def end(self, outcome: FailureError | int) -> None:
        """Tell them, once: the status, or why it failed."""
        watch, self._watch = self._watch, None
        kept, self._kept = self._kept, None
        if isinstance(outcome, FailureError):
            if kept is not None:
                kept.drop()
            tell = self._failed if watch is None else watch.end
            tell(observed_failure(self.context, outcome))
        elif watch is not None and kept is not None:
            plain = observed_reply(self.context, outcome)
            watch.end(kept.take(plain.status, plain.headers))


class StreamInfer:
    """The method."""

    def __init__(self, service: InferenceService) -> None:
        self._service = service
        service.server.add(grpc_edge.SERVICE, {"ModelStreamInfer": self._run}, streams=True)

    async def _run(self, call: StreamCall) -> None:
        answers: asyncio.Queue[asyncio.Task[Asked] | FailureError | None] = asyncio.Queue(AHEAD)
        reader = asyncio.create_task(self._read(call, answers))
        try:
            while (work := await answers.get()) is not None:
                if isinstance(work, FailureError):
                    raise work
                await self._send(call, await work)
        finally:
            reader.cancel()
            while not answers.empty():
                _drop(answers.get_nowait())

    async def _read(
        self, call: StreamCall, answers: asyncio.Queue[asyncio.Task[Asked] | FailureError | None]
    ) -> None:
        work: asyncio.Task[Asked] | None = None
        try:
            while (content := await call.receive()) is not None:
                work = asyncio.create_task(self._ask(call, content))
                await answers.put(work)
                work = None
        except FailureError as error:
            await answers.put(error)
            return
        finally:
            _drop(work)
        await answers.put(None)

    async def _ask(self, call: StreamCall, content: Buffer) -> Asked:
        """One inference of the stream; its failure is a result."""
        service = self._service
        name, status = UNKNOWN, CLIENT_CLOSED
        service.server.begin_inference()
        watched = service.server.watch(call, content)
        failed = partial(service.server.failed, call, content, time.perf_counter())
        if watched is None:
            asked = Asked(call.context, None, None, failed)
        else:
            asked = Asked(call.new_context(watched[1]), watched[0], service.server.kept(), failed)
        try:
            service.server.check_inference()
            if oip_proto.weight(content) >= http_v2.LARGE_BYTES:
                incoming = await service.plane.aside(partial(oip_proto.decode, content))
            else:
                incoming = service.known.decode(content)
            asked.incoming = incoming
            entry = service.entry(incoming)
            name = entry.model.name
            asked.result = await service.plane.call(entry, "predict", incoming.request, asked.context)
            status = 200
        except FailureError as error:
            status = grpc_status.http_status(error)
            asked.result = error
            name = service.named(content) if name == UNKNOWN else name
        finally:
            service.server.end_inference(name, status)
            if asked.result is None and status == CLIENT_CLOSED:
                asked.end(CLIENT_CLOSED)
        return asked

    async def _send(self, call: StreamCall, asked: Asked) -> None:
        outcome: FailureError | int = CLIENT_CLOSED
        try:
            outcome = await self._sent(call, asked)
        finally:
            asked.end(outcome)

    async def _sent(self, call: StreamCall, asked: Asked) -> FailureError | int:
        """Send what came of a request; 200, or the failure that was told."""
        incoming, result = asked.incoming, asked.result
        if isinstance(result, FailureError):
            await call.send([_failed(incoming, result)])
            return result
        assert incoming is not None, "what was asked of the model was decoded"
        try:
            entry = self._service.entry(incoming)
            if not streams.is_stream(result):
                await self._answer(call, asked, grpc_edge.encode(entry, incoming, result))
                return 200
            async for part in self._parts(result):
                await self._answer(call, asked, grpc_edge.encode(entry, incoming, part, may_share=False))
        except FailureError as error:
            failure = error
        except (asyncio.CancelledError, GeneratorExit):
            raise
        except Exception as error:
            failure = FailureError(FailureKind.INTERNAL, f"{type(error).__name__} : {error}"[:500])
        else:
            return 200
        await call.send([_failed(incoming, failure)])
        return failure

    async def _answer(self, call: StreamCall, asked: Asked, parts: list[Buffer]) -> None:
        asked.keep(parts)
        await call.send([_RESPONSE_TAG + oip_proto.varint(sum(map(len, parts))), *parts])

    async def _parts(self, result: AsyncIterator[Any] | Iterator[Any]) -> AsyncIterator[Any]:
        """What a model's generator yields; a sync one is stepped in a thread."""
        try:
            if isinstance(result, AsyncIterator):
                async for part in result:
                    yield part
                return
            while (part := await self._service.plane.aside(partial(next, result, _END))) is not _END:
                yield part
        finally:
            close = getattr(result, "aclose", None)
            if close is not None:
                await close()


def _drop(work: object) -> None:
    """Give up a request of a stream that has ended."""
    if not isinstance(work, asyncio.Task):
        return
    if not work.done():
        work.cancel()
    elif not work.cancelled() and work.exception() is None:
        work.result().end(CLIENT_CLOSED)


def _failed(incoming: oip_proto.Incoming | None, error: Any) -> bytes:
    """One that says what was wrong, with the request's id where it is known."""
    response = ModelInferResponse()
    if incoming is not None:
        response.model_name, response.id = incoming.model_name, incoming.request.id or ""
    content: bytes = ModelStreamInferResponse(
        error_message=str(error), infer_response=response
    ).SerializeToString()
    return content
