"""The V2 edge over gRPC: ``inference.GRPCInferenceService`` on the data plane.

``grpc_server`` calls these methods. Source: kserve.md 5.4; what the server tells about itself is ``http_meta``'s.
``ModelInfer`` takes no task: decode, ``plane.submit``, encode in ``_done``. Messages with 256 KiB and more of elements one
by one are decoded in a thread; raw numbers, whatever their size, are not. Left out: the stream (``grpc_stream``), health and reflection (``grpc_services``).

Invariant: the answer holds exactly the outputs that the request lists, or all of them when it lists none; the status
is the one of ``core.errors`` for the failure's kind.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from typing import Any

from google.protobuf.message import DecodeError

from wakeful.core.errors import FailureError, FailureKind, InvalidError
from wakeful.core.protocol import oip, oip_proto
from wakeful.core.protocol.oip_messages import message
from wakeful.core.protocol.oip_proto_known import KnownMessages
from wakeful.core.protocol.oip_shares import Share
from wakeful.serving import http_v2, ids, streams
from wakeful.serving.dataplane import DataPlane
from wakeful.serving.grpc_call import UnaryCall
from wakeful.serving.grpc_messages import Buffer
from wakeful.serving.grpc_server import GrpcServer
from wakeful.serving.http_meta import Meta
from wakeful.serving.http_routes import Kind, Route
from wakeful.serving.registry import Entry

SERVICE = "inference.GRPCInferenceService"
UNKNOWN = "-"
_REFUSED = ("SystemSharedMemory", "CudaSharedMemory")
_TEXT = "this server reads no shared memory: send tensors in raw_input_contents"


class InferenceService:
    """The methods that answer once."""

    def __init__(self, plane: DataPlane, meta: Meta, server: GrpcServer) -> None:
        self.plane = plane
        self.server = server
        self.known = KnownMessages()
        self._meta = meta
        told = {
            "ServerLive": self._live,
            "ServerReady": self._ready,
            "ModelReady": self._model_ready,
            "ServerMetadata": self._metadata,
            "ModelMetadata": self._model_metadata,
            "ModelStatistics": self._statistics,
            "RepositoryIndex": self._index,
            "RepositoryModelLoad": self._load,
            "RepositoryModelUnload": self._unload,
        }
        server.add(SERVICE, {name: partial(self._tell, name, tell) for name, tell in told.items()})
        for kind in _REFUSED:
            names = (f"{kind}Status", f"{kind}Register", f"{kind}Unregister")
            server.add(SERVICE, dict.fromkeys(names, _refuse_shared_memory))
        server.add(SERVICE, {"ModelInfer": self._infer})

    # ---- inference

    def _infer(self, call: UnaryCall) -> None:
        call.model = UNKNOWN
        self.server.begin_inference()
        call.observe(call.message)
        self.server.check_inference()
        try:
            if oip_proto.weight(call.message) >= http_v2.LARGE_BYTES:
                call.reply_later(self._infer_aside(call))
                return
            incoming = self.known.decode(call.message)
            entry = self.entry(incoming)
        except FailureError:
            call.model = self.named(call.message)
            raise
        call.model = entry.model.name
        done = partial(self._done, call, entry, incoming)
        call.cancel_by(self.plane.submit(entry, "predict", incoming.request, call.context, done).cancel)

    async def _infer_aside(self, call: UnaryCall) -> Sequence[Buffer]:
        try:
            incoming = await self.plane.aside(partial(oip_proto.decode, call.message))
            entry = self.entry(incoming)
        except FailureError:
            call.model = self.named(call.message)
            raise
        call.model = entry.model.name
        result = await self.plane.call(entry, "predict", incoming.request, call.context)
        return await self.plane.aside(partial(encode, entry, incoming, result))

    def _done(self, call: UnaryCall, entry: Entry, incoming: oip_proto.Incoming, outcome: Any) -> None:
        if isinstance(outcome, FailureError):
            call.fail(outcome)  # not raised: its traceback would hold this frame, which holds it
            return
        try:
            call.reply(encode(entry, incoming, outcome))
        except FailureError as error:
            call.fail(error)
        except Exception as error:
            call.broken(error)

    def named(self, content: Buffer) -> str:
        """The model of this server that a message is for, which need not be a request: what a failure counts for."""
        name = oip_proto.name_in(content)
        return name if name in self.plane.registry.names() else UNKNOWN

    def entry(self, incoming: oip_proto.Incoming) -> Entry:
        """The model that a request asks. Raises ``FailureError``."""
        return self._entry(incoming.model_name, incoming.model_version)

    def _entry(self, name: str, version: str) -> Entry:
        if version:
            raise FailureError(FailureKind.UNSUPPORTED, "Model versioning not supported yet.")
        return self.plane.registry.ready(name)

    # ---- what the server tells

    def _tell(self, name: str, tell: Any, call: UnaryCall) -> None:
        request = _parse(name, call.message)
        call.reply_later(self._told(name, tell, request))

    async def _told(self, name: str, tell: Any, request: Any) -> Sequence[Buffer]:
        values = await tell(request)
        return [message(f"inference.{name}Response")(**values).SerializeToString()]

    async def _live(self, request: Any) -> dict[str, Any]:
        return {"live": True}

    async def _ready(self, request: Any) -> dict[str, Any]:
        return {"ready": await self._is(Route(Kind.V2_SERVER_READY))}

    async def _model_ready(self, request: Any) -> dict[str, Any]:
        if request.version:
            self._entry(request.name, request.version)
        return {"ready": await self._is(Route(Kind.V2_MODEL_READY, request.name))}

    async def _is(self, route: Route) -> bool:
        """Whether a readiness route answers well; an unknown model is an error, one that is not ready is not."""
        try:
            await self._meta.answer(route)
        except FailureError as error:
            if error.kind is not FailureKind.NOT_READY:
                raise
            return False
        return True

    async def _metadata(self, request: Any) -> dict[str, Any]:
        return dict(await self._answer(Kind.V2_SERVER))

    async def _model_metadata(self, request: Any) -> dict[str, Any]:
        if request.version:
            self._entry(request.name, request.version)
        told = dict(await self._answer(Kind.V2_MODEL, request.name))
        return {**told, "versions": told["versions"] or []}

    async def _index(self, request: Any) -> dict[str, Any]:
        return {"models": await self._meta.answer(Route(Kind.V2_INDEX), {"ready": request.ready})}

    async def _load(self, request: Any) -> dict[str, Any]:
        return {"model_name": await self._change(Kind.V2_LOAD, request), "isLoaded": True}

    async def _unload(self, request: Any) -> dict[str, Any]:
        return {"model_name": await self._change(Kind.V2_UNLOAD, request), "isUnloaded": True}

    async def _change(self, kind: Kind, request: Any) -> str:
        """Load or unload what ``request`` names: its name."""
        name: str = request.model_name or request.first_name
        await self._meta.answer(Route(kind, name), {"parameters": oip_proto.parameters(request.parameters)})
        return name

    async def _answer(self, kind: Kind, model: str = "") -> Any:
        return await self._meta.answer(Route(kind, model))

    async def _statistics(self, request: Any) -> dict[str, Any]:
        if request.name:
            self._entry(request.name, request.version)
        names = [request.name] if request.name else self.plane.registry.names()
        return {"model_stats": [{"name": name, **self._counted(name)} for name in names]}

    def _counted(self, name: str) -> dict[str, Any]:
        """Requests of a model by outcome, whatever protocol they came by."""
        good = bad = 0
        for (model, _, code), count in self.plane.metrics.counts().items():
            if model == name:
                good, bad = (good + count, bad) if code < 400 else (good, bad + count)
        return {
            "inference_count": good,
            "inference_stats": {"success": {"count": good}, "fail": {"count": bad}},
        }


def encode(
    entry: Entry, incoming: oip_proto.Incoming, result: Any, *, may_share: bool = True
) -> list[Buffer]:
    """The ``ModelInferResponse`` of a model's answer. Raises ``FailureError``.

    ``may_share``: nobody changes the answer's arrays any more; a model that answers in parts may use its buffer again.
    """
    if streams.is_stream(result):
        raise FailureError(
            FailureKind.UNSUPPORTED, f"model {entry.model.name} answers in parts: call ModelStreamInfer"
        )
    if (
        may_share
        and type(result) is Share
        and incoming.is_raw
        and http_v2.wants_all(incoming.request, result)
    ):
        output = result.as_raw()
        if output is not None:
            return oip_proto.encode_raw(entry.model.name, incoming.request.id or ids.answer_id(), [output])
    response = http_v2.as_response(result, entry.model)
    response.model_name = entry.model.name
    response.id = incoming.request.id or response.id or ids.answer_id()
    outputs: list[oip.Tensor] = oip.select_outputs(incoming.request, response)
    return oip_proto.encode(response, outputs, is_raw=incoming.is_raw, may_share=may_share)


def _parse(name: str, content: Buffer) -> Any:
    try:
        return message(f"inference.{name}Request").FromString(content)
    except DecodeError as error:
        raise InvalidError(f"the message is no {name}Request") from error


def _refuse_shared_memory(call: UnaryCall) -> None:
    raise FailureError(FailureKind.UNSUPPORTED, _TEXT)
