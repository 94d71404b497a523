"""Composition root of the controller: settings, adapters, loops. Read it as a parts list.

Order of start: the API server answers; configuration is read; certificates are ready; webhooks listen; the kinds exist; kopf watches.
"""

from __future__ import annotations

import asyncio
import sys

import kopf
from kubernetes.aio.client import Configuration
from prometheus_client import CollectorRegistry

from controller import connection, handlers, operator, settings, sweep
from controller.cache import INFERENCE_SERVICES, WATCHED, Cache
from controller.cluster import KubernetesCluster
from controller.facts import Facts
from controller.metrics import Metrics
from controller.reconcile import Key, Reconciler, log
from controller.webhooks import server
from controller.webhooks.authority import Authority
from controller.webhooks.reviews import Reviewer
from wakeful.kit import httpserver, lifecycle, logs
from wakeful.kit.kube import key_of
from wakeful.kit.workqueue import WorkQueue, run_workers


async def main(config: settings.Settings) -> int:
    """Run until a signal; the exit status."""
    logs.set_level(config.log_level)
    stop = lifecycle.stop_event()
    namespace = connection.operator_namespace(config.namespace)
    health = Health()
    registry = CollectorRegistry()
    metrics = Metrics(registry)
    try:
        admin = await httpserver.start(httpserver.admin_app(health.problem, registry), config.admin)
    except httpserver.ListenError as error:
        log.error("cannot start", error=str(error))
        return 1
    try:
        ready = asyncio.create_task(connection.load(config.kubeconfig))
        if not await _either(ready, stop):
            return 0
        async with connection.Api(ready.result(), metrics.answered) as api:
            return await _serve(config, api, ready.result(), Scope(namespace, health, metrics, stop))
    finally:
        await admin.cleanup()


class Health:
    """What the admin page says."""

    def __init__(self) -> None:
        self.is_watching = False
        self.authority: Authority | None = None

    def problem(self) -> str | None:
        if self.authority is None:
            return "waiting for the API server"
        if not self.authority.is_installed:
            return "the WebhookConfigurations named wakeful are not installed yet"
        return None if self.is_watching else "kopf is not watching yet"


class Scope:
    """What the loops share."""

    def __init__(self, namespace: str, health: Health, metrics: Metrics, stop: asyncio.Event) -> None:
        self.namespace, self.health, self.metrics, self.stop = namespace, health, metrics, stop


async def _serve(
    config: settings.Settings, api: connection.Api, configuration: Configuration, scope: Scope
) -> int:
    cache, queue = Cache(), WorkQueue[Key]()
    facts, authority = Facts(api, scope.namespace), Authority(api, scope.namespace)
    reconciler = Reconciler(KubernetesCluster(api, cache, facts))
    start = asyncio.create_task(_prepare(api, facts, authority))
    if not await _either(start, scope.stop):
        return 0
    scope.health.authority = authority
    try:
        app = server.build_app(Reviewer(api, facts))
        webhooks = await server.start(app, config.webhook_listen, authority.context, config.listen_fds)
    except httpserver.ListenError as error:
        log.error("cannot start", error=str(error))
        return 1

    def build() -> kopf.OperatorRegistry:
        registry = operator.build_registry(configuration)
        handlers.register(registry, cache, queue)
        return registry

    def look_at_all() -> None:
        for isvc in cache.items(INFERENCE_SERVICES):
            queue.add(key_of(isvc))

    async def watch() -> None:
        await connection.wait_for_kinds(api, WATCHED)
        await operator.run(build, scope.stop, on_ready)

    def on_ready(is_watching: bool) -> None:
        scope.health.is_watching = is_watching

    try:
        await lifecycle.run_until(
            scope.stop,
            watch(),
            run_workers(queue, scope.metrics.timed(reconciler.reconcile), log, config.workers),
            facts.run(look_at_all),
            sweep.run(api.get, cache, look_at_all),
            authority.run(),
        )
    finally:
        queue.close()
        await webhooks.cleanup()
    return 0


async def _prepare(api: connection.Api, facts: Facts, authority: Authority) -> None:
    """Wait for the API server, then read the configuration and make the certificates."""
    while True:
        try:
            await connection.wait_for_server(api)
            await facts.refresh()
            await authority.prepare()
            return
        except connection.ApiFailureError as error:
            log.warning("not ready to start", code=error.code, error=str(error))
            await asyncio.sleep(0.5)


async def _either(task: asyncio.Task[object], stop: asyncio.Event) -> bool:
    """Wait for ``task`` or ``stop``; whether the task came first (its exception is raised)."""
    stopped = asyncio.create_task(stop.wait())
    done, _ = await asyncio.wait({task, stopped}, return_when=asyncio.FIRST_COMPLETED)
    stopped.cancel()
    if task in done:
        task.result()
        return True
    task.cancel()
    return False


if __name__ == "__main__":
    sys.exit(lifecycle.run(main(settings.parse())))
