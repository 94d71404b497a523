"""V2 over gRPC: one channel of grpcio a client, tensors as raw contents, failures in our words.

Imported only by who speaks gRPC (extra ``grpc``). Messages are those of ``wakeful.core.protocol.oip_messages``. Calls are
repeated only where no connection came about. On one machine names of the cluster are the gateway's to know: the channel
goes to the proxy and names the host it means. Left out: streaming inference.

Invariant: every call has a deadline, and ends with an answer or a ``FailureError``.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Mapping
from typing import Any

from wakeful.client.answers import Answer
from wakeful.client.http_transport import FIRST_PAUSE_S, LONGEST_PAUSE_S, Options
from wakeful.client.targets import Target
from wakeful.core.errors import FailureError, FailureKind, UpstreamError
from wakeful.core.protocol import oip, oip_messages, oip_proto_caller

try:
    import grpc
    import grpc.aio
except ImportError as missing:
    raise FailureError(
        FailureKind.UNSUPPORTED,
        "speaking gRPC needs the package grpcio, which is not installed here: pip install grpcio",
    ) from missing

SERVICE = "/inference.GRPCInferenceService/"
STATUS = {
    "INVALID_ARGUMENT": 400, "OUT_OF_RANGE": 400, "FAILED_PRECONDITION": 400, "UNAUTHENTICATED": 401,
    "PERMISSION_DENIED": 403, "NOT_FOUND": 404, "ALREADY_EXISTS": 409, "ABORTED": 409, "RESOURCE_EXHAUSTED": 429,
    "CANCELLED": 499, "UNIMPLEMENTED": 501, "UNAVAILABLE": 503, "DEADLINE_EXCEEDED": 504,
}  # fmt: skip
"""The HTTP status that means what a gRPC code does; every other code is 500."""
UNSENT = "failed to connect to all addresses"
NOT_METADATA = frozenset(
    {"content-type", "content-length", "host", "connection", "te", "accept", "accept-encoding"}
)


class GrpcTransport:
    """Calls of one target. Belongs to one event loop."""

    def __init__(self, target: Target, options: Options) -> None:
        self._target = target
        self._options = options
        settings: list[tuple[str, Any]] = [
            ("grpc.max_receive_message_length", options.max_answer_bytes),
            ("grpc.max_send_message_length", -1),
            ("grpc.enable_http_proxy", 0),
        ]
        address = f"{target.host}:{target.port}"
        if target.proxy is not None:
            settings.append(("grpc.default_authority", target.netloc))
            address = target.proxy.removeprefix("http://").rstrip("/")
        if target.is_tls:
            self._channel = grpc.aio.secure_channel(address, grpc.ssl_channel_credentials(), settings)
        else:
            self._channel = grpc.aio.insecure_channel(address, settings)

    async def close(self) -> None:
        """Close the channel."""
        await self._channel.close()

    async def infer(
        self, model: str, request: oip.InferRequest, headers: Mapping[str, str], timeout_s: float | None
    ) -> Answer:
        """The answer to ``ModelInfer``. Raises ``FailureError``."""
        message = oip_proto_caller.encode(model, request)
        reply, metadata = await self._call(
            "ModelInfer", message, oip_messages.ModelInferResponse, headers, timeout_s
        )
        return Answer(oip_proto_caller.decode(reply), metadata)

    async def asks(self, member: str, model: str) -> bool:
        """Whether the server is live or ready (``member``), or ``model`` is ready."""
        name = "ModelReady" if model else f"Server{member.capitalize()}"
        message = oip_messages.message(f"inference.{name}Request")(**({"name": model} if model else {}))
        reply, _ = await self._call(
            name, message, oip_messages.message(f"inference.{name}Response"), {}, None
        )
        return bool(getattr(reply, member))

    async def metadata(self, model: str) -> dict[str, Any]:
        """``ModelMetadata`` in the form of V2's JSON."""
        message = oip_messages.message("inference.ModelMetadataRequest")(name=model)
        kind = oip_messages.message("inference.ModelMetadataResponse")
        reply, _ = await self._call("ModelMetadata", message, kind, {}, None)

        def specs(items: Any) -> list[dict[str, Any]]:
            return [{"name": i.name, "datatype": i.datatype, "shape": list(i.shape)} for i in items]

        return {
            "name": reply.name,
            "versions": list(reply.versions) or None,
            "platform": reply.platform,
            "inputs": specs(reply.inputs),
            "outputs": specs(reply.outputs),
        }

    async def _call(
        self, name: str, message: Any, kind: Any, headers: Mapping[str, str], timeout_s: float | None
    ) -> tuple[Any, dict[str, str]]:
        method = self._channel.unary_unary(SERVICE + name, type(message).SerializeToString, kind.FromString)
        given = {**self._options.headers, **headers}
        metadata = [(key.lower(), value) for key, value in given.items() if key.lower() not in NOT_METADATA]
        limit_s = self._options.timeout_s if timeout_s is None else timeout_s
        end, pause_s, repeats = time.monotonic() + limit_s, FIRST_PAUSE_S, 0
        while True:
            call = method(message, timeout=max(end - time.monotonic(), 0.001), metadata=metadata)
            try:
                reply = await call
                trailing = await call.trailing_metadata() or ()
                return reply, {str(key): str(value) for key, value in trailing}
            except grpc.aio.AioRpcError as error:
                failure = self._failure(error, limit_s)
                is_unsent = UNSENT in (error.details() or "")
                if not is_unsent or repeats >= self._options.retries or pause_s >= end - time.monotonic():
                    raise failure from error
            repeats += 1
            await asyncio.sleep(pause_s)
            pause_s = min(pause_s * 2, LONGEST_PAUSE_S)

    def _failure(self, error: Any, limit_s: float) -> FailureError:
        code, text = error.code().name, (error.details() or "").strip()
        where = self._target.netloc
        if code == "DEADLINE_EXCEEDED":
            return FailureError(FailureKind.DEADLINE, f"{where} gave no answer within {limit_s:g} s")
        if UNSENT in text:
            return FailureError(FailureKind.UNAVAILABLE, f"cannot connect to {where}: {text[:200]}")
        return UpstreamError(STATUS.get(code, 500), text or f"{where} answered {code} without a text")
