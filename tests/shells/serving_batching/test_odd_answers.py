"""What users' models answer, asked by every protocol: each says the same elements, or the same failure."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import aiohttp
import grpc.aio
import numpy as np
import pytest

from wakeful.core.protocol.oip_messages import message
from wakeful.serving import InferRequest, InferResponse, Model, Tensor, to_array
from wakeful.serving.parts import Joining
from wakeful.serving.server import Server
from wakeful.serving.settings import Settings

CASES: dict[str, tuple[Any, str, Any]] = {
    "big-endian": (np.array([1, 2], ">f4"), "FP32", [1.0, 2.0]),
    "long": (np.array([1, 2], np.longdouble), "FP64", [1.0, 2.0]),
    "whole-floats": (np.array([1.0, 2.0]), "INT64", [1, 2]),
    "not-contiguous": (np.array([[1, 2], [3, 4]], "i4")[:, 1], "INT32", [2, 4]),
    "masked": (np.ma.masked_array(np.array([1.0, 2.0]), [True, False]), "FP32", [None, 2.0]),
    "objects": (np.array([1.5, None], object), "FP64", [1.5, None]),
    "tuple": ((1, 2), "UINT8", [1, 2]),
    "mixed-text": (np.array(["a", 1], object), "BYTES", ["a", "1"]),
    "complex": (np.array([1j, 2]), "FP32", "complex128: return its .real"),
    "dates": (np.array(["2020-01-01"] * 2, "M8[s]"), "INT64", "datetime64[s]: return text, or integers"),
    "records": (np.zeros(2, [("a", "f4")]), "FP32", "return each field as an output of its own"),
    "part": (np.array([1.5, 2.0]), "INT64", "which is not whole: round it"),
    "too-large": ([300, 2], "UINT8", "300 as element 0, which uint8 does not hold"),
    "short": (b"\0" * 7, "FP32", "7 bytes: shape [2] takes 8"),
    "none": (None, "FP32", "no data (None)"),
}


class Says(Model):
    """Answers with the case that it is asked for, always with the same object."""

    def __init__(self) -> None:
        super().__init__("m")
        self._answers = {
            name: InferResponse([Tensor("y", (2,), datatype, data)])
            for name, (data, datatype, _) in CASES.items()
        }

    async def predict(self, payload: Any, context: Any) -> Any:
        if isinstance(payload, InferRequest):
            return self._answers[payload.parameters["case"]]
        return self._answers[payload["case"]]


@asynccontextmanager
async def serving(model: Model) -> AsyncIterator[int]:
    server = Server(
        [model], Settings(http_port=0, http_address="127.0.0.1", drain_s=2.0, drain_quiet_s=0.0), {}
    )
    await server.load()
    await server.listen()
    try:
        yield server.port
    finally:
        await server.drain()


async def by_rest(port: int, case: str) -> list[Any]:
    """What V1, V2 in JSON and V2 in binary form say: elements, or the error's text."""
    tensor = {"name": "x", "shape": [1], "datatype": "FP32", "data": [1]}
    body = {"inputs": [tensor], "parameters": {"case": case}}
    binary = {**body, "parameters": {"case": case, "binary_data_output": True}}
    async with aiohttp.ClientSession(f"http://127.0.0.1:{port}") as session:
        found: list[Any] = []
        for path, asked in (("/v1/models/m:predict", {"case": case}), ("/v2/models/m/infer", body)):
            async with session.post(path, json=asked) as response:
                said = await response.json()
                assert response.status == (500 if "error" in said else 200)
                found.append(said.get("error") or said.get("predictions") or said["outputs"][0]["data"])
        async with session.post("/v2/models/m/infer", json=binary) as response:
            raw = await response.read()
            length = int(response.headers.get("Inference-Header-Content-Length", len(raw)))
            found.append(raw[length:] or raw.decode())
    return found


