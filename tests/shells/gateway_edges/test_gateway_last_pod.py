"""The last pod of a revision goes, or refuses a connection: who waits is not forgotten, and it is taken back."""

from __future__ import annotations

import asyncio
import json
from dataclasses import replace

import aiohttp
import pytest
from gateway_pods import EchoPod
from gateway_world import World
from waiting_rig import until

from standalone.gateway.settings import Limits


@pytest.fixture
def limits() -> Limits:
    return replace(Limits(), fail_after_s=0.2, drain_s=0.5, pod_idle_s=0)


async def get(world: World) -> int:
    url, headers = f"http://127.0.0.1:{world.port}/", {"Host": "m.ns.localhost"}
    async with aiohttp.ClientSession() as session, session.get(url, headers=headers) as answer:
        return answer.status


async def test_requests_that_wait_for_a_place_wake_when_the_last_pod_goes(world: World) -> None:
    """They had found a pod, so they had asked for none, and waited for the autoscaler's next tick or their timeout."""
    world.route("m.ns.localhost", ("r1", 100))
    world.revision(containerConcurrency=1)
    busy, new = EchoPod(), EchoPod()
    busy.gate.clear()
    world.pod(await world.serve(busy))
    await world.open_pods()
    first, second = asyncio.create_task(get(world)), asyncio.create_task(get(world))
    revision = world.fleet.revisions[("ns", "r1")]
    await until(lambda: busy.in_flight == 1 and revision.hold.breaker.waiting == 1)
    assert world.waker.wakes == []
    port = await world.serve(new)
    world.waker.on_wake = lambda: world.pod(port, name="p2") and None
    revision.drop_pod("p1")
    assert await asyncio.wait_for(second, 5) == 200
    assert set(world.waker.wakes) == {("ns", "r1")}
    busy.gate.set()
    await first


async def test_a_pod_without_a_start_in_its_timeline_is_taken_back(world: World) -> None:
    """A node that lost its memory of a pod does not write when it started: one refused dial closed it for ever."""
    world.route("m.ns.localhost", ("r1", 100))
    world.revision()
    port = await world.serve(EchoPod())
    notes = {"node.wakeful.dev/ports": json.dumps({"8080": port}), "node.wakeful.dev/timeline": "{}"}
    world.pod(port, metadata={"annotations": notes}, conditions=[{"type": "Ready", "status": "True"}])
    await world.open_pods()
    await world.stop_server()
    asking = asyncio.create_task(get(world))
    await world.open_pods(0)
    server = await asyncio.start_server(EchoPod(), "127.0.0.1", port)
    try:
        assert await asyncio.wait_for(asking, 5) == 200
    finally:
        server.close()
