"""The response cache over HTTP: hits, what makes two requests differ, what is never kept, its bound."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from typing import Any

import aiohttp
import pytest

from wakeful.serving import Context, InferRequest, InferResponse, Model, Tensor
from wakeful.serving.server import Server
from wakeful.serving.settings import Settings

PREDICT, INFER = "/v1/models/m:predict", "/v2/models/m/infer"
TENSOR = {"name": "x", "shape": [2], "datatype": "INT8", "data": [1, 2]}


class Counting(Model):
    """Answers how often it was asked, and (``size``) as much as it is told."""

    def __init__(self) -> None:
        super().__init__("m")
        self.asked = 0

    def predict(self, payload: Any, context: Context) -> Any:
        self.asked += 1
        if isinstance(payload, InferRequest):
            return InferResponse([Tensor("n", (1,), "INT32", [self.asked])])
        if payload.get("fail"):
            raise ValueError("no")
        if payload.get("private"):
            context.response_headers["Cache-Control"] = payload["private"]
        return {"predictions": [self.asked], "fill": "x" * payload.get("size", 0)}


class Rig:
    def __init__(self, server: Server, model: Counting, session: aiohttp.ClientSession) -> None:
        self.server, self.model, self.session = server, model, session

    async def ask(self, path: str, body: Any, **headers: str) -> tuple[int, str]:
        """How often the model had been asked for this answer, and X-Cache."""
        content = body if isinstance(body, bytes) else json.dumps(body).encode()
        given = {"Content-Type": "application/json", **headers}
        async with self.session.post(path, data=content, headers=given) as response:
            await response.read()
            return self.model.asked, response.headers.get("X-Cache", "")


@pytest.fixture
async def rig() -> AsyncIterator[Rig]:
    model = Counting()
    options: dict[str, Any] = {"http_port": 0, "http_address": "127.0.0.1", "drain_quiet_s": 0.0}
    server = Server([model], Settings(response_cache_bytes=65536, **options), {})
    await server.load()
    await server.listen()
    async with aiohttp.ClientSession(f"http://127.0.0.1:{server.port}") as session:
        yield Rig(server, model, session)
    await server.drain()


@pytest.mark.parametrize(
    ("path", "body"), [(PREDICT, {"instances": [1]}), (INFER, {"inputs": [TENSOR]})], ids=["V1", "V2"]
)
async def test_the_same_request_is_answered_from_the_cache(rig: Rig, path: str, body: Any) -> None:
    assert await rig.ask(path, body) == (1, "")
    assert await rig.ask(path, body, **{"X-Request-Id": "mine"}) == (1, "hit")
    async with rig.session.get("/metrics") as response:
        page = await response.text()
    assert "wakeful_serving_cache_hits_total 1.0" in page and "wakeful_serving_cache_misses_total 1.0" in page
    assert 'code="200",model_name="m"' in page


@pytest.mark.parametrize("kind", ["application/x-www-form-urlencoded", "text/plain"])
async def test_what_curl_sends_without_a_type_is_kept_too(rig: Rig, kind: str) -> None:
    headers = {"Content-Type": kind}
    assert await rig.ask(PREDICT, {"instances": [1]}, **headers) == (1, "")
    assert await rig.ask(PREDICT, {"instances": [1]}, **headers) == (1, "hit")


@pytest.mark.parametrize("header", ["ce-id", "ce-type"])
async def test_what_announces_an_event_is_not_answered_from_it(rig: Rig, header: str) -> None:
    assert await rig.ask(PREDICT, {"instances": [1]}) == (1, "")
    async with rig.session.post(PREDICT, json={"instances": [1]}, headers={header: "1"}) as response:
        assert response.status == 400 and "not a valid CloudEvent" in await response.text()


async def test_binary_answers_are_kept_whole(rig: Rig) -> None:
    body = {"inputs": [TENSOR], "parameters": {"binary_data_output": True}}
    answers = []
    for _ in range(2):
        async with rig.session.post(INFER, json=body) as response:
            answers.append((await response.read(), response.headers["Inference-Header-Content-Length"]))
    assert answers[0] == answers[1] and rig.model.asked == 1


@pytest.mark.parametrize(
    "headers",
    [
        {"Authorization": "x"},
        {"Content-Type": "application/vnd.x+json"},
        {"Cache-Control": "no-store"},
        {"Cache-Control": "No-Store, max-age=5"},
        {"Cache-Control": "no-cache"},
        {"Cache-Control": "max-age=0"},
    ],
    ids=["authorization", "type", "no-store", "capitals", "no-cache", "max-age"],
)
async def test_what_makes_requests_differ(rig: Rig, headers: dict[str, str]) -> None:
    assert await rig.ask(PREDICT, {"instances": [1]}) == (1, "")
    assert await rig.ask(PREDICT, {"instances": [1]}, **headers) == (2, "")
    assert await rig.ask(PREDICT, {"instances": [2]}) == (3, "")


@pytest.mark.parametrize(
    "body",
    [
        {"fail": 1},
        {"private": "no-store"},
        {"private": "Private, max-age=60"},
        {"private": "no-cache"},
        {"size": 60000},
        {
            "specversion": "1.0",
            "id": "1",
            "source": "s",
            "type": "t",
            "time": "2026-01-01T00:00:00Z",
            "data": {},
        },
    ],
    ids=["failed", "no-store", "private", "no-cache", "large", "event"],
)
async def test_what_is_never_kept(rig: Rig, body: Any) -> None:
    assert [await rig.ask(PREDICT, body) for _ in range(2)] == [(1, ""), (2, "")]


async def test_headers_that_are_no_text_are_kept_apart_too(rig: Rig) -> None:
    reader, writer = await asyncio.open_connection("127.0.0.1", rig.server.port)
    for accept, asked in ((b"\xff", 1), (b"\xff", 1), (b"\xfe", 2)):
        head = b"POST %b HTTP/1.1\r\nHost: x\r\nContent-Length: 2\r\nAccept: %b\r\n\r\n{}"
        writer.write(head % (PREDICT.encode(), accept))
        async with asyncio.timeout(10):
            assert (await reader.readuntil(b"\r\n\r\n")).startswith(b"HTTP/1.1 200")
            assert (await reader.readuntil(b"}")).startswith(b'{"predictions":[%d]' % asked)
    writer.close()


async def test_a_model_loaded_again_is_asked_again(rig: Rig) -> None:
    await rig.ask(PREDICT, {"instances": [1]})
    await rig.server.registry.unload("m")
    async with rig.session.post(PREDICT, json={"instances": [1]}) as response:
        assert response.status == 503
    await rig.server.registry.load("m")
    assert await rig.ask(PREDICT, {"instances": [1]}) == (2, "")


async def test_memory_is_bounded_and_the_oldest_leaves_first(rig: Rig) -> None:
    for n in range(60):
        await rig.ask(PREDICT, {"instances": [n], "size": 4000})
    async with rig.session.get("/metrics") as response:
        page = await response.text()
    held = float(
        next(line for line in page.splitlines() if line.startswith("wakeful_serving_cache_bytes")).split()[1]
    )
    assert 40_000 < held <= 65536
    assert await rig.ask(PREDICT, {"instances": [59], "size": 4000}) == (60, "hit")
    assert await rig.ask(PREDICT, {"instances": [0], "size": 4000}) == (61, "")
