"""A stand-in node and waiting helpers for tests of Serving against the real embedded API server."""

import asyncio
import time
from collections.abc import Awaitable, Callable
from typing import Any

from apiserver_rig import until_object

from standalone.knative.resources import (
    AUTOSCALERS,
    CONFIGURATIONS,
    INGRESSES,
    KSERVICES,
    REVISIONS,
    ROUTES,
    owner_reference,
)
from standalone.knative.serving import Serving
from standalone.knative.world import rfc3339
from wakeful.core.api import conditions
from wakeful.kit.informer import Informer
from wakeful.kit.kube import CONFIGMAPS, DEPLOYMENTS, PODS, ApiError, KubeClient, Obj, Resource

__all__ = ["AUTOSCALERS", "CONFIGURATIONS", "INGRESSES", "REVISIONS", "ROUTES", "owner_reference"]


class Node:
    """Makes pods ready, or fail as their image says (``bad`` cannot be pulled, ``crash`` exits with 3)."""

    def __init__(self, client: KubeClient) -> None:
        self._client = client
        self.informer = Informer(client, PODS, self._on_pod)
        self._tasks: set[asyncio.Task[None]] = set()
        self.is_holding = False
        """While True pods are not made ready."""
        self.seen: dict[str, float] = {}

    def _on_pod(self, kind: str, pod: Obj, _: Obj | None) -> None:
        self.seen.setdefault(pod["metadata"]["name"], time.perf_counter())
        if kind != "DELETED":
            task = asyncio.ensure_future(self._act(pod))
            self._tasks.add(task)
            task.add_done_callback(self._tasks.discard)

    async def _act(self, pod: Obj) -> None:
        namespace, name = pod["metadata"]["namespace"], pod["metadata"]["name"]
        try:
            if "deletionTimestamp" in pod["metadata"]:
                await self._client.delete(PODS, namespace, name, gracePeriodSeconds=0)
            elif pod.get("status", {}).get("phase") in (None, "Pending") and not self.is_holding:
                status = pod_status(pod)
                if status["phase"] != pod.get("status", {}).get("phase") or status.get("containerStatuses"):
                    await self._client.patch(PODS, namespace, name, {"status": status}, subresource="status")
        except ApiError as error:
            if error.code not in (404, 409):
                raise

    async def release(self) -> None:
        self.is_holding = False
        for pod in list(self.informer.items()):
            await self._act(pod)


def pod_status(pod: Obj) -> Obj:
    containers = pod["spec"]["containers"]
    image = containers[0]["image"]
    entry: Obj = {"name": containers[0]["name"], "image": image, "imageID": "", "restartCount": 0}
    if image.startswith("bad"):
        told = f"no entry for {image} in images.yaml: add one"
        entry |= {"ready": False, "state": {"waiting": {"reason": "ErrImagePull", "message": told}}}
        return {"phase": "Pending", "containerStatuses": [entry]}
    if image.startswith("crash"):
        ended = {"terminated": {"exitCode": 3, "reason": "Error", "message": "model file not found"}}
        waiting = {"waiting": {"reason": "CrashLoopBackOff", "message": "back-off 10s"}}
        entry |= {"ready": False, "state": waiting, "lastState": ended}
        return {"phase": "Running", "containerStatuses": [entry]}
    entry |= {"ready": True, "state": {"running": {"startedAt": rfc3339()}}}
    ready = {"type": "Ready", "status": "True", "lastTransitionTime": rfc3339()}
    return {"phase": "Running", "podIP": "127.0.0.1", "conditions": [ready], "containerStatuses": [entry]}


