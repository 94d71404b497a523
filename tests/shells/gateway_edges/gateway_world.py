"""A gateway in this process, on a real port, with pods that are real servers of these tests."""

from __future__ import annotations

import asyncio
import contextlib
import json
import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from typing import Any

from waiting_rig import until

from activator_hooks.ports import WakeDecision, WakeError
from standalone.gateway.engine import Engine
from standalone.gateway.fleet import Fleet
from standalone.gateway.front import Front
from standalone.gateway.measures import Measures
from standalone.gateway.pods_pool import Address, Pool
from standalone.gateway.settings import Limits

Handler = Callable[[asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]]


@dataclass
class RecordingWaker:
    """Remembers wakes; ``on_wake`` may start a pod; ``is_away`` plays a dead autoscaler."""

    wakes: list[tuple[str, str]] = field(default_factory=list)
    on_wake: Callable[[], Any] | None = None
    is_away: bool = False

    async def wake(self, namespace: str, revision: str) -> WakeDecision:
        self.wakes.append((namespace, revision))
        if self.is_away:
            raise WakeError("away")
        if self.on_wake is not None:
            self.on_wake()
        return WakeDecision(1, "test", time.time())


class World:
    """One gateway and the objects it is told of."""

    def __init__(self, limits: Limits) -> None:
        self.limits = limits
        self.waker = RecordingWaker()
        self.fleet = Fleet(limits, self.waker)
        self.measures = Measures()
        self.engine = Engine(self.fleet, limits, Pool(Address(path="/nowhere.sock"), limits), self.measures)
        self.front = Front(limits, self.engine.serve)
        self.port = 0
        self._servers: list[asyncio.Server] = []
        self._serving: set[asyncio.Task[None]] = set()
        self._tasks: list[asyncio.Task[None]] = []

    async def start(self) -> None:
        self.port = await self.front.listen(0)
        self.fleet.mark_synced()
        loop = asyncio.get_running_loop()
        self._tasks = [loop.create_task(self.front.run_sweep()), loop.create_task(self.fleet.run_ticks())]

    async def stop(self) -> None:
        await self.front.stop()
        await self.fleet.close()
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        for server in self._servers:
            server.close()
            await server.wait_closed()
        if self._serving:
            await asyncio.wait(self._serving, timeout=1)
        for task in self._serving:
            task.cancel()
        await asyncio.gather(*self._serving, return_exceptions=True)

    async def serve(self, handler: Handler) -> int:
        """A TCP server of the test; returns its port."""

        async def tracked(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            task = asyncio.current_task()
            assert task is not None
            self._serving.add(task)
            try:
                await handler(reader, writer)
            finally:
                writer.close()
                with contextlib.suppress(ConnectionError, TimeoutError):
                    await asyncio.wait_for(writer.wait_closed(), 1)
                self._serving.discard(task)

        server = await asyncio.start_server(tracked, "127.0.0.1", 0)
        self._servers.append(server)
        return int(server.sockets[0].getsockname()[1])

    async def stop_server(self) -> None:
        """The last server ends: connections to its port are refused from now on."""
        server = self._servers.pop()
        server.close()
        await server.wait_closed()

    def route(
        self, host: str, *splits: tuple[str, int], visibility: str = "ExternalIP", name: str = ""
    ) -> None:
        entries = [
            {
                "serviceName": revision,
                "serviceNamespace": "ns",
                "percent": percent,
                "appendHeaders": {
                    "Knative-Serving-Revision": revision,
                    "Knative-Serving-Namespace": "ns",
                },
            }
            for revision, percent in splits
        ]
        rule = {"hosts": [host], "visibility": visibility, "http": {"paths": [{"splits": entries}]}}
        metadata = {"namespace": "ns", "name": name or host.partition(".")[0], "resourceVersion": "1"}
        self.fleet.on_ingress("ADDED", {"metadata": metadata, "spec": {"rules": [rule]}}, None)

    def revision(self, name: str = "r1", **spec: Any) -> None:
        container = {
            "name": "user-container",
            "ports": [{"containerPort": 8080}],
            **spec.pop("container", {}),
        }
        annotations = spec.pop("annotations", {})
        status = spec.pop("status", {})
        obj = {
            "metadata": {"namespace": "ns", "name": name, "annotations": annotations},
            "spec": {"containers": [container], **spec},
            "status": status,
        }
        self.fleet.on_revision("MODIFIED", obj, None)

    def pod(self, port: int, name: str = "p1", revision: str = "r1", **more: Any) -> dict[str, Any]:
        """Tell of a pod whose container port 8080 is ``port`` (0: not started)."""
        annotations = {"node.wakeful.dev/timeline": json.dumps({"admitted": time.time()})}
        if port:
            annotations = {
                "node.wakeful.dev/ports": json.dumps({"8080": port}),
                "node.wakeful.dev/timeline": json.dumps({"admitted": time.time(), "started": time.time()}),
            }
        metadata = {
            "namespace": "ns",
            "name": name,
            "uid": name,
            "labels": {"serving.knative.dev/revision": revision},
            "annotations": annotations,
            **more.pop("metadata", {}),
        }
        obj = {"metadata": metadata, "status": {"podIP": "127.0.0.1", **more}}
        self.fleet.on_pod("MODIFIED", obj, None)
        return obj

    async def open_pods(self, count: int = 1, revision: str = "r1") -> None:
        await until(lambda: len(self.fleet.revisions[("ns", revision)].hold.breaker.pods) == count)

    async def ask(self, raw: bytes) -> bytes:
        """Send raw bytes, read until the gateway closes."""
        reader, writer = await asyncio.open_connection("127.0.0.1", self.port)
        writer.write(raw)
        try:
            return await asyncio.wait_for(reader.read(), 10)
        finally:
            writer.close()
