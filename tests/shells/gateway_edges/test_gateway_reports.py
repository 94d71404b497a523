"""What the gateway tells the autoscaler every second."""

from __future__ import annotations

import asyncio
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

from aiohttp import web
from gateway_pods import EchoPod
from gateway_world import World
from prometheus_client import generate_latest
from waiting_rig import until

from standalone.gateway.autoscaler import AutoscalerClient
from standalone.gateway.fleet import Fleet
from standalone.gateway.reporter import run_reports


async def test_a_second_without_any_traffic_is_reported_too(tmp_path: Path) -> None:
    """Otherwise models that nobody ever called would not be put to sleep: no report is no knowledge."""
    told: asyncio.Queue[Any] = asyncio.Queue()

    async def stats(request: web.Request) -> web.Response:
        told.put_nowait(await request.json())
        return web.Response(status=204)

    app = web.Application()
    app.router.add_post("/stats", stats)
    runner = web.AppRunner(app)
    await runner.setup()
    path = tmp_path / "a.sock"
    await web.UnixSite(runner, str(path)).start()
    quiet = cast(Fleet, SimpleNamespace(items=list))
    async with AutoscalerClient(path) as client:
        reporting = asyncio.create_task(run_reports(quiet, client))
        async with asyncio.timeout(10):
            body = await told.get()
        reporting.cancel()
        await asyncio.gather(reporting, return_exceptions=True)
    await runner.cleanup()
    assert body["stats"] == []


async def test_series_of_a_deleted_revision_are_gone(world: World) -> None:
    slow = EchoPod()
    world.route("m.ns.localhost", ("r1", 100))
    world.revision()
    world.pod(await world.serve(slow))
    await world.open_pods()
    get = b"GET / HTTP/1.1\r\nHost: m.ns.localhost\r\nConnection: close\r\n\r\n"
    assert (await world.ask(get)).endswith(b"hello")
    assert b'revision="r1"' in generate_latest(world.measures.registry)
    slow.gate.clear()
    late = asyncio.create_task(world.ask(get))
    await until(lambda: slow.in_flight == 1)
    world.fleet.on_revision("DELETED", {"metadata": {"namespace": "ns", "name": "r1"}}, None)
    slow.gate.set()
    assert (await late).endswith(b"hello")
    assert b'revision="r1"' not in generate_latest(world.measures.registry)
