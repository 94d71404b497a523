"""Large bodies are taken apart in a thread: the loop answers probes meanwhile."""

from __future__ import annotations

import asyncio
import io
import threading
import time
from typing import Any

import aiohttp
import pytest

from wakeful.core.protocol import problem
from wakeful.serving import Context, InferRequest, InferResponse, Model, Tensor
from wakeful.serving.server import Server
from wakeful.serving.settings import Settings

ROWS = 100_000


class Count(Model):
    def predict(self, payload: Any, context: Context) -> Any:
        if isinstance(payload, InferRequest):
            return InferResponse([Tensor("n", (1,), "INT64", [payload.inputs[0].size])])
        return {"predictions": [len(payload["instances"])]}


@pytest.mark.parametrize(
    ("path", "body"),
    [
        ("/v1/models/m:predict", {"instances": [[1, 2]] * ROWS}),
        (
            "/v2/models/m/infer",
            {"inputs": [{"name": "x", "shape": [ROWS], "datatype": "INT32", "data": [7] * ROWS}]},
        ),
    ],
    ids=["V1", "V2"],
)
async def test_a_large_body_is_decoded_in_a_thread(
    path: str, body: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    threads: list[str] = []
    loads = problem.orjson.loads

    class Watched:
        dumps, JSONDecodeError = problem.orjson.dumps, problem.orjson.JSONDecodeError

        @staticmethod
        def loads(data: Any) -> Any:
            threads.append(threading.current_thread().name)
            return loads(data)

    monkeypatch.setattr(problem, "orjson", Watched)
    server = Server([Count("m")], Settings(http_port=0, http_address="127.0.0.1", drain_quiet_s=0.0), {})
    await server.load()
    await server.listen()
    async with (
        asyncio.timeout(30),
        aiohttp.ClientSession(f"http://127.0.0.1:{server.port}") as session,
        session.post(path, json=body) as response,
    ):
        answer = await response.json()
        assert response.status == 200, answer
    await server.drain()
    assert threads and all(name.startswith("model-") for name in threads)


async def test_rows_become_tensors_in_a_thread_too() -> None:
    class Sizes(Model):
        takes = "tensors"

        def predict(self, payload: Any, context: Context) -> Any:
            return InferResponse([Tensor("n", (1,), "INT64", [payload.inputs[0].size])])

    body = b'{"instances":[' + b"[1,2]," * 500_000 + b"[1,2]]}"
    server = Server([Sizes("m")], Settings(http_port=0, http_address="127.0.0.1", drain_quiet_s=0.0), {})
    await server.load()
    await server.listen()
    began = time.thread_time()
    async with (
        asyncio.timeout(30),
        aiohttp.ClientSession(f"http://127.0.0.1:{server.port}") as session,
        session.post("/v1/models/m:predict", data=io.BytesIO(body)) as response,
    ):
        assert (response.status, await response.json()) == (200, {"predictions": [1_000_002]})
    on_the_loop_s = time.thread_time() - began
    await server.drain()
    assert on_the_loop_s < 0.25
