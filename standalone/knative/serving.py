"""Composes Serving: caches, queues, controllers and the autoscaler; who is asked to look again when something changes.

Called by ``__main__``. Each controller has a queue; a change puts the object's own key and the keys of those that
depend on it into their queues. ConfigMaps of knative-serving replace ``ServingConfig`` and ask everybody.

Invariant: every change that can alter a controller's decision reaches its queue.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable

from standalone.knative.autoscaler import Autoscaler
from standalone.knative.configuration import ConfigurationController
from standalone.knative.deployments import DeploymentController
from standalone.knative.domain_mapping import DomainMappingController
from standalone.knative.ingress import IngressController
from standalone.knative.labeler import Labeler
from standalone.knative.pod_index import PodIndex, is_active, is_pod_ready
from standalone.knative.pod_usage import UsageReader
from standalone.knative.resources import (
    AUTOSCALERS,
    CONFIGURATIONS,
    DOMAIN_MAPPINGS,
    INGRESSES,
    KSERVICES,
    REVISIONS,
    ROUTES,
    Key,
)
from standalone.knative.revision import RevisionController
from standalone.knative.route import RouteController
from standalone.knative.service import ServiceController
from standalone.knative.settings import ServingConfig, with_configmap
from standalone.knative.world import World
from wakeful.core.api import knative_serving_names as names
from wakeful.core.api.isvc_problem import mapping, mappings
from wakeful.kit import logs
from wakeful.kit.kube import (
    CONFIGMAPS,
    DEPLOYMENTS,
    PODS,
    SERVICES,
    KubeClient,
    Obj,
    Resource,
    controller_of,
    key_of,
)
from wakeful.kit.workqueue import WorkQueue, run_workers

Reconcile = Callable[[Key], Awaitable[float | None]]
WORKERS = 8
RESYNC_S = 600.0
CALM_S = 0.2
"""How long status that nobody waits for may lag: a wake needs the machine for the pod it is about."""
RECONCILED = (
    KSERVICES,
    CONFIGURATIONS,
    REVISIONS,
    ROUTES,
    DOMAIN_MAPPINGS,
    INGRESSES,
    DEPLOYMENTS,
    AUTOSCALERS,
)


class Serving:
    """The control plane. ``await run()`` for ever; ``is_synced`` once the first lists are in."""

    def __init__(self, client: KubeClient, gateway_port: int, usage: UsageReader | None = None) -> None:
        self._log = logs.get("knative.serving")
        self.config = {"serving": ServingConfig(gateway_port=gateway_port)}
        self._initial = self.config["serving"]
        self._good: dict[str, Obj] = {}
        self.world = World(client)
        self.is_synced = False
        self._queues: dict[Resource, WorkQueue[Key]] = {resource: WorkQueue() for resource in RECONCILED}
        pods = PodIndex(self.world)
        self.autoscaler = Autoscaler(self.world, self.config, pods, self._queues[AUTOSCALERS], usage)
        self.reconcilers: dict[Resource, Reconcile] = {
            KSERVICES: ServiceController(self.world).reconcile,
            CONFIGURATIONS: ConfigurationController(self.world, self.config).reconcile,
            REVISIONS: RevisionController(self.world, self.config, pods).reconcile,
            ROUTES: RouteController(self.world, self.config, Labeler(self.world)).reconcile,
            DOMAIN_MAPPINGS: DomainMappingController(self.world, self.config).reconcile,
            INGRESSES: IngressController(self.world).reconcile,
            DEPLOYMENTS: DeploymentController(self.world, pods).reconcile,
            AUTOSCALERS: self.autoscaler.reconcile,
        }
        self._listen()

    async def run(self) -> None:
        """Follow the API server and reconcile until cancelled."""
        async with asyncio.TaskGroup() as group:
            group.create_task(self.world.run())
            await self.world.synced()
            self.is_synced = True
            self._log.info("serving is synced", services=len(self.world[KSERVICES].store))
            for resource, queue in self._queues.items():
                log = logs.get(f"knative.{resource.plural}")
                group.create_task(run_workers(queue, self.reconcilers[resource], log, WORKERS))
            group.create_task(self.autoscaler.run_ticks())
            group.create_task(self.autoscaler.run_measures())
            group.create_task(self._resync())

    def enqueue_all(self) -> None:
        for resource, queue in self._queues.items():
            for key in list(self.world[resource].store):
                queue.add(key)

    async def _resync(self) -> None:
        while True:
            await asyncio.sleep(RESYNC_S)
            self.enqueue_all()

    def _listen(self) -> None:
        for resource, queue in self._queues.items():
            self.world.on(resource, _own_key(queue))
        queues = self._queues
        for child, owner in (
            (CONFIGURATIONS, KSERVICES),
            (ROUTES, KSERVICES),
            (REVISIONS, CONFIGURATIONS),
            (DEPLOYMENTS, REVISIONS),
            (AUTOSCALERS, REVISIONS),
            (INGRESSES, ROUTES),
            (INGRESSES, DOMAIN_MAPPINGS),
            (SERVICES, ROUTES),
        ):
            self.world.on(child, _owner_key(queues[owner], owner))
        for resource in (KSERVICES, ROUTES, DOMAIN_MAPPINGS):
            self.world.on(resource, self._ask_mappings)
        self.world.on(CONFIGURATIONS, self._ask_routes)
        self.world.on(REVISIONS, self._ask_routes)
        self.world.on(DEPLOYMENTS, self._ask_autoscaler)
        self.world.on(PODS, self._ask_of_pod)
        self.world.on(CONFIGMAPS, self._on_configmap)

    def _ask_routes(self, obj: Obj, _: Obj | None) -> None:
        """Routes of the namespace that follow the configuration or name the revision."""
        metadata = obj["metadata"]
        name = mapping(metadata.get("labels")).get(names.CONFIGURATION, metadata["name"])
        for key, route in self.world[ROUTES].store.items():
            if key[0] != metadata["namespace"]:
                continue
            entries = mappings(mapping(route.get("spec")).get("traffic"))
            entries += mappings(mapping(route.get("status")).get("traffic"))
            if any(
                entry.get("configurationName") == name or entry.get("revisionName") == metadata["name"]
                for entry in entries
            ):
                self._queues[ROUTES].add(key)

    def _ask_mappings(self, obj: Obj, _: Obj | None) -> None:
        """Mappings that lead to the Service or Route, or want the same name."""
        name = obj["metadata"]["name"]
        for key, found in self.world[DOMAIN_MAPPINGS].store.items():
            if mapping(found["spec"].get("ref")).get("name") == name or key[1] == name:
                self._queues[DOMAIN_MAPPINGS].add(key)

    def _ask_autoscaler(self, deployment: Obj, _: Obj | None) -> None:
        revision = mapping(deployment["metadata"].get("labels")).get(names.REVISION)
        if revision:
            key = (deployment["metadata"]["namespace"], revision)
            self._queues[AUTOSCALERS].add_after(key, CALM_S)

    def _ask_of_pod(self, pod: Obj, old: Obj | None) -> None:
        """Readiness and ends are acted on at once; what else happens on a pod's way there is told with them."""
        delay_s = 0.0 if _is_turning_point(pod, old) else CALM_S
        namespace = pod["metadata"]["namespace"]
        owner = controller_of(pod)
        if owner is not None and owner["kind"] == "Deployment":
            self._queues[DEPLOYMENTS].add_after((namespace, owner["name"]), delay_s)
        revision = mapping(pod["metadata"].get("labels")).get(names.REVISION)
        if revision:
            for resource in (AUTOSCALERS, REVISIONS):
                self._queues[resource].add_after((namespace, revision), delay_s)

    def _on_configmap(self, _: Obj, __: Obj | None) -> None:
        config = self._initial
        present = self.world[CONFIGMAPS].store.items()
        found = {name: mapping(obj.get("data")) for (_namespace, name), obj in present}
        for name, data in found.items():
            try:
                config = with_configmap(config, name, data)
                self._good[name] = data
            except ValueError as error:
                self._log.error("config map ignored", name=name, error=str(error))
                config = with_configmap(config, name, self._good.get(name, {}))
        if config != self.config["serving"]:
            self.config["serving"] = config
            if self.is_synced:
                self.enqueue_all()


def _is_turning_point(pod: Obj, old: Obj | None) -> bool:
    return not is_active(pod) or old is pod or (old is not None and is_pod_ready(old) != is_pod_ready(pod))


def _own_key(queue: WorkQueue[Key]) -> Callable[[Obj, Obj | None], None]:
    def on_change(obj: Obj, _: Obj | None) -> None:
        queue.add(key_of(obj))

    return on_change


def _owner_key(queue: WorkQueue[Key], owner: Resource) -> Callable[[Obj, Obj | None], None]:
    def on_change(obj: Obj, _: Obj | None) -> None:
        for reference in obj["metadata"].get("ownerReferences") or []:
            if reference.get("controller") and reference.get("apiVersion") == owner.api_version:
                queue.add((obj["metadata"]["namespace"], reference["name"]))

    return on_change
