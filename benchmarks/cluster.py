"""Both homes side by side: apply to Ready, wakes by phase, warm requests, the controller, many services at once.

    hack/bench cluster [--home standalone|cluster|both] [--kubeconfig F --ingress URL --host-address A]
                       [--kserve IMAGE --bare IMAGE] [--wakes 20] [--at-once 100] [--json]

Home ``standalone`` starts `wakeful up` of its own; home ``cluster`` uses the cluster of the kubeconfig, or the one that
`hack/cluster up` starts. On a cluster, in the same run: a bare Knative Service (``--bare``, answers on 8080) and KServe's
own server (``--kserve``, made by ``benchmarks._cluster_peer``), asked in turn with ours so that all see the same noise.
Exits 1 when a goal of issue 4 is missed: wake within the bare service's + 0.8 s and 0.4 of KServe's, warm p50 0.9 of it.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import json
import os
import sys
import time
import uuid
from collections.abc import AsyncIterator
from dataclasses import dataclass
from typing import Any

import aiohttp

from benchmarks import _cluster_objects as objects
from benchmarks import _cluster_usage, _cluster_wake, _cluster_warm
from benchmarks._cluster_wake import Target
from e2e import iris
from e2e.homes import choose
from e2e.homes.port import Access, Home
from e2e.kube import Kube
from wakeful.kit.kube import CONFIGMAPS, NAMESPACES, KubeClient, Obj, Resource, read_kubeconfig

ISVC = Resource("serving.kserve.io", "v1beta1", "inferenceservices")
KSVC = Resource("serving.knative.dev", "v1", "services")
ROW = {"instances": [[5.1, 3.5, 1.4, 0.2]]}
PREDICT, ANSWER = "/v1/models/{}:predict", '"predictions"'
READY_S = 300.0
BURST = f"{objects.AUTOSCALING}target-burst-capacity"
WAYS = {"direct": "0", "activator": "-1"}
"""Knative takes its activator out of the path of a warm service, or leaves it in."""


@dataclass(frozen=True, slots=True)
class Place:
    """One home while it is measured."""

    home: Home
    access: Access
    client: KubeClient
    http: aiohttp.ClientSession
    namespace: str
    options: argparse.Namespace


@contextlib.asynccontextmanager
async def place_of(name: str, options: argparse.Namespace) -> AsyncIterator[Place]:
    """The home, started, with a namespace of our own that holds the models."""
    found = (options.kubeconfig, options.ingress, options.host_address) if name == "cluster" else (None,) * 3
    home = choose.build(name, *found)
    namespace = f"{options.prefix}-{uuid.uuid4().hex[:6]}"
    try:
        access = await asyncio.to_thread(home.start)
        credentials = read_kubeconfig(access.kubeconfig)
        async with KubeClient(credentials, "wakeful-bench", 120) as client, aiohttp.ClientSession() as http:
            body = {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": namespace}}
            await client.create(NAMESPACES, None, body)
            try:
                kube = Kube(access.kubeconfig)
                await asyncio.to_thread(iris.fill_claim, kube, (home, access), namespace, iris.train())
                yield Place(home, access, client, http, namespace, options)
            finally:
                await client.delete(NAMESPACES, None, namespace)
    finally:
        await asyncio.to_thread(home.stop)


async def apply(place: Place, resource: Resource, body: Obj) -> float:
    """Create it; seconds until it is Ready."""
    began = time.perf_counter()
    await place.client.create(resource, place.namespace, body)
    return await ready(place, resource, body["metadata"]["name"], began)


async def ready(place: Place, resource: Resource, name: str, began: float) -> float:
    while True:
        found = await place.client.get(resource, place.namespace, name)
        if objects.is_ready(found):
            return time.perf_counter() - began
        if time.perf_counter() - began > READY_S:
            conditions = (found.get("status") or {}).get("conditions")
            raise SystemExit(f"{name} is not Ready after {READY_S:g} s: {json.dumps(conditions)}")
        await asyncio.sleep(0.05)


def service(place: Place, name: str, notes: dict[str, str], minimum: int = 0) -> Obj:
    return objects.inference_service(place.namespace, name, "pvc://models/iris-v1", notes, minimum)


def peers(place: Place) -> dict[str, str]:
    """Images to measure beside ours, by label."""
    if place.home.name == "standalone":
        return {}
    options = place.options
    return {label: image for label, image in (("bare", options.bare), ("kserve", options.kserve)) if image}


async def target_of(place: Place, label: str, resource: Resource, name: str) -> Target:
    """How to ask a service that is Ready."""
    found = await place.client.get(resource, place.namespace, name)
    host = str(found["status"]["url"]).partition("://")[2].partition(":")[0].rstrip("/")
    knative = f"{name}-predictor" if resource is ISVC else name
    if label.startswith("bare"):
        return Target(label, knative, host, "GET", "/", None, "hello")
    model = name if resource is ISVC else "iris"
    return Target(label, knative, host, "POST", PREDICT.format(model), ROW, ANSWER)


async def measure_applies(place: Place) -> tuple[dict[str, list[float]], list[Target]]:
    """Seconds from create to Ready; the last of each kind stays, to be woken."""
    taken: dict[str, list[float]] = {}
    targets = []
    for number in range(place.options.applies):
        for label, image in {"wakeful": "", **peers(place)}.items():
            name = f"{label}-{number}"
            if label == "wakeful":
                seconds = await apply(place, ISVC, service(place, name, objects.ASLEEP))
            else:
                body = objects.knative_service(place.namespace, name, image, objects.ASLEEP)
                seconds = await apply(place, KSVC, body)
            taken.setdefault(label, []).append(seconds)
            resource = ISVC if label == "wakeful" else KSVC
            if number == place.options.applies - 1:
                targets.append(await target_of(place, label, resource, name))
            else:
                await place.client.delete(resource, place.namespace, name)
    return taken, targets


async def measure_wakes(place: Place, targets: list[Target]) -> dict[str, list[dict[str, float]]]:
    """Wakes in turn, each when all sleep."""
    taken: dict[str, list[dict[str, float]]] = {target.label: [] for target in targets}
    async with _cluster_wake.pod_watch(place.client, place.namespace) as pods:
        for number in range(place.options.wakes):
            for target in targets:
                await _cluster_wake.until_asleep(place.client, place.namespace, targets)
                base = place.access.ingress
                woke = _cluster_wake.wake(place.client, place.http, base, place.namespace, target, pods)
                try:
                    taken[target.label].append(await woke)
                except _cluster_wake.WakeError as error:  # one bad wake must not lose the others
                    print(f"   FAILED wake {number}: {error}", flush=True)
            if number % 5 == 4:
                said = {label: f"{wakes[-1]['total']:.0f} ms" for label, wakes in taken.items() if wakes}
                print(f"   ... wake {number + 1}: {said}, load {os.getloadavg()[0]:.0f}", flush=True)
    return taken


async def measure_warm(place: Place) -> dict[str, list[float]]:
    """Warm requests, milliseconds, with and without the activator in the path."""
    targets = []
    for way, burst in WAYS.items():
        notes = {BURST: burst, f"{objects.AUTOSCALING}min-scale": "1"}
        await apply(place, ISVC, service(place, f"warm-{way}", {BURST: burst}, minimum=1))
        targets.append(await target_of(place, f"wakeful {way}", ISVC, f"warm-{way}"))
        for label, image in peers(place).items():
            name = f"warm-{label}-{way}"
            await apply(place, KSVC, objects.knative_service(place.namespace, name, image, notes))
            targets.append(await target_of(place, f"{label} {way}", KSVC, name))
    await asyncio.sleep(5.0)  # Knative moves the activator some moments after Ready
    options = place.options
    return await asyncio.to_thread(
        _cluster_warm.measure, place.access.ingress, targets, options.rounds, options.requests
    )


async def measure_controller(place: Place, idle_s: float) -> Obj:
    """Memory and idle processor of the controller."""
    before = await _cluster_usage.controllers(place.client, place.home.name, place.access.kubeconfig)
    began = time.monotonic()
    await asyncio.sleep(idle_s)
    after = await _cluster_usage.controllers(place.client, place.home.name, place.access.kubeconfig)
    percent = _cluster_usage.idle_percent(before, after, time.monotonic() - began)
    return {
        name: {"rss_mib": round(usage.rss_mib), "cpu_percent": round(percent.get(name, 0.0), 2)}
        for name, usage in after.items()
    }


async def measure_many(place: Place) -> Obj | None:
    """So many InferenceServices at once, then so many bare Knative Services, none of them with a pod.

    None where Knative does not allow that.
    """
    settings = await place.client.get(CONFIGMAPS, "knative-serving", "config-autoscaler")
    if (settings.get("data") or {}).get("allow-zero-initial-scale") != "true":
        return None
    notes = {f"{objects.AUTOSCALING}initial-scale": "0"}
    taken: Obj = {}
    for label, image in {"wakeful": "", **{k: v for k, v in peers(place).items() if k == "bare"}}.items():
        taken[label] = await at_once(place, label, image, notes)
    taken["controller"] = await measure_controller(place, 1.0)
    return taken


async def at_once(place: Place, label: str, image: str, notes: dict[str, str]) -> dict[str, float]:
    """Creates them all and waits until all are Ready: seconds for both; then they are deleted again."""
    names = [f"many-{label}-{number:03d}" for number in range(place.options.at_once)]
    resource = KSVC if image else ISVC
    began = time.perf_counter()
    bodies = [
        objects.knative_service(place.namespace, name, image, notes) if image else service(place, name, notes)
        for name in names
    ]
    await asyncio.gather(*(place.client.create(resource, place.namespace, body) for body in bodies))
    applied_s = time.perf_counter() - began
    while waiting := await not_ready(place, resource, names):
        if time.perf_counter() - began > READY_S:
            raise SystemExit(f"{waiting} of {len(names)} {label} are not Ready after {READY_S:g} s")
        await asyncio.sleep(0.25)
    ready_s = time.perf_counter() - began
    for name in names:
        await place.client.delete(resource, place.namespace, name)
    while await left(place, resource, names):
        if time.perf_counter() - began > 2 * READY_S:
            raise SystemExit(f"{label} services are not gone after {2 * READY_S:g} s")
        await asyncio.sleep(0.25)
    gone_s = time.perf_counter() - began - ready_s
    return {"services": len(names), "applied_s": applied_s, "ready_s": ready_s, "gone_s": gone_s}


async def left(place: Place, resource: Resource, names: list[str]) -> list[Obj]:
    items = (await place.client.list(resource, place.namespace))["items"]
    return [item for item in items if item["metadata"]["name"] in names]


async def not_ready(place: Place, resource: Resource, names: list[str]) -> int:
    return sum(not objects.is_ready(item) for item in await left(place, resource, names))


async def measure(name: str, options: argparse.Namespace) -> dict[str, Any]:
    """Everything of one home, printed as it is found."""
    found: dict[str, Any] = {"home": name}
    async with place_of(name, options) as place:
        print(f"== {name}: {place.access.ingress}, load {os.getloadavg()[0]:.1f}", flush=True)
        found["apply"], targets = await measure_applies(place)
        for label, seconds in found["apply"].items():
            show(f"apply to Ready, {label}", [value * 1000 for value in seconds])
        found["wakes"] = await measure_wakes(place, targets)
        for label, wakes in found["wakes"].items():
            for phase in wakes[0] if wakes else ():
                show(f"wake, {label}: {phase}", [wake[phase] for wake in wakes])
        found["warm"] = await measure_warm(place) if options.rounds else {}
        for label, taken in found["warm"].items():
            show(f"warm, {label}", taken, 99)
        found["controller"] = await measure_controller(place, options.idle_s)
        print(
            f"   controller at rest over {options.idle_s:g} s: {json.dumps(found['controller'])}", flush=True
        )
        if options.at_once:
            found["at once"] = await measure_many(place)
            said = (
                found["at once"]
                or "not measured: Knative's config-autoscaler has no allow-zero-initial-scale"
            )
            print(f"   {options.at_once} applied at once: {said}", flush=True)
        print(f"   load {os.getloadavg()[0]:.1f} at the end", flush=True)
    return found


def show(name: str, taken: list[float], high: int = 95) -> None:
    """One line: milliseconds."""
    p50, top = objects.percentile(taken, 50), objects.percentile(taken, high)
    print(f"   {name:<44} p50 {p50:9.1f} ms   p{high} {top:9.1f} ms   of {len(taken)}", flush=True)


def verdicts(found: dict[str, Any]) -> list[str]:
    """The goals of the issue, for a home where there is something to compare with."""
    wakes = {
        label: objects.percentile([wake["total"] for wake in taken], 50) / 1000
        for label, taken in found["wakes"].items()
        if taken
    }
    warm = {label: objects.percentile(taken, 50) for label, taken in found["warm"].items()}
    return objects.judge(wakes, warm)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--home", choices=["standalone", "cluster", "both"], default="both")
    for flag in ("--kubeconfig", "--ingress", "--host-address"):
        parser.add_argument(flag, help="of a cluster that is there; without it hack/cluster up is used")
    parser.add_argument("--bare", default="dev.local/hello:node", help="image of a bare service; empty: none")
    parser.add_argument("--kserve", default="", help="image of KServe's server; empty: none")
    parser.add_argument("--prefix", default="bench", help="how the namespace's name begins")
    for flag, number in (("applies", 5), ("wakes", 20), ("rounds", 5), ("requests", 200), ("at-once", 100)):
        parser.add_argument(f"--{flag}", type=int, default=number)
    parser.add_argument("--idle-s", type=float, default=30.0)
    parser.add_argument("--json", action="store_true", help="print everything as one JSON line at the end")
    options = parser.parse_args()
    homes = ["standalone", "cluster"] if options.home == "both" else [options.home]
    found = [asyncio.run(measure(name, options)) for name in homes]
    said = [line for one in found for line in verdicts(one)]
    if options.json:
        print(json.dumps(found))
    print("\n".join(said))
    return 1 if any(line.startswith("MISS") for line in said) else 0


if __name__ == "__main__":
    sys.exit(main())
