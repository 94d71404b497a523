"""What the tests of the event process hold in their hands: the API with Brokers and Triggers, the process, a subscriber."""

from __future__ import annotations

import asyncio
import contextlib
import subprocess
import sys
import time
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import aiohttp
from aiohttp import web
from apiserver_rig import until_object
from http_rig import serving

from standalone.knative.eventing import BROKERS, TRIGGERS
from wakeful.core.api import conditions
from wakeful.kit.kube import KubeClient, Obj, Resource

ROOT = Path(__file__).resolve().parents[3]
EVENT = {"ce-specversion": "1.0", "ce-id": "1", "ce-source": "/test", "ce-type": "com.example"}


def is_ready(obj: Obj) -> bool:
    return conditions.read(obj.get("status"), "Ready").is_true


@dataclass
class World:
    """Brokers and Triggers in one namespace."""

    client: KubeClient
    namespace: str

    async def broker(self, name: str = "default", **more: Any) -> Obj:
        return await self.make(BROKERS, "Broker", name, **more)

    async def trigger(self, name: str = "t", annotations: Any = None, **spec: Any) -> Obj:
        return await self.make(
            TRIGGERS, "Trigger", name, annotations=annotations, spec={"broker": "default", **spec}
        )

    async def make(self, resource: Resource, kind: str, name: str, **more: Any) -> Obj:
        """Create an object; ``status`` is written after it."""
        metadata = {"name": name, "namespace": self.namespace, "annotations": more.get("annotations") or {}}
        body: Obj = {
            "apiVersion": f"{resource.group}/{resource.version}".lstrip("/"),
            "kind": kind,
            "metadata": metadata,
        }
        body |= {"spec": more["spec"]} if "spec" in more else {}
        made = await self.client.create(resource, self.namespace, body)
        if "status" in more:
            made = await self.client.patch(
                resource, self.namespace, name, {"status": more["status"]}, subresource="status"
            )
        return made

    async def until(
        self, resource: Resource, name: str, is_good: Callable[[Obj], bool], within_s: float = 8.0
    ) -> Obj:
        """The object once ``is_good`` holds; its last state is shown when it does not in time."""
        return await until_object(self.client, resource, (self.namespace, name), is_good, within_s)

    async def condition(self, resource: Resource, name: str, kind: str, status: str) -> conditions.Condition:
        """A condition, once it has that status."""
        obj = await self.until(
            resource, name, lambda found: conditions.read(found.get("status"), kind).status == status
        )
        return conditions.read(obj["status"], kind)

    async def ready(self, name: str = "t") -> Obj:
        return await self.until(TRIGGERS, name, is_ready)


@dataclass
class EventProcess:
    """`python -m eventing` on unix sockets in ``folder``."""

    folder: Path
    kubeconfig: Path
    session: aiohttp.ClientSession
    flags: tuple[str, ...] = ()
    running: subprocess.Popen[bytes] | None = None
    _client: aiohttp.ClientSession | None = field(default=None, repr=False)

    @property
    def log(self) -> str:
        path = self.folder / "eventing.log"
        return path.read_text(errors="replace") if path.exists() else ""

    def command(self) -> list[str]:
        paths = {
            "--kubeconfig": self.kubeconfig,
            "--database": self.folder / "events.db",
            "--listen": f"unix:{self.folder / 'in.sock'}",
            "--admin": f"unix:{self.folder / 'admin.sock'}",
        }
        parts = [str(part) for flag in paths.items() for part in flag]
        return [sys.executable, "-m", "eventing", *parts, *self.flags]

    async def start(self, waits: bool = True) -> None:
        """Start it; with ``waits`` until it knows its Triggers."""
        with (self.folder / "eventing.log").open("ab") as log:
            self.running = subprocess.Popen(self.command(), cwd=ROOT, stdout=log, stderr=log)  # noqa: ASYNC220
        deadline = time.monotonic() + 15
        while waits and await self.health() != 200:
            assert self.running.poll() is None, self.log
            assert time.monotonic() < deadline, self.log
            await asyncio.sleep(0.05)

    def kill(self) -> None:
        """SIGKILL, as a power cut would."""
        if self.running is not None:
            self.running.kill()
            self.running.wait(5)

    async def health(self) -> int:
        return (await self._call("admin.sock", "GET", "/healthz", {}, b""))[0]

    async def metrics(self) -> dict[str, float]:
        """Every sample of ``/metrics`` by its text up to the value."""
        _, text, _ = await self._call("admin.sock", "GET", "/metrics", {}, b"")
        lines = [line.rpartition(" ") for line in text.splitlines() if line and not line.startswith("#")]
        return {name: float(value) for name, _, value in lines}

    async def held(self) -> float:
        """Deliveries that are not done, over all brokers."""
        samples = (await self.metrics()).items()
        return sum(value for name, value in samples if name.startswith("wakeful_broker_deliveries"))

    async def post(self, path: str, body: bytes = b"", **headers: str) -> tuple[int, str]:
        sent = EVENT | {name.replace("_", "-"): value for name, value in headers.items()}
        status, text, _ = await self.send("POST", path, sent, body)
        return status, text

    async def send(
        self, method: str, path: str, headers: dict[str, str], body: bytes
    ) -> tuple[int, str, dict[str, str]]:
        return await self._call("in.sock", method, path, headers, body)

    async def _call(
        self, name: str, method: str, path: str, headers: dict[str, str], body: bytes
    ) -> tuple[int, str, dict[str, str]]:
        """(status, body, headers); 0 without an answer."""
        connector = aiohttp.UnixConnector(str(self.folder / name))
        async with aiohttp.ClientSession(connector=connector) as session:
            try:
                request = session.request(method, f"http://events{path}", data=body, headers=headers)
                async with request as answer:
                    lowered = {key.lower(): value for key, value in answer.headers.items()}
                    return answer.status, await answer.text(), lowered
            except (aiohttp.ClientError, OSError):
                return 0, "", {}


@dataclass
class Subscriber:
    """A real HTTP server that remembers what it got."""

    url: str = ""
    got: list[tuple[dict[str, str], bytes]] = field(default_factory=list)
    status: int = 202
    answer: Callable[[dict[str, str], bytes], web.Response] | None = None

    async def handle(self, request: web.Request) -> web.Response:
        body = await request.read()
        headers = {name.lower(): value for name, value in request.headers.items()}
        self.got.append((headers, body))
        return self.answer(headers, body) if self.answer else web.Response(status=self.status)

    async def wait(self, count: int, within_s: float = 10.0) -> list[tuple[dict[str, str], bytes]]:
        deadline = time.monotonic() + within_s
        while len(self.got) < count:
            assert time.monotonic() < deadline, f"got {len(self.got)} of {count}"
            await asyncio.sleep(0.02)
        return self.got


@contextlib.asynccontextmanager
async def subscribing() -> AsyncIterator[Subscriber]:
    subscriber = Subscriber()
    async with serving(subscriber.handle) as url:
        subscriber.url = f"{url}/in"
        yield subscriber
