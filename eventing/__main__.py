"""``python -m eventing``: broker ingress and dispatcher in one process. Composition root.

Parts: the SQLite broker, the routes kept by the watcher, the ingress behind ``--listen``, the dispatcher with its HTTP
sink, the admin page. It starts before the Kubernetes API is there and answers 503 until it knows the Triggers.
"""

from __future__ import annotations

import asyncio
import sys
import time
from collections.abc import Sequence
from pathlib import Path

from aiohttp import web

from eventing import settings as settings_module
from eventing.attempt import Attempts
from eventing.bodies import Bodies
from eventing.brokers.sqlite import Bounds, SqliteBroker
from eventing.brokers.sqlite_schema import OpenError
from eventing.dispatcher import Concurrency, Dispatcher
from eventing.ingress import Ingress
from eventing.metrics import Metrics
from eventing.routes import Routes
from eventing.settings import Settings
from eventing.sink import HttpSink
from eventing.watch import Watch
from wakeful.core.protocol.cloudevents import Limits
from wakeful.kit import httpserver, lifecycle, logs
from wakeful.kit.kube import Credentials, KubeClient, read_kubeconfig

log = logs.get("eventing")


async def main(settings: Settings) -> int:
    """Run until a signal. 1 when it cannot start, with one sentence in the log."""
    stop = lifecycle.stop_event()
    try:
        broker = SqliteBroker.open(
            settings.database,
            Bounds(settings.max_deliveries, settings.max_stored_bytes, settings.max_total_bytes),
            time.time,
        )
    except OpenError as error:
        log.error("cannot start", error=str(error))
        return 1
    try:
        async with HttpSink(settings.proxy, settings.max_body_bytes, settings.total_concurrency * 2) as sink:
            await _serve(settings, broker, sink, stop)
    except httpserver.ListenError as error:
        log.error("cannot start", error=str(error))
        return 1
    finally:
        await broker.close()
    return 0


async def _serve(settings: Settings, broker: SqliteBroker, sink: HttpSink, stop: asyncio.Event) -> None:
    routes = Routes()
    metrics = Metrics(lambda: [(name, broker.depth(name)) for name in routes.brokers()])
    limits = Limits(max_body_bytes=settings.max_body_bytes)
    attempts = Attempts(sink, routes, metrics, time.time, limits, settings.attempt_timeout_s)
    concurrency = Concurrency(settings.trigger_concurrency, settings.total_concurrency)
    dispatcher = Dispatcher(
        broker, routes, attempts, metrics, time.time, concurrency, settings.attempt_timeout_s
    )
    bodies = Bodies(
        settings.max_body_bytes,
        settings.max_buffered_bytes,
        settings.max_requests,
        settings.body_timeout_s,
    )
    ingress = Ingress(broker, routes, bodies, metrics, time.time, dispatcher.wake)
    runner = await httpserver.start(web.Server(ingress.handle), settings.listen)
    admin = await httpserver.start(
        httpserver.admin_app(lambda: _problem(routes), metrics.registry), settings.admin
    )
    log.info("listening", events=settings.listen, admin=settings.admin)
    try:
        await lifecycle.run_until(stop, dispatcher.run(), _watch(settings, routes, broker, dispatcher))
    finally:
        await runner.cleanup()
        await admin.cleanup()


def _problem(routes: Routes) -> str | None:
    return None if routes.is_synced else "the Kubernetes API has not been read yet"


async def _watch(settings: Settings, routes: Routes, broker: SqliteBroker, dispatcher: Dispatcher) -> None:
    credentials = await _credentials(settings.kubeconfig)
    async with KubeClient(credentials, "wakeful-eventing") as client:
        await Watch(client, routes, broker, dispatcher).run()


async def _credentials(path: Path) -> Credentials:
    """The kubeconfig, waited for."""
    is_told = False
    while True:
        try:
            return read_kubeconfig(path)
        except ValueError as error:
            if not is_told:
                log.info("waiting for the kubeconfig", path=str(path), why=str(error))
                is_told = True
            await asyncio.sleep(0.1)


def run(argv: Sequence[str]) -> int:
    """The process; its exit status."""
    logs.capture_libraries()
    return lifecycle.run(main(settings_module.parse(argv)))


if __name__ == "__main__":
    sys.exit(run(sys.argv[1:]))
