"""Tensors without elements, in every form and datatype: legal in the protocol (a dimension is an unsigned number)."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import aiohttp
import grpc.aio
import iris_rig
import pytest

from runtimes.sklearn.model import SklearnModel
from wakeful.core.protocol import oip, oip_proto
from wakeful.core.protocol.oip_messages import message
from wakeful.serving import Context, InferRequest, InferResponse, Model, Tensor, from_array, to_array
from wakeful.serving.server import Server
from wakeful.serving.settings import Settings

SHAPES = [[0], [0, 4], [2, 0, 3]]
LENGTH = "Inference-Header-Content-Length"


class Arrays(Model):
    """Answers with its inputs, which have been arrays meanwhile."""

    def predict(self, payload: Any, context: Context) -> Any:
        assert isinstance(payload, InferRequest)
        return InferResponse([from_array(t.name, to_array(t), t.datatype) for t in payload.inputs])


class Rows(Model):
    """Answers with how its rows look as V1."""

    takes = "rows"

    def predict(self, payload: Any, context: Context) -> Any:
        return InferResponse([Tensor("rows", (1,), "BYTES", [json.dumps(payload["instances"])])])


@pytest.fixture
async def port(tmp_path: Path) -> AsyncIterator[int]:
    models = [Arrays("echo"), Rows("rows"), SklearnModel("iris", iris_rig.put(tmp_path), {})]
    server = Server(models, Settings(http_port=0, http_address="127.0.0.1", drain_quiet_s=0.0), {})
    await server.load()
    await server.listen()
    yield server.port
    await server.drain()


async def rest(
    port: int, tensor: dict[str, Any], model: str = "echo", *, is_binary_out: bool = False
) -> tuple[int, Any, bytes]:
    """Status, the first output or the error, and the bytes after the JSON."""
    wanted = {"binary_data_output": is_binary_out}
    head = json.dumps({"inputs": [{"name": "x", **tensor}], "parameters": wanted}).encode()
    headers = {"Content-Type": "application/json"} if "data" in tensor else {LENGTH: str(len(head))}
    url = f"http://127.0.0.1:{port}/v2/models/{model}/infer"
    async with aiohttp.ClientSession() as session, session.post(url, data=head, headers=headers) as response:
        body = await response.read()
        length = int(response.headers.get(LENGTH, len(body)))
        said = json.loads(body[:length])
        return response.status, said.get("error") or said["outputs"][0], body[length:]


async def by_grpc(port: int, model: str, datatype: str, shape: list[int], *, is_raw: bool) -> Any:
    request = message("inference.ModelInferRequest")(model_name=model)
    request.inputs.add(name="x", datatype=datatype, shape=shape)
    request.raw_input_contents.extend([b""] if is_raw else [])
    async with grpc.aio.insecure_channel(f"127.0.0.1:{port}") as channel:
        infer = channel.unary_unary(
            "/inference.GRPCInferenceService/ModelInfer",
            request_serializer=lambda asked: asked.SerializeToString(),
            response_deserializer=message("inference.ModelInferResponse").FromString,
        )
        return await infer(request, timeout=20)


@pytest.mark.parametrize("shape", SHAPES, ids=str)
@pytest.mark.parametrize("datatype", oip.ELEMENT_BYTES)
async def test_every_datatype_comes_back(port: int, datatype: str, shape: list[int]) -> None:
    asked: dict[str, Any] = {"shape": shape, "datatype": datatype}
    for _ in range(2):  # the second one's head is known
        sized = {**asked, "parameters": {"binary_data_size": 0}}
        status, output, tail = await rest(port, sized, is_binary_out=True)
        assert (status, output["shape"], output["datatype"], tail) == (200, shape, datatype, b"")
        assert output["parameters"] == {"binary_data_size": 0}
        answer = await by_grpc(port, "echo", datatype, shape, is_raw=True)
        assert (list(answer.outputs[0].shape), list(answer.raw_output_contents)) == (shape, [b""])
    if datatype in oip.BINARY_ONLY:
        return
    nested: Any = [[], []] if shape[0] == 2 else []
    for elements in ([], nested):
        status, output, _ = await rest(port, {**asked, "data": elements})
        assert (status, output["shape"], output["data"]) == (200, shape, [])
    answer = await by_grpc(port, "echo", datatype, shape, is_raw=False)
    assert list(answer.outputs[0].shape) == shape
    assert datatype in oip_proto.CONTENTS


async def test_as_rows(port: int) -> None:
    for shape, rows in (([0, 4], "[]"), ([2, 0], "[[], []]")):
        status, output, _ = await rest(port, {"shape": shape, "datatype": "FP32", "data": []}, "rows")
        assert (status, output["data"]) == (200, [rows])


async def test_a_model_of_tables_says_that_there_are_no_rows(port: int) -> None:
    asked = {"shape": [0, 4], "datatype": "FP64"}
    for tensor in ({**asked, "data": []}, {**asked, "parameters": {"binary_data_size": 0}}):
        assert await rest(port, tensor, "iris") == (
            400,
            "input 'x': there are no rows, send at least one",
            b"",
        )
    with pytest.raises(grpc.aio.AioRpcError, match="there are no rows") as caught:
        await by_grpc(port, "iris", "FP64", [0, 4], is_raw=True)
    assert caught.value.code() is grpc.StatusCode.INVALID_ARGUMENT


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"data": [1]}, "shape [0, 4] holds 0 elements, data has 1"),
        ({"parameters": {"binary_data_size": 4}}, "but only 0 bytes of the body are left"),
        ({"shape": [64, 65, 0, 8], "data": []}, "may have 4096 rows"),
        ({"shape": [0] * 30 + [2**62], "data": []}, "dimensions that come to 1000000"),
        ({"shape": [0, -1], "data": []}, "every dimension must be from 0 to 2^63 - 1"),
    ],
    ids=["elements", "bytes", "many rows of nothing", "many columns", "negative"],
)
async def test_what_is_refused(port: int, changes: dict[str, Any], words: str) -> None:
    status, error, _ = await rest(port, {"shape": [0, 4], "datatype": "FP32", **changes}, "rows")
    assert status == 400 and words in error
