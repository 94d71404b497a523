"""Plays Knative for the scale simulation: a process of its own that writes what Knative would, and when.

    python -m benchmarks._scale_knative --kubeconfig F --seed 7 [--without-pods]

Started by ``scale``. Follows Knative Services and Ingresses; each new generation gets the steps of ``_scale_world``, one
after the other, each after its delay. Prints one JSON line with the number of its writes on SIGTERM. A generation that
comes while an older one is under way replaces what is left of it, as Knative's own reconcilers do.
Invariant: it never writes to an object it has not seen, and no status but of the kinds Knative owns.
"""

from __future__ import annotations

import argparse
import asyncio
import collections
import contextlib
import json
import sys
from pathlib import Path
from random import Random

import aiohttp

from benchmarks import _scale_world as world
from wakeful.kit import lifecycle
from wakeful.kit.informer import Informer
from wakeful.kit.kube import PODS, ApiError, KubeClient, Obj, Resource, key_of, read_kubeconfig

KSERVICES = Resource("serving.knative.dev", "v1", "services")
INGRESSES = Resource("networking.internal.knative.dev", "v1alpha1", "ingresses")
ROUTE_LABEL = "serving.knative.dev/route"
AT_ONCE = 16
TRIES = 10


class FakeKnative:
    """The tasks, one an object at most; ``writes`` counts by action."""

    def __init__(self, client: KubeClient, seed: int, with_pods: bool) -> None:
        self._client = client
        self._seed = seed
        self._with_pods = with_pods
        self._slots = asyncio.Semaphore(AT_ONCE)
        self._tasks: dict[tuple[str, str, str], asyncio.Task[None]] = {}
        self._generations: dict[tuple[str, str, str], int] = {}
        self.writes: collections.Counter[str] = collections.Counter()
        self.informers = {
            kind: Informer(client, kind, lambda how, obj, old, kind=kind: self._seen(kind, how, obj))  # type: ignore[misc]
            for kind in (KSERVICES, INGRESSES)
        }

    def _seen(self, kind: Resource, how: str, obj: Obj) -> None:
        key = (kind.plural, *key_of(obj))
        generation = obj["metadata"].get("generation", 1)
        if how == "DELETED":
            self._generations.pop(key, None)
            return
        is_routes_own = ROUTE_LABEL in (obj["metadata"].get("labels") or {})
        if (kind is INGRESSES and is_routes_own) or self._generations.get(key) == generation:
            return
        self._generations[key] = generation
        random = Random(f"{self._seed}/{key}/{generation}")
        if (obj.get("status") or {}).get("observedGeneration") == generation:
            return  # written before this process was started again
        if kind is KSERVICES:
            steps = world.plan_service(obj, random, self._with_pods)
        else:
            steps = world.plan_ingress(obj, random)
        old = self._tasks.pop(key, None)
        if old is not None:
            old.cancel()
        self._tasks[key] = task = asyncio.create_task(self._walk(kind, obj, steps))
        task.add_done_callback(lambda done: self._forget(key, done))

    def _forget(self, key: tuple[str, str, str], task: asyncio.Task[None]) -> None:
        if self._tasks.get(key) is task:
            del self._tasks[key]
        if not task.cancelled() and task.exception() is not None:
            print(f"fake Knative, {key}: {task.exception()!r}", file=sys.stderr, flush=True)

    async def _walk(self, kind: Resource, obj: Obj, steps: list[world.Step]) -> None:
        namespace, name = key_of(obj)
        for step in steps:
            await asyncio.sleep(step.after_s)
            for attempt in range(TRIES):
                try:
                    async with self._slots:
                        await self._write(kind, namespace, name, step)
                    self.writes[step.action] += 1
                    break
                except (ApiError, aiohttp.ClientError, OSError, TimeoutError) as error:
                    if isinstance(error, ApiError) and error.code in (404, 409):
                        return
                    await asyncio.sleep(0.2 * (attempt + 1))

    async def _write(self, kind: Resource, namespace: str, name: str, step: world.Step) -> None:
        match step.action:
            case "status":
                await self._status(kind, namespace, name, step.body)
            case "ingress":
                with contextlib.suppress(ApiError):  # the Route's Ingress of an earlier generation
                    await self._client.create(INGRESSES, namespace, step.body)
            case "ingress-status":
                await self._status(INGRESSES, namespace, name, step.body)
            case "pod":
                await self._client.create(PODS, namespace, step.body)
                self._pod = step.body["metadata"]["name"]
            case "pod-status":
                await self._status(PODS, namespace, self._pod_of(kind, namespace, name), step.body)
            case "pod-gone":
                await self._client.delete(PODS, namespace, step.body["name"], gracePeriodSeconds=0)

    def _pod_of(self, kind: Resource, namespace: str, name: str) -> str:
        return f"{name}-{self._generations[kind.plural, namespace, name]:05d}-deployment-0"

    async def _status(self, kind: Resource, namespace: str, name: str, status: Obj) -> None:
        await self._client.patch(kind, namespace, name, {"status": status}, subresource="status")


async def main(options: argparse.Namespace) -> int:
    stop = lifecycle.stop_event()
    async with KubeClient(read_kubeconfig(options.kubeconfig), "fake-knative", timeout_s=60) as client:
        fake = FakeKnative(client, options.seed, not options.without_pods)
        await lifecycle.run_until(stop, *(informer.run() for informer in fake.informers.values()))
    print(json.dumps(fake.writes), flush=True)
    return 0


if __name__ == "__main__":
    parser = argparse.ArgumentParser()
    parser.add_argument("--kubeconfig", type=Path, required=True)
    parser.add_argument("--seed", type=int, required=True)
    parser.add_argument("--without-pods", action="store_true")
    sys.exit(lifecycle.run(main(parser.parse_args())))
