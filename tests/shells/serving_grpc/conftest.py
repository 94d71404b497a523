"""A real model server on loopback in the test's own loop, asked by real gRPC clients and by raw HTTP/2 frames."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AsyncExitStack, asynccontextmanager
from typing import Any

import grpc.aio
import pytest

from wakeful.core.errors import FailureError, FailureKind
from wakeful.core.protocol.oip_messages import message
from wakeful.serving import Context, InferRequest, InferResponse, Model, Tensor
from wakeful.serving.server import Server
from wakeful.serving.settings import Settings

OPTIONS = [
    ("grpc.enable_http_proxy", 0),
    ("grpc.max_receive_message_length", -1),
    ("grpc.max_send_message_length", -1),
]


class Echo(Model):
    """Inputs become outputs; the parameter ``do`` makes it misbehave."""

    def __init__(self, name: str = "m") -> None:
        super().__init__(name)
        self.gate = asyncio.Event()
        self.seen: list[InferRequest] = []
        self.contexts: list[Context] = []
        self.cancelled = 0

    async def predict(self, payload: Any, context: Context) -> Any:
        if isinstance(payload, dict):
            if "parts" in payload:
                return self._texts(payload["parts"])
            return {"predictions": payload["instances"]}
        self.seen.append(payload)
        self.contexts.append(context)
        outputs = [Tensor(t.name, t.shape, t.datatype, t.data) for t in payload.inputs]
        match payload.parameters.get("do"):
            case "raise":
                raise KeyError("a secret")
            case "overload":
                raise FailureError(FailureKind.OVERLOADED, "no room", 2.0)
            case "wait":
                try:
                    await self.gate.wait()
                except asyncio.CancelledError:
                    self.cancelled += 1
                    raise
            case "headers":
                context.response_headers["X-Model"] = context["x-asked"]
                context.response_headers["content-type"] = "text/evil"
            case "parts":
                return self._parts(outputs)
            case "big":
                return InferResponse([Tensor("big", (8 << 20,), "UINT8", bytes(8 << 20))])
        return InferResponse(outputs, parameters={"told": payload.parameters.get("say")})

    async def _texts(self, parts: list[str]) -> AsyncIterator[str]:
        for part in parts:
            if part == "fail":
                raise ValueError("no more")
            yield part

    async def _parts(self, outputs: list[Tensor]) -> AsyncIterator[InferResponse]:
        for _ in range(3):
            yield InferResponse(outputs)


class Rig:
    """A server, a channel to it, and its model."""

    def __init__(self, server: Server, model: Echo, channel: grpc.aio.Channel) -> None:
        self.server = server
        self.model = model
        self.channel = channel

    def method(self, name: str, service: str = "inference.GRPCInferenceService") -> Any:
        """A unary method, by our own messages."""
        package = service.rpartition(".")[0]
        return self.channel.unary_unary(
            f"/{service}/{name}",
            request_serializer=lambda request: request.SerializeToString(),
            response_deserializer=message(f"{package}.{name}Response").FromString,
        )

    def stream(self) -> Any:
        """``ModelStreamInfer``."""
        return self.channel.stream_stream(
            "/inference.GRPCInferenceService/ModelStreamInfer",
            request_serializer=lambda request: request.SerializeToString(),
            response_deserializer=message("inference.ModelStreamInferResponse").FromString,
        )()


def infer_request(
    data: bytes = bytes(range(16)), *, model: str = "m", raw: bool = True, **parameters: str
) -> Any:
    """A request with one FP32 tensor x of shape [n / 4] (or its first four numbers typed)."""
    request = message("inference.ModelInferRequest")(model_name=model)
    for key, value in parameters.items():
        request.parameters[key].string_param = value
    if raw:
        request.inputs.add(name="x", datatype="FP32", shape=[len(data) // 4])
        request.raw_input_contents.append(data)
    else:
        tensor = request.inputs.add(name="x", datatype="FP32", shape=[4])
        tensor.contents.fp32_contents.extend([1.0, 2.0, 3.0, 4.5])
    return request


Start = Callable[..., Awaitable[Rig]]


@asynccontextmanager
async def running(**options: Any) -> AsyncIterator[Rig]:
    model = Echo()
    settings = Settings(
        http_port=0, http_address="127.0.0.1", **{"drain_s": 2.0, "drain_quiet_s": 0.0, **options}
    )
    server = Server([model], settings, {})
    await server.load()
    await server.listen()
    async with grpc.aio.insecure_channel(f"127.0.0.1:{server.port}", options=OPTIONS) as channel:
        try:
            yield Rig(server, model, channel)
        finally:
            model.gate.set()
            await server.drain()


@pytest.fixture
async def start() -> AsyncIterator[Start]:
    async with AsyncExitStack() as stack:

        async def begin(**options: Any) -> Rig:
            return await stack.enter_async_context(running(**options))

        yield begin


@pytest.fixture
async def rig(start: Start) -> Rig:
    return await start()


@pytest.fixture
def infer() -> Callable[..., Any]:
    """Makes requests."""
    return infer_request