class Platform:
    """Serving and a node against one API server, in a namespace of this test's own."""

    def __init__(self, client: KubeClient, serving: Serving, node: Node, namespace: str) -> None:
        self.client, self.serving, self.node, self.namespace = client, serving, node, namespace

    async def apply(self, name: str = "svc", image: str = "wakeful/echo:1", **more: Any) -> Obj:
        """Create or replace the Service ``name``; ``notes`` are template annotations, ``traffic`` the block."""
        template: Obj = {
            "metadata": {"annotations": more.get("notes", {})},
            "spec": {"containers": [{"image": image}]},
        }
        template["spec"] |= more.get("spec", {})
        if "revision" in more:
            template["metadata"]["name"] = more["revision"]
        spec: Obj = {"template": template}
        if "traffic" in more:
            spec["traffic"] = more["traffic"]
        metadata = {"name": name, "namespace": self.namespace, **more.get("metadata", {})}
        body = {"apiVersion": "serving.knative.dev/v1", "kind": "Service", "metadata": metadata, "spec": spec}
        existing = await self.client.find(KSERVICES, self.namespace, name)
        if existing is None:
            return await self.client.create(KSERVICES, self.namespace, body)
        kept = {**existing["metadata"], **more.get("metadata", {})}
        return await self.client.replace(
            KSERVICES, self.namespace, {**existing, "metadata": kept, "spec": spec}
        )

    async def get(self, resource: Resource, name: str = "svc") -> Obj:
        return await self.client.get(resource, self.namespace, name)

    async def until(
        self, resource: Resource, name: str, is_good: Callable[[Obj], bool], within_s: float = 8.0
    ) -> Obj:
        """The object once ``is_good`` holds; the last state is shown when it does not in time."""
        return await until_object(self.client, resource, (self.namespace, name), is_good, within_s)

    async def gone(self, resource: Resource, name: str, within_s: float = 8.0) -> None:
        deadline = time.monotonic() + within_s
        while await self.client.find(resource, self.namespace, name) is not None:
            assert time.monotonic() < deadline, f"{resource.plural}/{name} is still there"
            await asyncio.sleep(0.05)

    async def ready(self, name: str = "svc") -> Obj:
        return await self.until(KSERVICES, name, is_ready)

    async def pods(self) -> list[Obj]:
        found = await self.client.list(PODS, self.namespace)
        return [pod for pod in found["items"] if "deletionTimestamp" not in pod["metadata"]]

    async def empty(self, within_s: float = 8.0) -> None:
        """Wait until no pod is left."""
        deadline = time.monotonic() + within_s
        while await self.pods():
            assert time.monotonic() < deadline
            await asyncio.sleep(0.02)

    async def settle(self) -> None:
        """Wait until nothing is written any more, then reconcile everything again and demand silence."""
        await self._until_quiet()
        before = await self._versions()
        for resource, reconcile in self.serving.reconcilers.items():
            for key in list(self.serving.world[resource].store):
                if key[0] == self.namespace:
                    await reconcile(key)
        assert await self._versions() == before

    async def _until_quiet(self) -> None:
        last, since = await self._versions(), time.monotonic()
        deadline = since + 8
        while time.monotonic() - since < 0.25:
            await asyncio.sleep(0.05)
            now = await self._versions()
            if now != last:
                last, since = now, time.monotonic()
            assert time.monotonic() < deadline, "the controllers write for ever"

    async def _versions(self) -> dict[str, str]:
        found = {}
        for resource in (
            KSERVICES,
            CONFIGURATIONS,
            REVISIONS,
            ROUTES,
            AUTOSCALERS,
            INGRESSES,
            DEPLOYMENTS,
            PODS,
        ):
            for item in (await self.client.list(resource, self.namespace))["items"]:
                found[f"{resource.group}/{resource.plural}/{item['metadata']['name']}"] = item["metadata"][
                    "resourceVersion"
                ]
        return found

    async def configure(self, name: str, data: dict[str, str]) -> Callable[[], Awaitable[Obj]]:
        """Merge ``data`` into a ConfigMap of knative-serving; call the answer to undo it."""
        await self.client.patch(CONFIGMAPS, "knative-serving", name, {"data": data})
        undone = dict.fromkeys(data)

        async def undo() -> Obj:
            return await self.client.patch(CONFIGMAPS, "knative-serving", name, {"data": undone})

        deadline = time.monotonic() + 5
        while (
            not data.items()
            <= (self.serving.world[CONFIGMAPS].store[("knative-serving", name)].get("data") or {}).items()
        ):
            assert time.monotonic() < deadline
            await asyncio.sleep(0.01)
        return undo


def is_ready(obj: Obj) -> bool:
    status = obj.get("status") or {}
    return (
        status.get("observedGeneration") == obj["metadata"]["generation"]
        and conditions.read(status, "Ready").is_true
    )


def condition(obj: Obj, type_: str) -> tuple[str, str, str]:
    found = conditions.read(obj.get("status"), type_)
    return found.status, found.reason, found.message
