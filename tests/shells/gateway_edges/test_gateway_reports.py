"""What the gateway tells the autoscaler every second."""

from __future__ import annotations

import asyncio
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

from aiohttp import web

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
