"""A pod deleted in the moment its container starts, or is taken over, leaves no process behind."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from standalone.layout import Layout
from standalone.node.addresses import PortAllocator
from standalone.node.context import Node
from standalone.node.images import ImageTable
from standalone.node.launch import Host
from standalone.node.ports import Exit, Launch, Started
from standalone.node.probing import Prober
from standalone.node.worker import PodWorker
from wakeful.kit import logs

Obj = dict[str, Any]
SECRET_ENV = [{"name": "S", "valueFrom": {"secretKeyRef": {"name": "s", "key": "k"}}}]


class SlowRuntime:
    """Holds containers in memory; a start takes effect at once and is answered when ``answer`` is set."""

    def __init__(self) -> None:
        self.running: dict[str, asyncio.Future[Exit]] = {}
        self.has_begun = asyncio.Event()
        self.answer = asyncio.Event()

    def hold(self, container_id: str) -> None:
        self.running[container_id] = asyncio.get_running_loop().create_future()

    async def run(self, launch: Launch) -> Started:
        self.hold(launch.id)
        self.has_begun.set()
        await self.answer.wait()
        return Started(1, 0.0)

    async def wait(self, container_id: str) -> Exit:
        ended = self.running.get(container_id)
        return Exit(137, 0.0) if ended is None else await asyncio.shield(ended)

    async def kill(self, container_id: str, number: int) -> None:
        ended = self.running.get(container_id)
        if ended is not None and not ended.done():
            ended.set_result(Exit(128 + number, 0.0))

    async def known(self) -> Mapping[str, Started]:
        return {}

    async def forget(self, container_id: str) -> None:
        self.running.pop(container_id, None)


class SlowCluster:
    """An API that answers reads of Secrets only when ``answer`` is set, and knows no pod."""

    def __init__(self) -> None:
        self.is_asked = asyncio.Event()
        self.answer = asyncio.Event()

    async def get(self, kind: str, namespace: str, name: str) -> Obj | None:
        self.is_asked.set()
        await self.answer.wait()
        return {"kind": kind, "data": {"k": "dg=="}}

    async def token(self, namespace: str, account: str, audience: str, expires_s: int) -> str:
        return ""

    async def patch_status(self, pod: Obj, body: Obj) -> None: ...

    async def delete_pod(self, pod: Obj) -> None: ...

    def emit(self, pod: Obj, event_type: str, reason: str, message: str, container: str = "") -> None: ...


def pod_of(env: list[Obj]) -> Obj:
    container = {"name": "c", "image": "python:3", "command": ["sleep", "60"], "env": env}
    metadata = {"uid": "u", "name": "p", "namespace": "ns"}
    return {"metadata": metadata, "spec": {"containers": [container], "terminationGracePeriodSeconds": 1}}


def deleted(pod: Obj) -> Obj:
    return {**pod, "metadata": {**pod["metadata"], "deletionTimestamp": "2026-01-01T00:00:00Z"}}


def node_of(
    folder: Path, runtime: SlowRuntime, cluster: SlowCluster, known: Mapping[str, Started] | None = None
) -> Node:
    layout = Layout(folder)
    layout.make()
    table = ImageTable([], logs.get("test"))
    table.load()
    host, prober = Host("", {}), Prober()
    return Node(
        layout, cluster, runtime, None, table, prober, host, PortAllocator(), known=known or {}
    )  # fmt: skip


async def test_a_pod_deleted_while_its_container_starts_leaves_nothing(tmp_path: Path) -> None:
    runtime, pod = SlowRuntime(), pod_of([])
    worker = PodWorker(node_of(tmp_path, runtime, SlowCluster()), pod, None)
    life = asyncio.create_task(worker.run())
    await runtime.has_begun.wait()
    worker.update(deleted(pod))
    await asyncio.sleep(0.05)
    runtime.answer.set()
    async with asyncio.timeout(10):
        await life
    assert runtime.running == {}


async def test_a_pod_deleted_before_it_is_taken_over_leaves_nothing(tmp_path: Path) -> None:
    runtime, cluster, pod = SlowRuntime(), SlowCluster(), deleted(pod_of(SECRET_ENV))
    runtime.hold("u/c/0")
    worker = PodWorker(node_of(tmp_path, runtime, cluster, {"u/c/0": Started(1, 0.0)}), pod, None)
    worker.update(pod)
    life = asyncio.create_task(worker.run())
    await cluster.is_asked.wait()
    await asyncio.sleep(0.05)
    cluster.answer.set()
    async with asyncio.timeout(10):
        await life
    assert runtime.running == {}
