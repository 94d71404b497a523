"""What the payload logger writes of gRPC calls: V2's JSON, redacted as REST's is, errors and every part of a stream too."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import grpc.aio
import http_rig
import numpy as np
import pytest
from aiohttp import web
from waiting_rig import until

from wakeful import Context, InferRequest, InvalidError, Model
from wakeful.core.protocol import arrays, cloudevents, oip, oip_proto_caller
from wakeful.core.protocol.oip_messages import ModelInferRequest, ModelInferResponse, message
from wakeful.serving.server import Server
from wakeful.serving.settings import Settings

INFER = "/inference.GRPCInferenceService/ModelInfer"
STREAM = "/inference.GRPCInferenceService/ModelStreamInfer"


class Echo(Model):
    """Inputs become outputs; ``do`` makes it fail, wait, or answer in parts."""

    def __init__(self) -> None:
        super().__init__("m")
        self.waiting = 0

    async def predict(self, payload: Any, context: Context) -> Any:
        assert isinstance(payload, InferRequest)
        outputs = [oip.Tensor(t.name, t.shape, t.datatype, t.data) for t in payload.inputs]
        match payload.parameters.get("do"):
            case "fail":
                raise InvalidError("the third row is upside down")
            case "wait":
                self.waiting += 1
                await asyncio.sleep(30)
            case "parts":
                return self._parts(outputs)
        return oip.InferResponse(outputs)

    async def _parts(self, outputs: list[oip.Tensor]) -> AsyncIterator[oip.InferResponse]:
        for _ in range(2):
            yield oip.InferResponse(outputs)


class Rig:
    """A server whose calls are logged, a channel to it, and the events that came."""

    def __init__(self, server: Server, model: Echo, channel: grpc.aio.Channel) -> None:
        self.server = server
        self.model = model
        self._channel = channel
        self.seen: list[cloudevents.Event] = []

    async def infer(self, request: Any, **options: Any) -> Any:
        method = self._channel.unary_unary(INFER, lambda asked: asked, ModelInferResponse.FromString)
        content = request if isinstance(request, bytes) else request.SerializeToString()
        return await method(content, metadata=(("x-request-id", "id-1"),), **options)

    def stream(self) -> Any:
        kind = message("inference.ModelStreamInferResponse")
        return self._channel.stream_stream(STREAM, lambda asked: asked.SerializeToString(), kind.FromString)()

    async def logged(self, count: int) -> dict[str, list[cloudevents.Event]]:
        """The records, when there are ``count``: requests and responses, each in the order of its recording."""
        await until(lambda: len(self.seen) >= count)
        assert len(self.seen) == count
        found = sorted(self.seen, key=lambda event: str(event.extensions["recordedtime"]))
        kinds = ("request", "response")
        return {kind: [event for event in found if event.type.endswith(kind)] for kind in kinds}


@asynccontextmanager
async def logging(**environ: str) -> AsyncIterator[Rig]:
    seen: list[cloudevents.Event] = []

    async def handle(request: web.Request) -> web.Response:
        seen.append(cloudevents.decode(list(request.headers.items()), await request.read()))
        return web.Response()

    model = Echo()
    named = {f"WAKEFUL_LOGGER_{name}": value for name, value in environ.items()}
    async with http_rig.serving(handle) as sink:
        options = Settings(http_port=0, http_address="127.0.0.1", drain_quiet_s=0.0, access_log="off")
        server = Server([model], options, {"WAKEFUL_LOGGER_URL": sink, **named})
        await server.load()
        await server.listen()
        place = f"127.0.0.1:{server.port}"
        async with grpc.aio.insecure_channel(place, [("grpc.enable_http_proxy", 0)]) as channel:
            try:
                rig = Rig(server, model, channel)
                rig.seen = seen
                yield rig
            finally:
                await server.drain()


def asked(array: Any = None, model: str = "m", **parameters: str) -> Any:
    tensors = [
        arrays.from_array("x", np.array([[0.1, 2.0]], np.float32) if array is None else array),
        oip.Tensor("secret", (1,), "BYTES", [b"4711"]),
    ]
    return oip_proto_caller.encode(model, oip.InferRequest(tensors, parameters=dict(parameters)))


def body(event: cloudevents.Event) -> Any:
    assert event.datacontenttype == "application/json"
    return json.loads(event.data or b"")


def tensor(name: str, shape: list[int], datatype: str, data: Any) -> dict[str, Any]:
    return {"name": name, "shape": shape, "datatype": datatype, "data": data}


@pytest.mark.parametrize("coding", [grpc.Compression.NoCompression, grpc.Compression.Gzip])
async def test_a_call_is_two_records_in_v2s_json(coding: Any) -> None:
    many = np.arange(512, dtype=np.float32).reshape(1, 512)
    async with logging() as rig:
        await rig.infer(asked(many), compression=coding)
        found = await rig.logged(2)
    (request,), (response,) = found["request"], found["response"]
    inputs = [tensor("x", [1, 512], "FP32", list(range(512))), tensor("secret", [1], "BYTES", ["4711"])]
    assert body(request) == {"model_name": "m", "inputs": inputs}
    assert [(item["name"], item["data"]) for item in body(response)["outputs"]] == [
        ("x", list(range(512))),
        ("secret", ["4711"]),
    ]
    assert (request.id, response.id) == ("id-1", "id-1")
    assert response.extensions["statuscode"] == "200" and request.extensions["path"] == INFER


async def test_named_tensors_are_redacted_as_over_rest() -> None:
    async with logging(REDACT="secret") as rig:
        await rig.infer(asked())
        found = await rig.logged(2)
    for event, key in ((found["request"][0], "inputs"), (found["response"][0], "outputs")):
        assert [item["data"] for item in body(event)[key]] == [[0.1, 2.0], "[redacted]"]
        assert "omittedbytes" not in event.extensions


async def test_failures_have_the_body_that_rest_answers() -> None:
    async with logging() as rig:
        for request in (asked(model="gone"), asked(do="fail")):
            with pytest.raises(grpc.aio.AioRpcError):
                await rig.infer(request)
        found = await rig.logged(4)
    assert [(event.extensions["statuscode"], body(event)) for event in found["response"]] == [
        ("404", {"error": "Model with name gone does not exist."}),
        ("400", {"error": "the third row is upside down"}),
    ]


@pytest.mark.parametrize("content", [b"\xff\xff", ModelInferRequest(model_name="m").SerializeToString()])
@pytest.mark.parametrize("redacted", ["", "secret"])
async def test_what_the_server_refuses_is_logged_as_it_came_or_not_at_all(
    content: bytes, redacted: str
) -> None:
    async with logging(REDACT=redacted) as rig:
        with pytest.raises(grpc.aio.AioRpcError):
            await rig.infer(content)
        (request,) = (await rig.logged(2))["request"]
    assert (request.data or b"") == (b"" if redacted else content)
    assert request.extensions.get("omittedbytes") == (str(len(content)) if redacted else None)


async def test_json_that_has_no_room_stays_the_message_it_was() -> None:
    noise = np.random.default_rng(0).random(1000)
    request = asked(noise)
    async with logging(MAX_BODY_BYTES="10000") as rig:
        await rig.infer(request)
        found = await rig.logged(2)
    assert found["request"][0].data == request.SerializeToString()
    assert found["request"][0].datacontenttype == "application/grpc"
    assert ModelInferResponse.FromString((found["response"][0].data or b"")[5:]).outputs[0].name == "x"


async def test_records_that_grow_stay_within_the_memory_of_all() -> None:
    """A byte becomes four characters: what fits when it is queued may not when it is shown."""
    async with logging(MAX_BODY_BYTES="1000000", MAX_QUEUED_BYTES="200000", MODE="request") as rig:
        await rig.infer(asked(np.full(100_000, 200, np.uint8)))
        (request,) = (await rig.logged(1))["request"]
        assert int(str(request.extensions["omittedbytes"])) > 100_000 and not request.data


async def test_each_request_of_a_stream_is_logged_with_all_its_parts() -> None:
    async with logging(REDACT="secret") as rig:
        stream = rig.stream()
        for request in (asked(), asked(do="fail"), asked(do="parts")):
            await stream.write(request)
        await stream.done_writing()
        assert len([answer async for answer in stream]) == 4
        found = await rig.logged(6)
    told = {
        event.id: body(event)["parameters"].get("do") for event in found["request"] if b"do" in event.data
    }
    shown = {told.get(event.id): (event.extensions["statuscode"], body(event)) for event in found["response"]}
    assert len({event.id for event in rig.seen}) == 3
    assert shown[None][0] == "200" and shown[None][1]["outputs"][0]["data"] == [0.1, 2.0]
    assert shown["fail"] == ("400", {"error": "the third row is upside down"})
    parts = shown["parts"][1]
    assert [[item["data"] for item in part["outputs"]] for part in parts] == [[[0.1, 2.0], "[redacted]"]] * 2


async def test_requests_of_a_stream_that_is_given_up_are_reported_once_each() -> None:
    async with logging() as rig:
        stream = rig.stream()
        for request in (asked(do="wait"), asked(), asked(do="wait")):
            await stream.write(request)
        await until(lambda: rig.model.waiting == 2)
        stream.cancel()
        found = await rig.logged(6)
    assert [event.extensions["statuscode"] for event in found["response"]] == ["499"] * 3