async def by_grpc(port: int, case: str) -> tuple[Any, str]:
    """Raw contents and typed ones would be two answers: what gRPC says raw, or the error's text."""
    request = message("inference.ModelInferRequest")(model_name="m")
    request.inputs.add(name="x", datatype="FP32", shape=[1])
    request.raw_input_contents.append(b"\0\0\x80\x3f")
    request.parameters["case"].string_param = case
    async with grpc.aio.insecure_channel(f"127.0.0.1:{port}") as channel:
        infer = channel.unary_unary(
            "/inference.GRPCInferenceService/ModelInfer",
            request_serializer=lambda asked: asked.SerializeToString(),
            response_deserializer=message("inference.ModelInferResponse").FromString,
        )
        try:
            return (await infer(request, timeout=20)).raw_output_contents[0], ""
        except grpc.aio.AioRpcError as error:
            assert error.code() is grpc.StatusCode.INTERNAL
            return b"", error.details() or ""


@pytest.mark.parametrize("case", CASES)
async def test_every_protocol_says_the_same(case: str) -> None:
    _, datatype, expected = CASES[case]
    async with serving(Says()) as port:
        v1, v2, binary = await by_rest(port, case)
        raw, error = await by_grpc(port, case)
    if isinstance(expected, str):
        for said in (v1, v2, binary, error):
            assert "output 'y'" in said and expected in said
        return
    assert v1 == v2 == expected and binary == raw
    if datatype != "BYTES":
        kinds = {"FP32": "<f4", "FP64": "<f8", "INT64": "<i8", "INT32": "<i4", "UINT8": "u1"}
        numbers = np.frombuffer(raw, kinds[datatype]).tolist()
        assert [None if number != number else number for number in numbers] == expected


async def test_an_answer_that_a_model_keeps_is_not_changed() -> None:
    async with serving(Says()) as port, aiohttp.ClientSession(f"http://127.0.0.1:{port}") as session:
        ids = []
        for given in ("mine", None):
            tensor = {"name": "x", "shape": [1], "datatype": "FP32", "data": [1]}
            body = {"inputs": [tensor], "parameters": {"case": "tuple"}, "id": given}
            async with session.post("/v2/models/m/infer", json=body) as response:
                ids.append((await response.json())["id"])
        assert ids[0] == "mine" and ids[1] not in ("mine", None)


class Joined(Model):
    """Answers the rows of several requests at once, in what ``odd`` makes of them."""

    batching = Joining(max_batch_size=8, max_latency_s=0.2)
    largest = 0

    async def predict(self, payload: Any, context: Any) -> Any:
        tensor = payload.inputs[0]
        self.largest = max(self.largest, tensor.shape[0])
        numbers = np.asarray(to_array(tensor))
        data = numbers.astype(">f4") if payload.parameters["odd"] == "order" else numbers + 0.5
        datatype = "FP32" if payload.parameters["odd"] == "order" else "INT64"
        return InferResponse([Tensor("y", tensor.shape, datatype, data)])


async def test_requests_answered_together_fare_as_one_alone() -> None:
    model = Joined("m")
    async with serving(model) as port, aiohttp.ClientSession(f"http://127.0.0.1:{port}") as session:

        async def ask(value: int, odd: str) -> tuple[int, Any]:
            tensor = {"name": "x", "shape": [1], "datatype": "FP32", "data": [value]}
            body = {"inputs": [tensor], "parameters": {"odd": odd}}
            async with session.post("/v2/models/m/infer", json=body) as response:
                return response.status, await response.json()

        good = await asyncio.gather(*(ask(value, "order") for value in range(4)))
        assert [found["outputs"][0]["data"] for _, found in good] == [[0.0], [1.0], [2.0], [3.0]]
        assert model.largest > 1
        for status, found in await asyncio.gather(*(ask(value, "part") for value in range(4))):
            assert status == 500 and "which is not whole: round it" in found["error"]
