"""Conformance vectors: every route and error of V1 and V2 over REST, every datatype as JSON and as binary tensors."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import aiohttp
import pytest
import yaml

from wakeful.serving import Context, InferRequest, InferResponse, Model, Tensor
from wakeful.serving.server import Server
from wakeful.serving.settings import Settings

FOLDER = Path(__file__).parent / "vectors"
REQUESTS = yaml.safe_load((FOLDER / "requests.yaml").read_text())
DATATYPES = yaml.safe_load((FOLDER / "datatypes.yaml").read_text())
INFER = "/v2/models/echo/infer"
LENGTH = "Inference-Header-Content-Length"


class Echo(Model):
    def predict(self, payload: Any, context: Context) -> Any:
        if not isinstance(payload, InferRequest):
            if payload.get("as") == "tensors":
                return InferResponse([Tensor("x", (2, 2), "INT8", [1, 2, 3, 4])])
            return {"predictions": payload.get("instances", payload.get("inputs"))}
        match payload.parameters.get("as"):
            case "rows":
                return {"predictions": [[float(value)] for value in payload.inputs[0].data]}
            case "infinity":
                return InferResponse([Tensor("x", (1,), "FP64", [float("inf")])])
        return InferResponse([Tensor(t.name, t.shape, t.datatype, t.data) for t in payload.inputs])


@pytest.fixture
async def session() -> AsyncIterator[aiohttp.ClientSession]:
    server = Server(
        [Echo("echo"), Model("asleep")],
        Settings(http_port=0, http_address="127.0.0.1", drain_quiet_s=0.0),
        {},
    )
    await server.registry.load("echo")
    await server.listen()
    async with aiohttp.ClientSession(f"http://127.0.0.1:{server.port}") as client:
        yield client
    await server.drain()


@pytest.mark.parametrize("vector", REQUESTS, ids=[vector["name"] for vector in REQUESTS])
async def test_request(session: aiohttp.ClientSession, vector: dict[str, Any]) -> None:
    method, path = ("GET", vector["get"]) if "get" in vector else ("POST", vector["post"])
    content = vector["text"] if "text" in vector else json.dumps(vector.get("body"))
    data = content.encode() if method == "POST" else None
    async with session.request(
        method, path, data=data, headers={"Content-Type": "application/json"}
    ) as response:
        text = await response.text()
        assert response.status == vector["status"], text
        assert response.headers["X-Request-Id"]
    if "answer" in vector:
        assert json.loads(text) == vector["answer"]
        assert list(json.loads(text)) == list(vector["answer"])
    else:
        assert vector["error"] in json.dumps(json.loads(text), ensure_ascii=False).replace('\\"', '"')


async def infer(
    session: aiohttp.ClientSession, tensor: dict[str, Any], raw: bytes, is_binary_out: bool
) -> tuple[int, Any]:
    """Status, and (the output, its bytes) or the error."""
    head = json.dumps({"inputs": [tensor], "parameters": {"binary_data_output": is_binary_out}}).encode()
    headers = {LENGTH: str(len(head))} if raw else {"Content-Type": "application/json"}
    async with session.post(INFER, data=head + raw, headers=headers) as response:
        body = await response.read()
        length = int(response.headers.get(LENGTH, len(body)))
        answer = json.loads(body[:length])
        if response.status != 200:
            return response.status, answer["error"]
        assert (LENGTH in response.headers) == is_binary_out
        return 200, (answer["outputs"][0], body[length:])


@pytest.mark.parametrize("is_binary_out", [False, True], ids=["to json", "to binary"])
@pytest.mark.parametrize("form", ["flat", "nested", "binary"])
@pytest.mark.parametrize("vector", DATATYPES, ids=[vector["datatype"] for vector in DATATYPES])
async def test_datatype(
    session: aiohttp.ClientSession, vector: dict[str, Any], form: str, is_binary_out: bool
) -> None:
    raw = bytes.fromhex(vector["raw"])
    values = vector["json"]
    tensor: dict[str, Any] = {"name": "x", "shape": [2, 1], "datatype": vector["datatype"]}
    if form == "binary":
        tensor["parameters"] = {"binary_data_size": len(raw)}
    else:
        given = values if values is not None else [1.0, -2.0]
        tensor["data"] = [[value] for value in given] if form == "nested" else given
    status, answer = await infer(session, tensor, raw if form == "binary" else b"", is_binary_out)
    if values is None and not (form == "binary" and is_binary_out):
        assert status == 400 and f"{vector['datatype']}, which JSON cannot carry" in answer
        return
    assert status == 200, answer
    output, tail = answer
    assert (output["name"], output["shape"], output["datatype"]) == ("x", [2, 1], vector["datatype"])
    if is_binary_out:
        assert (tail, output["parameters"]) == (raw, {"binary_data_size": len(raw)})
    else:
        assert (output["data"], tail) == (values, b"")
