"""Requests leave nothing to the garbage collector: a cycle each was a tenth of the processor time, in pauses of milliseconds."""

from __future__ import annotations

import asyncio
import gc
from typing import Any

import pytest

from wakeful.core.errors import FailureError, FailureKind
from wakeful.serving.exchange import Headers, Reply, Request
from wakeful.serving.model import Context, Model
from wakeful.serving.server import Server
from wakeful.serving.settings import Settings
from wakeful.serving.tabular import TabularModel

V1 = "/v1/models/m:predict", b'{"instances": [[1.5, 2.0]]}'
V1_WRONG = "/v1/models/m:predict", b'{"instances": [[1.5]]}'
V2 = (
    "/v2/models/m/infer",
    b'{"inputs": [{"name": "x", "shape": [1, 2], "datatype": "FP64", "data": [1.5, 2]}]}',
)
LONG = b", ".join([b"1.5"] * 60_000)
V1_LONG = "/v1/models/m:predict", b'{"instances": [[%b]]}' % LONG
V1_LONG_BROKEN = "/v1/models/m:predict", b'{"instances": [[%b]' % LONG
V2_LONG_WRONG = (
    "/v2/models/m/infer",
    b'{"inputs": [{"name": "x", "shape": [1, 2], "datatype": "FP64", "data": [%b]}]}' % LONG,
)
REQUESTS = 20


class Table(TabularModel):
    width = 2

    def compute(self, matrix: Any) -> Any:
        return matrix[:, 0]


class InThread(Model):
    def predict(self, payload: Any, context: Context) -> Any:
        return {"predictions": [1]}


class Raising(Model):
    def predict(self, payload: Any, context: Context) -> Any:
        raise FailureError(FailureKind.INVALID, "no")


class OnLoop(Model):
    async def predict(self, payload: Any, context: Context) -> Any:
        return {"predictions": [1]}


class RaisingOnLoop(Model):
    async def predict(self, payload: Any, context: Context) -> Any:
        raise ValueError("no")


class RaisingAfterLoop(Model):
    async def preprocess(self, payload: Any, context: Context) -> Any:
        return payload

    def predict(self, payload: Any, context: Context) -> Any:
        raise ValueError("no")


@pytest.mark.parametrize(
    ("kind", "asked", "status"),
    [
        (Table, V1, 200),
        (Table, V1_WRONG, 400),
        (Table, V2, 200),
        (InThread, V1, 200),
        (OnLoop, V1, 200),
        (Raising, V1, 400),
        (Raising, V1_LONG, 400),
        (RaisingOnLoop, V1_LONG, 500),
        (RaisingAfterLoop, V1_LONG, 500),
        (InThread, V1_LONG_BROKEN, 400),
        (InThread, V2_LONG_WRONG, 400),
    ],
    ids=[
        "v1",
        "wrong",
        "v2",
        "thread",
        "loop",
        "raising",
        "long",
        "long-loop",
        "long-both",
        "broken",
        "shape",
    ],
)
async def test_no_cycle_a_request(kind: type[Model], asked: tuple[str, bytes], status: int) -> None:
    server = Server([kind("m")], Settings(), {})
    await server.load()
    target, body = asked
    headers = Headers([("host", "x"), ("content-type", "application/json")])

    async def one() -> int:
        answered: asyncio.Future[Reply] = asyncio.get_running_loop().create_future()
        server.connections.handler.begin(Request("POST", target, headers, body), answered.set_result)
        async with asyncio.timeout(10):
            return (await answered).status

    for _ in range(3):
        assert await one() == status
    gc.collect()
    gc.disable()
    try:
        for _ in range(REQUESTS):
            await one()
        await asyncio.sleep(0)
        found = gc.collect()
    finally:
        gc.enable()
    await server.drain()
    assert found < REQUESTS, f"{found / REQUESTS} objects a request are left in cycles"
