"""Outputs asked for as classes: REST in JSON and binary, from a batched model's array and from others, and by gRPC."""

from __future__ import annotations

import json
import struct
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import aiohttp
import grpc.aio
import numpy as np
import pytest

from wakeful.core.protocol.oip_messages import message
from wakeful.serving import InferResponse, Model, Tensor
from wakeful.serving.server import Server
from wakeful.serving.settings import Settings
from wakeful.serving.tabular import TabularModel


class Same(TabularModel):
    """A batched model whose output is its matrix."""

    output_name = "y"
    width = 3

    def load(self) -> bool:
        return True

    def compute(self, matrix: Any) -> Any:
        return np.asarray(matrix)


class Own(Model):
    async def predict(self, payload: Any, context: Any) -> Any:
        first = payload.inputs[0]
        return InferResponse([Tensor("y", first.shape, first.datatype, first.data)])


@asynccontextmanager
async def running() -> AsyncIterator[Server]:
    server = Server(
        [Same("batched"), Own("own")],
        Settings(http_port=0, http_address="127.0.0.1", drain_s=2.0, drain_quiet_s=0.0),
        {},
    )
    await server.load()
    await server.listen()
    try:
        yield server
    finally:
        await server.drain()


def body(**output: Any) -> dict[str, Any]:
    return {
        "inputs": [{"name": "x", "shape": [2, 3], "datatype": "FP32", "data": [1, 5, 4, 9, 7, 8]}],
        "outputs": [{"name": "y", "parameters": output}],
    }


WANTED = ["5.000000:1", "4.000000:2", "9.000000:0", "8.000000:2"]


@pytest.mark.parametrize("model", ["batched", "own"])
async def test_rest_answers_classes_in_both_forms(model: str) -> None:
    async with running() as server, aiohttp.ClientSession(f"http://127.0.0.1:{server.port}") as session:
        path = f"/v2/models/{model}/infer"
        async with session.post(path, json=body(classification=2)) as response:
            assert response.status == 200, await response.text()
            (output,) = (await response.json())["outputs"]
            assert (output["shape"], output["datatype"], output["data"]) == ([2, 2], "BYTES", WANTED)
        async with session.post(path, json=body(classification=2, binary_data=True)) as response:
            raw = await response.read()
            length = int(response.headers["Inference-Header-Content-Length"])
            (output,) = json.loads(raw[:length])["outputs"]
            elements = b"".join(struct.pack("<I", len(text)) + text.encode() for text in WANTED)
            assert (output["datatype"], raw[length:]) == ("BYTES", elements)
        async with session.post(path, json=body(classification=0)) as response:
            assert (await response.json())["outputs"][0]["data"] == [1, 5, 4, 9, 7, 8]
        for wrong in (-1, "2", 1.5, None, True):
            async with session.post(path, json=body(classification=wrong)) as response:
                assert response.status == 400 and "classification is" in (await response.json())["error"]


@pytest.mark.parametrize("model", ["batched", "own"])
async def test_grpc_answers_classes(model: str) -> None:
    request = message("inference.ModelInferRequest")(model_name=model)
    request.inputs.add(name="x", datatype="FP32", shape=[2, 3])
    request.raw_input_contents.append(struct.pack("<6f", 1, 5, 4, 9, 7, 8))
    request.outputs.add(name="y").parameters["classification"].int64_param = 2
    shared = message("inference.ModelInferRequest")()
    shared.CopyFrom(request)
    shared.outputs[0].parameters["shared_memory_region"].string_param = "r"
    async with running() as server, grpc.aio.insecure_channel(f"127.0.0.1:{server.port}") as channel:
        infer = channel.unary_unary(
            "/inference.GRPCInferenceService/ModelInfer",
            request_serializer=lambda asked: asked.SerializeToString(),
            response_deserializer=message("inference.ModelInferResponse").FromString,
        )
        answer = await infer(request, timeout=20)
        elements = b"".join(struct.pack("<I", len(text)) + text.encode() for text in WANTED)
        assert (answer.outputs[0].datatype, list(answer.outputs[0].shape)) == ("BYTES", [2, 2])
        assert answer.raw_output_contents[0] == elements
        with pytest.raises(grpc.aio.AioRpcError, match="shared memory"):
            await infer(shared, timeout=20)
        shared.ClearField("outputs")
        shared.inputs[0].parameters["shared_memory_region"].string_param = "r"
        with pytest.raises(grpc.aio.AioRpcError, match="input 'x' is in shared memory"):
            await infer(shared, timeout=20)
