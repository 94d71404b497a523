"""A rig of the event path in this process: real SQLite file, real HTTP ingress, real HTTP subscribers, no Kubernetes."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import aiohttp
from aiohttp import web

from eventing.attempt import Attempts
from eventing.bodies import Bodies
from eventing.brokers.sqlite import Bounds, SqliteBroker
from eventing.dispatcher import Concurrency, Dispatcher
from eventing.ingress import Ingress
from eventing.metrics import Metrics
from eventing.routes import Routes
from eventing.sink import HttpSink
from wakeful.core.protocol.cloudevents import Limits
from wakeful.kit import httpserver

MAX_BODY = 200_000
CONCURRENCY = Concurrency(4, 8)
EVENT = {"ce-specversion": "1.0", "ce-id": "1", "ce-source": "/test", "ce-type": "com.example"}
Answer = Callable[[web.Request, bytes], Awaitable[web.StreamResponse]]


@dataclass
class Got:
    """One request that a subscriber received."""

    path: str
    headers: dict[str, str]
    body: bytes
    at: float


@dataclass
class Subscriber:
    """A real HTTP server; ``answer`` may be replaced at any time."""

    url: str = ""
    got: list[Got] = field(default_factory=list)
    answer: Answer | None = None
    arrived: asyncio.Condition = field(default_factory=asyncio.Condition)

    async def handle(self, request: web.Request) -> web.StreamResponse:
        body = await request.read()
        headers = {name.lower(): value for name, value in request.headers.items()}
        async with self.arrived:
            self.got.append(Got(request.path, headers, body, time.monotonic()))
            self.arrived.notify_all()
        return await self.answer(request, body) if self.answer else web.Response(status=202)

    async def wait(self, count: int, timeout_s: float = 10.0) -> list[Got]:
        async with asyncio.timeout(timeout_s), self.arrived:
            await self.arrived.wait_for(lambda: len(self.got) >= count)
        return self.got


@dataclass
class Rig:
    """The event path and how to change its world."""

    routes: Routes
    broker: SqliteBroker
    dispatcher: Dispatcher
    metrics: Metrics
    session: aiohttp.ClientSession
    ingress_url: str
    start_subscriber: Callable[[], Awaitable[Subscriber]]

    def add_broker(self, name: str = "default", **spec: Any) -> None:
        self.dispatcher.wake(
            self.routes.put_broker({"metadata": {"namespace": "ns", "name": name}, "spec": spec})
        )

    def add_trigger(self, name: str, url: str | None, dead_letter: str | None = None, **spec: Any) -> str:
        status = {"subscriberUri": url, "deadLetterSinkUri": dead_letter}
        trigger = {
            "metadata": {"namespace": "ns", "name": name, "uid": f"uid-{name}"},
            "spec": {"broker": "default", **spec},
            "status": {key: value for key, value in status.items() if value},
        }
        consumer = self.routes.put_trigger(trigger)
        self.dispatcher.wake([consumer])
        return consumer

    async def post(self, path: str = "/ns/default", body: bytes = b"", **headers: str) -> tuple[int, str]:
        sent = EVENT | {name.replace("_", "-"): value for name, value in headers.items()}
        return await self.send("POST", path, body, {name: value for name, value in sent.items() if value})

    async def send(self, method: str, path: str, body: Any, headers: Any) -> tuple[int, str]:
        request = self.session.request(
            method, self.ingress_url + path, data=body, headers=headers, skip_auto_headers=("Content-Type",)
        )
        async with request as response:
            return response.status, await response.text()

    def outcome(self, trigger: str, outcome: str) -> float:
        labels = {"namespace": "ns", "trigger": trigger, "outcome": outcome}
        return self.metrics.registry.get_sample_value("wakeful_trigger_events_total", labels) or 0.0


@asynccontextmanager
async def running_rig(
    folder: Path,
    proxy: str | None = None,
    concurrency: Concurrency = CONCURRENCY,
    store: type[SqliteBroker] = SqliteBroker,
) -> AsyncIterator[Rig]:
    """The whole path, started and stopped."""
    runners: list[web.BaseRunner] = []

    async def start_subscriber() -> Subscriber:
        subscriber = Subscriber()
        app = web.Application(client_max_size=64 * 1024 * 1024)
        app.router.add_route("*", "/{tail:.*}", subscriber.handle)
        runners.append(await httpserver.start(app, "tcp:127.0.0.1:0", shutdown_s=0.1))
        subscriber.url = f"http://127.0.0.1:{runners[-1].addresses[0][1]}/in"
        return subscriber

    routes = Routes()
    broker = store.open(folder / "events.db", Bounds(max_deliveries=200), time.time)
    metrics = Metrics(lambda: [(name, broker.depth(name)) for name in routes.brokers()])
    async with HttpSink(proxy, MAX_BODY) as sink, aiohttp.ClientSession() as session:
        attempts = Attempts(sink, routes, metrics, time.time, Limits(max_body_bytes=MAX_BODY), 5.0)
        dispatcher = Dispatcher(broker, routes, attempts, metrics, time.time, concurrency, 5.0)
        bodies = Bodies(MAX_BODY, 1_000_000, 50, 0.5)
        ingress = Ingress(broker, routes, bodies, metrics, time.time, dispatcher.wake)
        runners.append(await httpserver.start(web.Server(ingress.handle), "tcp:127.0.0.1:0", shutdown_s=0.1))
        url = f"http://127.0.0.1:{runners[-1].addresses[0][1]}"
        running = asyncio.create_task(dispatcher.run())
        await asyncio.sleep(0)
        routes.is_synced = True
        yield Rig(routes, broker, dispatcher, metrics, session, url, start_subscriber)
        running.cancel()
        await asyncio.gather(running, return_exceptions=True)
    for runner in runners:
        await runner.cleanup()
    await broker.close()
