"""Bounds, deadlines, cancellation and the drain of the data plane."""

from __future__ import annotations

import asyncio
import json
import time
from typing import Any

import aiohttp
import pytest
from waiting_rig import until

from wakeful.core.errors import FailureError, FailureKind
from wakeful.serving.model import LoadError, Model
from wakeful.serving.registry import Registry

WAIT = {"do": "wait"}


async def test_full_queue_answers_503_with_retry_after(start: Any, models: Any) -> None:
    model = models["echo"]("m")
    client = await start(model, max_threads=1, max_queue=1)
    tasks = [asyncio.create_task(client.ask("POST", "/v1/models/m:predict", json=WAIT)) for _ in range(2)]
    await until(lambda: client.server.pool.calls == 2)
    status, body, response = await client.ask("POST", "/v1/models/m:predict", json={})
    assert (status, response.headers["Retry-After"]) == (503, "1")
    assert "2 requests are running or waiting" in body["error"]
    model.gate.set()
    assert [(await task)[0] for task in tasks] == [200, 200]
    assert client.server.pool.calls == 0
    metrics = (await client.ask("GET", "/metrics"))[1].decode()
    assert 'wakeful_serving_rejected_total{reason="queue"} 1.0' in metrics


async def test_readiness_answers_while_every_thread_works(start: Any, models: Any) -> None:
    model = models["echo"]("m")
    client = await start(model, max_threads=1)
    task = asyncio.create_task(client.ask("POST", "/v1/models/m:predict", json=WAIT))
    await until(lambda: model.running == 1)
    assert (await client.ask("GET", "/v2/health/ready"))[0] == 200
    model.gate.set()
    assert (await task)[0] == 200


async def test_deadline_is_504_and_the_thread_keeps_its_place(start: Any, models: Any) -> None:
    model = models["echo"]("m")
    client = await start(model, request_timeout_s=0.1, max_threads=1, max_queue=0)
    status, body, _ = await client.ask("POST", "/v1/models/m:predict", json=WAIT)
    assert (status, body) == (504, {"error": "model m gave no answer within 0.1 s"})
    assert client.server.pool.calls == 1
    assert (await client.ask("POST", "/v1/models/m:predict", json={}))[0] == 503
    model.gate.set()
    await until(lambda: client.server.pool.calls == 0)
    assert (await client.ask("POST", "/v1/models/m:predict", json={}))[0] == 200


async def test_deadline_cancels_async_models(start: Any, models: Any) -> None:
    client = await start(models["sleepy"]("m"), request_timeout_s=0.1)
    assert (await client.ask("POST", "/v1/models/m:predict", json={}))[0] == 504
    assert client.server.pool.calls == 0


async def test_client_that_goes_away_frees_its_place(start: Any, models: Any) -> None:
    client = await start(models["sleepy"]("m"))
    _, writer = await asyncio.open_connection("127.0.0.1", client.server.port)
    writer.write(b"POST /v1/models/m:predict HTTP/1.1\r\nHost: x\r\nContent-Length: 2\r\n\r\n{}")
    await until(lambda: client.server.pool.calls == 1)
    writer.transport.abort()
    await until(lambda: client.server.pool.calls == 0)
    assert 'code="499"' in (await client.ask("GET", "/metrics"))[1].decode()


async def test_drain_fails_readiness_first_and_lets_requests_end(start: Any, models: Any) -> None:
    model = models["echo"]("m")
    client = await start(model, drain_s=10.0)
    task = asyncio.create_task(client.ask("POST", "/v1/models/m:predict", json=WAIT))
    await until(lambda: model.running == 1)
    draining = asyncio.create_task(client.server.drain())
    await until(lambda: client.server.startup.is_draining)
    status, body, response = await client.ask("GET", "/v2/health/ready")
    assert (status, body) == (503, {"error": "the server is shutting down"})
    assert response.headers["Connection"] == "close"
    model.gate.set()
    assert (await task)[0] == 200
    assert await draining is True
    with pytest.raises(aiohttp.ClientConnectionError):
        await client.ask("GET", "/")


async def test_drain_is_bounded(start: Any, models: Any, capfd: pytest.CaptureFixture[str]) -> None:
    model = models["echo"]("m")
    client = await start(model, drain_s=0.1)
    task = asyncio.create_task(client.ask("POST", "/v1/models/m:predict", json=WAIT))
    await until(lambda: model.running == 1)
    before = time.monotonic()
    assert await client.server.drain() is False
    assert time.monotonic() - before < 5
    (line,) = [json.loads(line) for line in capfd.readouterr().err.splitlines() if "drain ended" in line]
    assert line["in_flight"] == 1, "what is cut off is counted before it is"
    model.gate.set()
    with pytest.raises(aiohttp.ClientError):
        await task


async def test_registry_tells_why_a_model_is_not_ready() -> None:
    class Broken(Model):
        def load(self) -> None:
            raise ValueError("no weights")

    class Refusing(Model):
        async def load(self) -> bool:
            return False

    registry = Registry([Broken("b"), Refusing("r")])
    with pytest.raises(LoadError, match="model b failed to load: ValueError: no weights"):
        await registry.load("b")
    with pytest.raises(LoadError, match="returned False"):
        await registry.load("r")
    with pytest.raises(FailureError, match=r"b is not ready. Loading failed: .*no weights") as caught:
        registry.ready("b")
    assert caught.value.kind is FailureKind.NOT_READY
    assert not registry.is_ready()
    assert registry.only() is None
    with pytest.raises(LoadError, match="two models are called"):
        Registry([Broken("x"), Broken("x")])


async def test_requests_on_their_way_when_the_drain_begins_are_answered(start: Any) -> None:
    """16 callers that hear of the end 100 ms late; before, those between two requests were reset."""
    client = await start(max_queue=64, drain_quiet_s=0.25)
    statuses: list[int] = []
    is_heard = asyncio.Event()

    async def ask_until_heard() -> None:
        while not is_heard.is_set():
            statuses.append((await client.ask("POST", "/v1/models/m:predict", json={"instances": [1]}))[0])

    callers = [asyncio.create_task(ask_until_heard()) for _ in range(16)]
    await until(lambda: len(statuses) > 50)
    drain = asyncio.create_task(client.server.drain())
    asyncio.get_running_loop().call_later(0.1, is_heard.set)
    await asyncio.gather(*callers)
    assert set(statuses) == {200}
    port = client.server.port
    assert await drain
    with pytest.raises(ConnectionRefusedError):
        await asyncio.open_connection("127.0.0.1", port)
