"""A serving pod is stopped only when the gateway says that no request is there; a removed object does not wait."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator
from typing import Any

import pytest
from aiohttp import web
from node_machine import Machine, pod, server
from waiting_rig import until

from wakeful.kit import httpserver


class Gateway:
    """Plays ``POST /drain``."""

    def __init__(self) -> None:
        self.asked: list[Any] = []
        self.is_idle = asyncio.Event()

    async def drain(self, request: web.Request) -> web.Response:
        self.asked.append((await request.json())["pod"])
        await self.is_idle.wait()
        return web.json_response({"known": True})


@pytest.fixture
async def gateway(machine: Machine) -> AsyncIterator[Gateway]:
    gateway = Gateway()
    app = web.Application()
    app.router.add_post("/drain", gateway.drain)
    runner = await httpserver.start(app, f"unix:{machine.layout.socket('gateway')}", 0.1)
    yield gateway
    await runner.cleanup()


def serving(name: str) -> dict[str, Any]:
    # Ready means here: its SIGTERM handler is in place.
    made = pod(name, server(readinessProbe={"httpGet": {"path": "/", "port": 8080}}))
    made["metadata"]["labels"]["serving.knative.dev/revision"] = "r1"
    return made


async def test_sigterm_comes_when_the_gateway_has_let_go(machine: Machine, gateway: Gateway) -> None:
    worker = machine.start(serving("busy"))
    await machine.ready("busy")
    deleting = asyncio.create_task(machine.delete(worker))
    await until(lambda: gateway.asked == [worker.uid])
    await asyncio.wait({deleting}, timeout=0.3)
    assert "running" in machine.state("busy")["state"]
    gateway.is_idle.set()
    await deleting
    assert machine.state("busy")["state"]["terminated"]["exitCode"] == 0


@pytest.mark.usefixtures("gateway")
async def test_the_grace_bounds_the_wait(machine: Machine) -> None:
    worker = machine.start(serving("stuck"))
    await machine.ready("stuck")
    began = time.monotonic()
    await machine.delete(worker, grace_s=0.5)
    assert 0.4 < time.monotonic() - began < 5


async def test_a_removed_object_is_not_waited_for(machine: Machine, gateway: Gateway) -> None:
    worker = machine.start(serving("forced"))
    await machine.ready("forced")
    deleting = asyncio.create_task(machine.delete(worker, grace_s=60))
    await until(lambda: gateway.asked == [worker.uid])
    worker.vanish()
    await until(lambda: not worker.folder.exists())
    deleting.cancel()
    await asyncio.gather(deleting, return_exceptions=True)


async def test_without_a_gateway_and_without_a_revision_nothing_is_waited_for(machine: Machine) -> None:
    worker = machine.start(serving("alone"))
    await machine.ready("alone")
    await asyncio.wait_for(machine.delete(worker, grace_s=60), 10)
    plain = machine.start(pod("plain", server()))
    await machine.ready("plain")
    await asyncio.wait_for(machine.delete(plain, grace_s=60), 10)
