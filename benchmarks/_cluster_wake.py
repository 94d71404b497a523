"""Wakes one sleeping service and says when what happened: the pod's events from a watch, the server's from its log.

Called by ``cluster``. On one machine the gateway itself tells the phases (``Server-Timing``); on a cluster nobody does,
so they are put together: created and scheduled as this process's watch sees them (some ms late), the server's imports
and load from the line "serving" of its log. Invariant: the pod is one that was created after the request was sent.
"""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field, replace
from datetime import datetime

import aiohttp

from activator_hooks.timeline import parse_server_timing
from benchmarks._cluster_objects import PHASES, Moments, Obj, phases_of
from wakeful.kit.informer import Informer
from wakeful.kit.kube import DEPLOYMENTS, PODS, ApiError, KubeClient

SERVICE_LABEL = "serving.knative.dev/service"
DEADLINE_S = 300.0


class WakeError(Exception):
    """A wake that was not answered as it must be; the text says which and how."""


@dataclass(frozen=True, slots=True)
class Target:
    """A service that can sleep: what it is called in the figures and on the cluster, and what to ask it."""

    label: str
    service: str
    """Of the Knative Service."""
    host: str
    method: str
    path: str
    body: Obj | None = None
    says: str = ""
    """Part of the right answer."""


@dataclass
class Seen:
    """A pod as the watch told of it, Unix seconds."""

    service: str
    created: float
    scheduled: float | None = None


@dataclass
class PodWatch:
    """All pods of the benchmark's namespace."""

    seen: dict[str, Seen] = field(default_factory=dict)

    def changed(self, how: str, obj: Obj, old: Obj | None) -> None:
        metadata, now = obj["metadata"], time.time()
        service = (metadata.get("labels") or {}).get(SERVICE_LABEL, "")
        found = self.seen.setdefault(metadata["name"], Seen(service, now))
        if found.scheduled is None and obj["spec"].get("nodeName"):
            found.scheduled = now

    def newest(self, service: str, since: float) -> str | None:
        """The pod of the service that came first after ``since``."""
        names = [name for name, pod in self.seen.items() if pod.service == service and pod.created >= since]
        return min(names, key=lambda name: self.seen[name].created, default=None)


@asynccontextmanager
async def pod_watch(client: KubeClient, namespace: str) -> AsyncIterator[PodWatch]:
    found = PodWatch()
    informer = Informer(client, PODS, found.changed, namespace=namespace)
    task = asyncio.create_task(informer.run())
    try:
        await informer.synced()
        yield found
    finally:
        task.cancel()
        with suppress(asyncio.CancelledError):
            await task


async def until_asleep(client: KubeClient, namespace: str, targets: list[Target]) -> None:
    """Wait until the Deployment of every target has no replicas."""
    deadline = time.monotonic() + DEADLINE_S
    wanted = {target.service for target in targets}
    while True:
        items = (await client.list(DEPLOYMENTS, namespace))["items"]
        awake = {
            item["metadata"]["labels"].get(SERVICE_LABEL, "")
            for item in items
            if item["spec"].get("replicas", 1) > 0
        }
        if not wanted & awake:
            return
        if time.monotonic() > deadline:
            raise SystemExit(f"after {DEADLINE_S:g} s still awake: {sorted(wanted & awake)}")
        await asyncio.sleep(0.25)


async def wake(
    client: KubeClient, http: aiohttp.ClientSession, base: str, namespace: str, target: Target, pods: PodWatch
) -> dict[str, float]:
    """One cold request: milliseconds by phase, and ``total``."""
    asked = time.time()
    headers = {"Host": target.host}
    async with http.request(target.method, base + target.path, json=target.body, headers=headers) as answer:
        text = await answer.text()
        answered = time.time()
        if answer.status != 200 or target.says not in text:
            raise WakeError(f"{target.label}: the wake answered {answer.status}: {text[:300]}")
        told = answer.headers.get("Server-Timing", "")
    total = {"total": (answered - asked) * 1000}
    if "decide" in told:
        return total | _of_gateway(parse_server_timing(told))
    name = pods.newest(target.service, asked)
    if name is None:
        raise WakeError(f"{target.label}: no pod was made for the request: was it awake?")
    pod = pods.seen[name]
    moments = Moments(asked, answered, pod.created, pod.scheduled)
    return total | phases_of(await _with_log(client, namespace, name, target, moments))


def _of_gateway(timing: dict[str, float]) -> dict[str, float]:
    """The gateway's six phases under the names of the table."""
    found = dict.fromkeys(PHASES, 0.0)
    found |= {"decide": timing["decide"], "create+start": timing["start"]}
    found |= {"import": timing["import"], "load": timing["load"]}
    return found | {"probe+answer": timing["probe"] + timing["answer"]}


async def _with_log(
    client: KubeClient, namespace: str, pod: str, target: Target, moments: Moments
) -> Moments:
    if target.label.startswith("wakeful"):
        with suppress(ApiError, aiohttp.ClientError):
            line = await serving_line(client, namespace, pod)
            if line is not None:
                loaded = datetime.fromisoformat(line["time"]).timestamp()
                imported = loaded - line["load_ms"] / 1000
                began = imported - line["import_ms"] / 1000
                return replace(moments, began=began, imported=imported, loaded=loaded)
    return moments


async def serving_line(client: KubeClient, namespace: str, pod: str) -> Obj | None:
    """What our model server logs when it begins to listen."""
    path = f"/api/v1/namespaces/{namespace}/pods/{pod}/log?container=kserve-container"
    for line in (await client.text(path)).splitlines():
        with suppress(ValueError):
            said = json.loads(line)
            if isinstance(said, dict) and said.get("event") == "serving":
                return said
    return None
