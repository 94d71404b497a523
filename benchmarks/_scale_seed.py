"""Makes InferenceServices that are Ready already, by the controller's own reconciler, but without its watches and webhooks.

Called by ``scale --seeded``: the way to thousands of objects in a tenth of the time, for the figures of a controller that
starts on them or rests on them. Knative's part is written at once in its final state (``_scale_world``). Invariant: what is
made is what the controller itself would have made, so that it finds nothing to write.
"""

from __future__ import annotations

import asyncio
import time
from pathlib import Path
from random import Random

from benchmarks import _scale_world as world
from controller import connection
from controller.cache import INFERENCE_SERVICES, KNATIVE_INGRESSES, KNATIVE_SERVICES, Cache
from controller.cluster import KubernetesCluster
from controller.facts import Facts
from controller.reconcile import Reconciler
from standalone.processes import OPERATOR_NAMESPACE
from wakeful.kit import logs
from wakeful.kit.kube import KubeClient, Obj, Resource

WORKERS = 8
WEBHOOKS = tuple(
    Resource("admissionregistration.k8s.io", "v1", f"{kind}webhookconfigurations", namespaced=False)
    for kind in ("mutating", "validating")
)
OWN_RUNTIME = Resource("serving.kserve.io", "v1alpha1", "clusterservingruntimes", namespaced=False)


async def seed(client: KubeClient, kubeconfig: Path, count: int, number: int) -> float:
    """Make ``count`` services; seconds it took. ``number`` is the seed. The webhooks are away meanwhile."""
    began = time.monotonic()
    logs.set_level("warning")
    taken = [await take_away(client, resource) for resource in WEBHOOKS]
    async with connection.Api(await connection.load(kubeconfig)) as api:
        seeder = Seeder(client, api, number)
        await seeder.prepare()
        numbers = iter(range(count))

        async def work() -> None:
            for item in numbers:
                await seeder.make(item)
                if item and item % 1000 == 0:
                    print(f"   ... {time.monotonic() - began:.0f} s: {item} made", flush=True)

        async with asyncio.TaskGroup() as group:
            for _ in range(WORKERS):
                group.create_task(work())
    for resource, body in zip(WEBHOOKS, taken, strict=True):
        await client.create(resource, None, body)
    return time.monotonic() - began


async def take_away(client: KubeClient, resource: Resource) -> Obj:
    """Delete the configuration ``wakeful``; what is needed to make it again."""
    found = await client.get(resource, None, "wakeful")
    await client.delete(resource, None, "wakeful")
    kept = {
        key: found["metadata"][key] for key in ("name", "labels", "annotations") if key in found["metadata"]
    }
    return {**found, "metadata": kept}


class Seeder:
    """One reconciler with a cache that is filled by hand."""

    def __init__(self, client: KubeClient, api: connection.Api, seed: int) -> None:
        self._client = client
        self._cache = Cache()
        self._facts = Facts(api, OPERATOR_NAMESPACE)
        self._reconciler = Reconciler(KubernetesCluster(api, self._cache, self._facts))
        self._random = Random(seed)

    async def prepare(self) -> None:
        """Read what every reconcile reads."""
        await self._facts.refresh()
        for item in (await self._client.list(OWN_RUNTIME))["items"]:
            self._cache.put(OWN_RUNTIME, item)

    async def make(self, number: int) -> None:
        """One InferenceService with its children, Ready."""
        body = world.build_service(number)
        key = (body["metadata"]["namespace"], body["metadata"]["name"])
        self._cache.put(INFERENCE_SERVICES, await self._client.create(INFERENCE_SERVICES, key[0], body))
        await self._reconciler.reconcile(key)
        for service in self._cache.of_isvc(KNATIVE_SERVICES, key):
            await self._play_knative(service)
        await self._reconciler.reconcile(key)
        ingress = self._cache.get(KNATIVE_INGRESSES, *key)
        if ingress is None:
            raise SystemExit(f"the controller made no Ingress for {key}: is it not Ready after all?")
        await self._status(KNATIVE_INGRESSES, ingress, world.ingress_status("True", 1))
        await self._reconciler.reconcile(key)

    async def _play_knative(self, service: Obj) -> None:
        namespace = service["metadata"]["namespace"]
        final: Obj = {}
        for step in world.plan_service(service, self._random, with_pod=False):
            if step.action == "ingress":
                ingress = await self._client.create(KNATIVE_INGRESSES, namespace, step.body)
            elif step.action == "ingress-status":
                final = step.body
            elif step.action == "status":
                done = step.body
        await self._status(KNATIVE_INGRESSES, ingress, final)
        await self._status(KNATIVE_SERVICES, service, done)

    async def _status(self, resource: Resource, obj: Obj, status: Obj) -> None:
        metadata = obj["metadata"]
        written = await self._client.patch(
            resource, metadata["namespace"], metadata["name"], {"status": status}, subresource="status"
        )
        self._cache.put(resource, written)
