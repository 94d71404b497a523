"""Nothing is lost when a pod ends: the node's question, requests under way, wakes that follow, connections kept."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from functools import partial
from pathlib import Path
from socket import create_server

import aiohttp
import pytest
from gateway_pods import EchoPod, read_request
from gateway_world import World
from waiting_rig import until

from standalone.gateway import admin
from standalone.gateway.exchange import Head
from standalone.gateway.measures import Measures
from standalone.gateway.pods_pool import Address, Pool
from standalone.gateway.settings import Limits
from standalone.node import drain
from wakeful.kit import httpserver

HEADERS = {"Host": "m.ns.localhost"}


@pytest.fixture
async def socket(world: World, tmp_path: Path) -> AsyncIterator[Path]:
    """The gateway's admin socket, as the node sees it."""
    world.route("m.ns.localhost", ("r1", 100))
    world.revision()
    path = tmp_path / "g.sock"
    runner = await httpserver.start(admin.build(world.fleet, world.engine, Measures()), f"unix:{path}")
    yield path
    await runner.cleanup()


async def post(world: World) -> int:
    url = f"http://127.0.0.1:{world.port}/"
    async with aiohttp.ClientSession() as session, session.post(url, data=b"x", headers=HEADERS) as answer:
        await answer.read()
        return answer.status


async def test_the_node_waits_for_requests_under_way(world: World, socket: Path) -> None:
    old, new = EchoPod(), EchoPod()
    old.gate.clear()
    world.pod(await world.serve(old))
    await world.open_pods()
    slow = asyncio.create_task(post(world))
    await until(lambda: old.in_flight == 1)
    # the node is told of the deletion before we are: the pod's object here still says nothing of it
    draining = asyncio.create_task(drain.wait(socket, "p1", 10))
    await world.open_pods(0)
    world.waker.on_wake = partial(world.pod, await world.serve(new), "p2")
    assert await post(world) == 200
    assert len(new.requests) == 1
    assert not draining.done()
    old.gate.set()
    assert await slow == 200
    assert await asyncio.wait_for(draining, 5) == "drained"


async def test_a_pod_of_a_deleted_revision_is_waited_for_too(world: World, socket: Path) -> None:
    pod = EchoPod()
    pod.gate.clear()
    world.pod(await world.serve(pod))
    await world.open_pods()
    slow = asyncio.create_task(post(world))
    await until(lambda: pod.in_flight == 1)
    world.fleet.on_revision("DELETED", {"metadata": {"namespace": "ns", "name": "r1"}}, None)
    draining = asyncio.create_task(drain.wait(socket, "p1", 10))
    await asyncio.wait({draining}, timeout=0.2)
    assert not draining.done()
    pod.gate.set()
    assert await slow == 200
    assert await asyncio.wait_for(draining, 5) == "drained"


async def test_an_idle_pod_is_drained_at_once_and_stays_closed(world: World, socket: Path) -> None:
    port = await world.serve(EchoPod())
    world.pod(port)
    await world.open_pods()
    assert await drain.wait(socket, "p1", 5) == "drained"
    world.pod(port, conditions=[{"type": "Ready", "status": "True"}])  # a late update of its object
    assert world.fleet.revisions["ns", "r1"].hold.breaker.pods == ()


async def test_a_pod_that_we_have_not_seen_yet_is_never_opened(world: World, socket: Path) -> None:
    assert await drain.wait(socket, "p1", 5) == "drained"
    world.pod(await world.serve(EchoPod()), conditions=[{"type": "Ready", "status": "True"}])
    assert world.fleet.revisions["ns", "r1"].hold.breaker.pods == ()


async def test_the_node_goes_on_when_its_time_is_up_or_no_gateway_runs(
    world: World, socket: Path, tmp_path: Path
) -> None:
    stuck = EchoPod()
    stuck.gate.clear()
    world.pod(await world.serve(stuck))
    await world.open_pods()
    asking = asyncio.create_task(post(world))
    await until(lambda: stuck.in_flight == 1)
    assert await drain.wait(socket, "p1", 0.1) == "time is up"
    assert await drain.wait(tmp_path / "none.sock", "p1", 5) == "gateway is away"
    stuck.gate.set()
    assert await asking == 200


async def test_a_question_about_no_pod_is_refused(socket: Path) -> None:
    async with aiohttp.ClientSession(connector=aiohttp.UnixConnector(str(socket))) as session:
        for body in ([], {}, {"pod": ""}, {"pod": 3}):
            async with session.post("http://g/drain", json=body) as answer:
                assert answer.status == 400
        async with session.post("http://g/drain", data=b"{") as answer:
            assert answer.status == 400


async def test_a_wake_right_after_the_last_pod_left_is_asked_for_at_once(world: World, socket: Path) -> None:
    """The autoscaler is asked once a second while requests wait; a new need must not wait for that second."""
    port = await world.serve(EchoPod())
    for number in range(3):
        name = f"p{number}"
        world.waker.on_wake = partial(world.pod, port, name)
        began = asyncio.get_running_loop().time()
        assert await post(world) == 200
        assert asyncio.get_running_loop().time() - began < 0.5
        assert await drain.wait(socket, name, 5) == "drained"
    assert len(world.waker.wakes) == 3


async def test_a_kept_connection_that_the_pod_has_closed_is_not_used_again(limits: Limits) -> None:
    """The close is in the kernel but the loop has not told us yet: a POST sent into it could not be repeated safely."""
    with create_server(("127.0.0.1", 0)) as listener:
        pool = Pool(Address(port=listener.getsockname()[1]), limits)
        call = await pool.call(is_h2=False)
        theirs, _ = listener.accept()
        for goes_on in (True, False):
            call.start(Head(b"GET", b"/", "h", []), [])
            call.finish(b"", [])
            theirs.sendall(b"HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n")
            assert (await call.answer()).status == 200
            call.release()
            if not goes_on:
                theirs.close()  # nothing is awaited from here on: the loop cannot know
            assert (pool.take_idle() is call) == goes_on
        pool.close()


@pytest.mark.usefixtures("socket")
@pytest.mark.parametrize(("method", "status", "asked"), [("GET", 200, 2), ("PUT", 200, 2), ("POST", 502, 1)])
async def test_a_connection_that_ends_without_an_answer(
    world: World, method: str, status: int, asked: int
) -> None:
    """The pod dies as it is asked, and a second later another answers on its port: only what is safe is sent again."""
    lines: list[str] = []

    async def dies_once(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        request = await read_request(reader)
        if request is not None:
            lines.append(request.line)
            if len(lines) > 1:
                writer.write(b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok")

    world.pod(await world.serve(dies_once))
    await world.open_pods()
    url = f"http://127.0.0.1:{world.port}/"
    async with aiohttp.ClientSession() as session, session.request(method, url, headers=HEADERS) as answer:
        assert answer.status == status
    assert len(lines) == asked


@pytest.mark.usefixtures("socket")
async def test_a_request_that_kills_every_server_is_sent_twice_at_most(world: World) -> None:
    asked = 0

    async def dies(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        nonlocal asked
        asked += await read_request(reader) is not None

    for name in ("p1", "p2", "p3"):
        world.pod(await world.serve(dies), name=name)
    await world.open_pods(3)
    url = f"http://127.0.0.1:{world.port}/"
    async with aiohttp.ClientSession() as session, session.get(url, headers=HEADERS) as answer:
        assert answer.status == 502
    assert asked == 2
