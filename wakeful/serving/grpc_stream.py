"""``ModelStreamInfer``: requests and answers on one stream, in the same order, several at work at once.

The call of Triton's streaming client. Every request of the stream is an inference of its own (batched, counted, bounded
like any other); one that fails is answered with ``error_message`` and the stream goes on. A model that answers in parts
gives one message a part. Left out: the stream itself (``grpc_stream_call``).

Invariant: answers come in the order of the requests; at most ``AHEAD`` requests of one stream are at work; when the stream
ends, none is left.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterator
from functools import partial
from typing import Any

from wakeful.core.errors import FailureError, FailureKind
from wakeful.core.protocol import oip_proto
from wakeful.core.protocol.oip_messages import ModelInferResponse, ModelStreamInferResponse
from wakeful.serving import grpc_edge, grpc_status, http_v2, streams
from wakeful.serving.exchange import CLIENT_CLOSED
from wakeful.serving.grpc_call import observed_reply
from wakeful.serving.grpc_edge import UNKNOWN, InferenceService
from wakeful.serving.grpc_messages import Buffer
from wakeful.serving.grpc_stream_call import StreamCall

AHEAD = 16
_RESPONSE_TAG = b"\x12"
_END = object()
Answer = tuple[oip_proto.Incoming | None, Any]
"""A decoded request and its result, or the ``FailureError``."""


class StreamInfer:
    """The method."""

    def __init__(self, service: InferenceService) -> None:
        self._service = service
        service.server.add(grpc_edge.SERVICE, {"ModelStreamInfer": self._run}, streams=True)

    async def _run(self, call: StreamCall) -> None:
        answers: asyncio.Queue[asyncio.Task[Answer] | FailureError | None] = asyncio.Queue(AHEAD)
        reader = asyncio.create_task(self._read(call, answers))
        try:
            while (work := await answers.get()) is not None:
                if isinstance(work, FailureError):
                    raise work
                await self._send(call, *await work)
        finally:
            reader.cancel()
            while not answers.empty():
                left = answers.get_nowait()
                if isinstance(left, asyncio.Task):
                    left.cancel()

    async def _read(
        self, call: StreamCall, answers: asyncio.Queue[asyncio.Task[Answer] | FailureError | None]
    ) -> None:
        work: asyncio.Task[Answer] | None = None
        try:
            while (content := await call.receive()) is not None:
                work = asyncio.create_task(self._ask(call, content))
                await answers.put(work)
                work = None
        except FailureError as error:
            await answers.put(error)
            return
        finally:
            if work is not None:
                work.cancel()
        await answers.put(None)

    async def _ask(self, call: StreamCall, content: Buffer) -> Answer:
        """One inference of the stream; its failure is a result."""
        service, incoming = self._service, None
        name, status = UNKNOWN, CLIENT_CLOSED
        service.server.begin_inference()
        watched = service.server.watch(call, content)
        context = call.context if watched is None else call.new_context(watched[1])
        try:
            service.server.check_inference()
            if oip_proto.weight(content) >= http_v2.LARGE_BYTES:
                incoming = await service.plane.aside(partial(oip_proto.decode, content))
            else:
                incoming = oip_proto.decode(content)
            entry = service.entry(incoming)
            name = entry.model.name
            result = await service.plane.call(entry, "predict", incoming.request, context)
            status = 200
            return incoming, result
        except FailureError as error:
            status = grpc_status.http_status(error)
            return incoming, error
        finally:
            service.server.end_inference(name, status)
            if watched is not None:
                watched[0].end(observed_reply(context, status, b""))

    async def _send(self, call: StreamCall, incoming: oip_proto.Incoming | None, result: Any) -> None:
        if isinstance(result, FailureError) or incoming is None:
            await call.send([_failed(incoming, result)])
            return
        entry = self._service.entry(incoming)
        try:
            if not streams.is_stream(result):
                await call.send(_answered(grpc_edge.encode(entry, incoming, result)))
                return
            async for part in self._parts(result):
                await call.send(_answered(grpc_edge.encode(entry, incoming, part)))
        except FailureError as error:
            await call.send([_failed(incoming, error)])
        except (asyncio.CancelledError, GeneratorExit):
            raise
        except Exception as error:
            text = f"{type(error).__name__} : {error}"[:500]
            await call.send([_failed(incoming, FailureError(FailureKind.INTERNAL, text))])

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


def _answered(parts: list[Buffer]) -> list[Buffer]:
    """A ``ModelStreamInferResponse`` around an answer."""
    return [_RESPONSE_TAG + oip_proto.varint(sum(map(len, parts))), *parts]


def _failed(incoming: oip_proto.Incoming | None, error: Any) -> bytes:
    """One that says what was wrong, with the request's id where it is known."""
    response = ModelInferResponse()
    if incoming is not None:
        response.model_name, response.id = incoming.model_name, incoming.request.id or ""
    content: bytes = ModelStreamInferResponse(
        error_message=str(error), infer_response=response
    ).SerializeToString()
    return content
