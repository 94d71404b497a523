"""Composition root of the controller: settings, adapters, loops. Read it as a parts list.

Order of start: the API server answers; configuration is read; certificates are ready; webhooks listen; the kinds exist; kopf watches.
"""

from __future__ import annotations

import asyncio
import sys

import kopf
from kubernetes.aio.client import Configuration
from prometheus_client import CollectorRegistry

from controller import connection, handlers, listing, operator, settings, start, sweep
from controller.cache import INFERENCE_SERVICES, WATCHED, Cache
from controller.cluster import KubernetesCluster
from controller.facts import Facts
from controller.health import Health
from controller.metrics import Metrics
from controller.platform_watch import PlatformWatch
from controller.reconcile import Key, Reconciler, log
from controller.shipped import ShippedRuntimes
from controller.webhooks import server
from controller.webhooks.authority import Authority
from controller.webhooks.reviews import Reviewer
from wakeful.kit import httpserver, lifecycle, logs
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
        if not await start.either(ready, stop):
            return 0
        async with connection.Api(ready.result(), metrics.answered) as api:
            return await _serve(config, api, ready.result(), Scope(namespace, health, metrics, stop))
    finally:
        await admin.cleanup()


class Scope:
    """What the loops share."""

    def __init__(self, namespace: str, health: Health, metrics: Metrics, stop: asyncio.Event) -> None:
        self.namespace, self.health, self.metrics, self.stop = namespace, health, metrics, stop


async def _serve(
    config: settings.Settings, api: connection.Api, configuration: Configuration, scope: Scope
) -> int:
    controller = Controller(config, api, configuration, scope)
    platform, authority, facts = controller.platform, controller.authority, controller.facts
    preparing = asyncio.create_task(start.prepare(api, facts, platform, authority))
    if not await start.either(preparing, scope.stop):
        return 0
    scope.health.authority, scope.health.platform = authority, platform
    try:
        app = server.build_app(Reviewer(api, facts), lambda: platform.blocking)
        webhooks = await server.start(app, config.webhook_listen, authority.context, config.listen_fds)
    except httpserver.ListenError as error:
        log.error("cannot start", error=str(error))
        return 1
    try:
        await controller.run()
    finally:
        await server.end(webhooks, config.linger_s)
    return 0


class Controller:
    """The parts that stay, and the loops over them."""

    def __init__(
        self, config: settings.Settings, api: connection.Api, configuration: Configuration, scope: Scope
    ) -> None:
        self._api, self._configuration, self._scope, self._workers = api, configuration, scope, config.workers
        self._cache, self._queue, self._filled = Cache(), WorkQueue[Key](), asyncio.Event()
        self._election = election = start.election(config, api, scope.namespace)
        self.facts = Facts(api, scope.namespace, image_prefix=config.image_prefix)
        self._shipped = ShippedRuntimes(api, scope.namespace, config.image_prefix)
        self.platform = PlatformWatch(api, scope.namespace, lambda: election.is_leader)
        stands_aside = lambda: bool(self.platform.blocking)  # noqa: E731
        self.authority = Authority(api, scope.namespace, start.keeping(config), stands_aside)
        self._reconciler = Reconciler(KubernetesCluster(api, self._cache, self.facts))
        scope.metrics.standing(lambda: election.is_leader, lambda: self.authority.seconds_left)

    async def run(self) -> None:
        """All loops, until the signal."""
        try:
            await lifecycle.run_until(
                self._scope.stop,
                self._watch(),
                self._election.run(self._act),
                self.facts.run(self._look_at_all),
                self.platform.run(self._look_at_all),
                sweep.run(self._api.get_metadata, self._cache, self._look_at_all),
                self.authority.run(),
            )
        finally:
            self._queue.close()

    async def _watch(self) -> None:
        await connection.wait_for_kinds(self._api, WATCHED)
        await listing.fill(self._api.get, self._cache)
        self._filled.set()
        self._look_at_all()
        await operator.run(self._build_registry, self._scope.stop, self._on_ready)

    async def _act(self) -> None:
        """What only the leader does."""
        self._look_at_all()
        reconcile = self._scope.metrics.timed(self._reconcile)
        async with asyncio.TaskGroup() as group:
            group.create_task(run_workers(self._queue, reconcile, log, self._workers))
            group.create_task(self._shipped.run())

    async def _reconcile(self, key: Key) -> float | None:
        await self._filled.wait()  # nothing is decided on half a picture
        return None if self.platform.blocking else await self._reconciler.reconcile(key)

    def _build_registry(self) -> kopf.OperatorRegistry:
        registry = operator.build_registry(self._configuration)
        handlers.register(registry, self._cache, self._queue)
        return registry

    def _look_at_all(self) -> None:
        for key in self._cache.keys(INFERENCE_SERVICES):
            self._queue.add(key)

    def _on_ready(self, is_watching: bool) -> None:
        self._scope.health.is_watching = is_watching


if __name__ == "__main__":
    sys.exit(lifecycle.run(main(settings.parse())))
