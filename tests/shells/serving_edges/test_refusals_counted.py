"""``wakeful_serving_rejected_total`` has every bound that the server refuses by, from the first page on."""

from __future__ import annotations

import asyncio
import re
from typing import Any

from raw_http import connected
from waiting_rig import until

WAIT = {"do": "wait"}
PREDICT = "/v1/models/m:predict"


async def refused(client: Any) -> dict[str, float]:
    """What the page says, by reason; those that never happened are left out here but not there."""
    page = (await client.ask("GET", "/metrics"))[1].decode()
    found = dict(re.findall(r'^wakeful_serving_rejected_total\{reason="(\w+)"\} ([\d.]+)$', page, re.M))
    assert set(found) == {"queue", "concurrency", "memory", "streams", "connections"}
    return {reason: float(count) for reason, count in found.items() if float(count)}


async def test_the_queue_and_a_long_body_that_is_decoded_in_a_thread(start: Any, models: Any) -> None:
    model = models["echo"]("m")
    client = await start(model, max_threads=1, max_queue=0)
    assert await refused(client) == {}
    waiting = asyncio.create_task(client.ask("POST", PREDICT, json=WAIT))
    await until(lambda: model.running == 1)
    assert (await client.ask("POST", PREDICT, json={}))[0] == 503
    long = {"inputs": [{"name": "x", "shape": [200_000], "datatype": "INT8", "data": [1] * 200_000}]}
    assert (await client.ask("POST", "/v2/models/m/infer", json=long))[0] == 503
    assert await refused(client) == {"queue": 2}
    model.gate.set()
    await waiting


async def test_concurrency(start: Any, models: Any) -> None:
    model = models["echo"]("m")
    client = await start(model, max_concurrency=1)
    waiting = asyncio.create_task(client.ask("POST", PREDICT, json=WAIT))
    await until(lambda: model.running == 1)
    assert (await client.ask("POST", PREDICT, json={}))[0] == 503
    assert await refused(client) == {"concurrency": 1}
    model.gate.set()
    await waiting


async def test_memory_of_all_bodies(start: Any) -> None:
    client = await start(max_buffered_bytes=1000)
    assert (await client.ask("POST", PREDICT, data=b'{"a":"' + b"x" * 2000 + b'"}'))[0] == 503
    assert await refused(client) == {"memory": 1}


async def test_connections(start: Any) -> None:
    client = await start(max_connections=1)
    assert await refused(client) == {}  # over the one connection, which is kept
    async with connected(client.server.port) as second:
        assert (await second.answer()).status == 503
    assert await refused(client) == {"connections": 1}


async def test_a_deadline_is_no_bound(start: Any, models: Any) -> None:
    client = await start(models["sleepy"]("m"))
    assert (await client.ask("POST", PREDICT, json={}, headers={"X-Request-Timeout": "0.05"}))[0] == 504
    assert await refused(client) == {}
