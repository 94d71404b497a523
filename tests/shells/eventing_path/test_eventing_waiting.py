"""What must not use up an event's tries, or lose it: an absent gateway, a sink without an address, repeated ids."""

from __future__ import annotations

import asyncio
import socket
import time
from pathlib import Path
from typing import Any

from aiohttp import web
from eventing_rig import Rig, running_rig
from waiting_rig import until

from eventing.dispatcher import Concurrency
from wakeful.kit import httpserver

REPLY = {"ce-specversion": "1.0", "ce-id": "always-the-same", "ce-source": "/r", "ce-type": "reply"}


def answering(status: int, headers: dict[str, str] | None = None) -> Any:
    async def answer(_: web.Request, __: bytes) -> web.StreamResponse:
        return web.Response(status=status, headers=headers)

    return answer


def free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as free:
        return int(free.getsockname()[1])


async def test_an_absent_gateway_uses_up_no_try(tmp_path: Path) -> None:
    port = free_port()
    got: list[str] = []

    async def gateway(request: web.BaseRequest) -> web.Response:
        got.append(str(request.url))
        return web.Response(status=202)

    async with running_rig(tmp_path, proxy=f"http://127.0.0.1:{port}") as rig:
        rig.add_broker()
        rig.add_trigger("t", "http://svc.ns.svc.cluster.local/in")
        assert (await rig.post())[0] == 202
        await until(lambda: rig.broker.depth("ns/default").deliveries == 1)
        began = time.monotonic()
        await until(lambda: time.monotonic() - began > 1.2)
        runner = await httpserver.start(web.Server(gateway), f"tcp:127.0.0.1:{port}", shutdown_s=0.1)
        await until(lambda: rig.outcome("t", "delivered") == 1)
        assert len(got) == 1
        assert rig.outcome("t", "lost") == 0
        await runner.cleanup()


async def test_a_named_dead_letter_sink_is_waited_for(rig: Rig) -> None:
    subscriber, sink = await rig.start_subscriber(), await rig.start_subscriber()
    subscriber.answer = answering(400)
    rig.add_broker()
    named = {"deadLetterSink": {"ref": {"kind": "Service", "name": "later", "apiVersion": "v1"}}}
    rig.add_trigger("t", subscriber.url, delivery=named)
    await rig.post()
    await subscriber.wait(1)
    await until(lambda: rig.broker.depth("ns/default").deliveries == 1)
    rig.add_trigger("t", subscriber.url, dead_letter=sink.url, delivery=named)
    (got,) = await sink.wait(1)
    assert got.headers["ce-knativeerrorcode"] == "400"
    assert rig.outcome("t", "lost") == 0


async def test_a_subscribers_own_replies_all_pass_whatever_their_ids(rig: Rig) -> None:
    subscriber, second = await rig.start_subscriber(), await rig.start_subscriber()
    subscriber.answer = answering(200, REPLY)
    rig.add_broker()
    rig.add_trigger("a", subscriber.url, filter={"attributes": {"type": "com.example"}})
    rig.add_trigger("b", second.url, filter={"attributes": {"type": "reply"}})
    for number in range(3):
        await rig.post(ce_id=str(number))
    await second.wait(3)


async def test_bytes_in_flight_are_bounded_and_nothing_is_stuck(tmp_path: Path) -> None:
    async with running_rig(tmp_path, concurrency=Concurrency(4, 8, total_bytes=150_000)) as rig:
        subscriber = await rig.start_subscriber()
        release, running, most = asyncio.Event(), 0, 0

        async def hold(_: web.Request, __: bytes) -> web.StreamResponse:
            nonlocal running, most
            running += 1
            most = max(most, running)
            await release.wait()
            running -= 1
            return web.Response(status=202)

        subscriber.answer = hold
        rig.add_broker()
        rig.add_trigger("t", subscriber.url)
        for number in range(8):
            await rig.post(body=b"x" * 100_000, ce_id=str(number))
            await until(lambda number=number: running == min(number + 1, 2))  # type: ignore[misc]
        assert most == 2
        release.set()
        await until(lambda: rig.outcome("t", "delivered") == 8)
