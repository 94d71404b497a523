"""Long JSON answers are made in a thread, piece by piece: others are answered meanwhile, and no busy model is waited for."""

from __future__ import annotations

import asyncio
import threading
from typing import Any

import aiohttp
import numpy as np
import orjson
import pytest
from test_odd_answers import serving
from waiting_rig import until

from wakeful.core.protocol import json_pieces
from wakeful.serving import InferRequest, InferResponse, Model, Tensor
from wakeful.serving.server import Server

COUNT = 200_000
NUMBERS = [0.5 * number for number in range(COUNT)]
TENSOR = {"name": "x", "shape": [1], "datatype": "FP32", "data": [1]}


class Long(Model):
    """Answers by V1 and V2, in lists and arrays; ``{"do": "wait"}`` keeps the only thread."""

    def __init__(self) -> None:
        super().__init__("m")
        self.gate = threading.Event()
        self.running = 0

    def predict(self, payload: Any, context: Any) -> Any:
        asked = payload.parameters if isinstance(payload, InferRequest) else payload
        match asked["do"]:
            case "wait":
                self.running += 1
                self.gate.wait(20)
                return {"predictions": [1]}
            case "small":
                return {"predictions": [1]}
            case "rows":
                return {"predictions": [NUMBERS[at : at + 10] for at in range(0, COUNT, 10)]}
            case "list":
                return InferResponse([Tensor("y", (COUNT,), "FP64", list(NUMBERS))])
            case "array":
                return InferResponse([Tensor("y", (COUNT,), "FP64", np.array(NUMBERS))])
            case "wrong":
                return {"predictions": [*NUMBERS, {1}]}


def numbers_in(answer: Any) -> list[float]:
    rows = answer["outputs"][0]["data"] if "outputs" in answer else answer["predictions"]
    return [value for row in rows for value in (row if isinstance(row, list) else [row])]


async def ask(session: aiohttp.ClientSession, path: str, case: str) -> tuple[int, Any]:
    body = {"inputs": [TENSOR], "parameters": {"do": case}} if "v2" in path else {"do": case}
    async with session.post(path, json=body) as response:
        return response.status, orjson.loads(await response.read())


V1, V2 = "/v1/models/m:predict", "/v2/models/m/infer"


@pytest.mark.parametrize("case", ["rows", "list", "array"])
@pytest.mark.parametrize("path", [V1, V2])
async def test_long_answers_come_whole(path: str, case: str) -> None:
    async with serving(Long()) as port, aiohttp.ClientSession(f"http://127.0.0.1:{port}") as session:
        status, answer = await ask(session, path, case)
        assert status == 200 and numbers_in(answer) == NUMBERS
        assert (await ask(session, V1, "wrong")) == (
            500,
            {"error": "the model's answer has no JSON form: set is not JSON serializable: return dicts, lists, text, numbers or numpy arrays"},
        )  # fmt: skip


@pytest.mark.parametrize("case", ["rows", "list", "array"])
@pytest.mark.parametrize("path", [V1, V2])
async def test_others_are_answered_while_a_long_answer_is_made(
    path: str, case: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The piece that is made waits for a small request to be answered: on the event loop it would wait for itself."""
    begun, gate = threading.Event(), threading.Event()
    split = json_pieces.split

    def held(value: Any, *levels: int) -> Any:
        if json_pieces.weight(value) > json_pieces.PIECE:
            begun.set()
            assert gate.wait(5), "nobody was answered meanwhile"
        return split(value, *levels)

    monkeypatch.setattr(json_pieces, "split", held)
    async with serving(Long()) as port, aiohttp.ClientSession(f"http://127.0.0.1:{port}") as session:
        long = asyncio.create_task(ask(session, path, case))
        await until(begun.is_set)
        assert await ask(session, V1, "small") == (200, {"predictions": [1]})
        assert not long.done()
        gate.set()
        assert (await long)[0] == 200


async def test_a_long_answer_does_not_wait_for_the_models_threads() -> None:
    model = Long()
    async with serving(model) as port, aiohttp.ClientSession(f"http://127.0.0.1:{port}") as session:
        waiting = [asyncio.create_task(ask(session, V1, "wait")) for _ in range(3)]
        await until(lambda: model.running == 3)
        long = asyncio.create_task(ask(session, V1, "rows"))  # the fourth thread's; three more wait for it
        waiting += [asyncio.create_task(ask(session, V1, "wait")) for _ in range(3)]
        assert (await asyncio.wait_for(long, 10))[0] == 200
        model.gate.set()
        assert {status for status, _ in await asyncio.gather(*waiting)} == {200}


async def test_a_caller_who_leaves_while_the_answer_is_made_is_counted_once(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    begun, gate = threading.Event(), threading.Event()
    split, servers = json_pieces.split, list[Server]()
    listen = Server.listen

    async def kept(server: Server) -> None:
        servers.append(server)
        await listen(server)

    def held(value: Any, *levels: int) -> Any:
        begun.set()
        gate.wait(5)
        return split(value, *levels)

    monkeypatch.setattr(json_pieces, "split", held)
    monkeypatch.setattr(Server, "listen", kept)
    async with serving(Long()) as port, aiohttp.ClientSession(f"http://127.0.0.1:{port}") as session:
        long = asyncio.create_task(ask(session, V1, "rows"))
        await until(begun.is_set)
        long.cancel()
        edge = servers[0].edge
        await until(lambda: edge.flights.count == 0)
        gate.set()
        assert edge.plane.metrics.counts() == {("m", "v1", 499): 1}
