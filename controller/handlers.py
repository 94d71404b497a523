"""What kopf calls: one event handler a kind, which only fills the cache and puts keys into the queue.

Registered by ``__main__``. Indices are not used, see ``listing``. Low-level event handlers leave no annotation and
no finalizer on users' objects. Invariant: no branching on the content here beyond "whose is it".
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

import kopf

from controller.cache import (
    CLUSTER_RUNTIMES,
    INFERENCE_SERVICES,
    KNATIVE_INGRESSES,
    KNATIVE_SERVICES,
    SERVING_RUNTIMES,
    Cache,
    owner_of,
)
from controller.listing import keep
from wakeful.kit.kube import PODS, SERVICES, Obj, Resource
from wakeful.kit.workqueue import WorkQueue

Key = tuple[str, str]
Affected = Callable[[Obj], Iterable[Key]]
POD_CALM_S = 0.2


def register(registry: kopf.OperatorRegistry, cache: Cache, queue: WorkQueue[Key]) -> None:
    """Register the handlers of every kind the controller reads."""

    def itself(obj: Obj) -> list[Key]:
        return [(obj["metadata"].get("namespace", ""), obj["metadata"]["name"])]

    def labelled(obj: Obj) -> list[Key]:
        owner = owner_of(obj["metadata"])
        return [owner] if owner is not None else []

    def named(obj: Obj) -> list[Key]:
        # An Ingress or Knative Service in our way has no label, but our name.
        return labelled(obj) or itself(obj)

    def users_of_runtimes(obj: Obj) -> list[Key]:
        namespace = obj["metadata"].get("namespace", "")
        return [key for key in cache.keys(INFERENCE_SERVICES) if not namespace or key[0] == namespace]

    kinds: tuple[tuple[Resource, Affected], ...] = (
        (INFERENCE_SERVICES, itself),
        (SERVING_RUNTIMES, users_of_runtimes),
        (CLUSTER_RUNTIMES, users_of_runtimes),
        (KNATIVE_SERVICES, labelled),
        (KNATIVE_INGRESSES, named),
        (SERVICES, labelled),
        (PODS, labelled),
    )
    for resource, affected in kinds:
        _register_kind(registry, cache, queue, resource, affected)


def _register_kind(
    registry: kopf.OperatorRegistry,
    cache: Cache,
    queue: WorkQueue[Key],
    resource: Resource,
    affected: Affected,
) -> None:
    selector = (resource.group, resource.version, resource.plural)

    @kopf.on.event(*selector, id=f"event-{resource.plural}.{resource.group}", registry=registry)
    async def on_event(event: kopf.RawEvent, **_: Any) -> None:
        obj: Obj = dict(event["object"])
        if event["type"] is None and cache.knows(resource, obj):
            return  # kopf's own first list: ``listing`` was there before
        if event["type"] == "DELETED":
            cache.drop(resource, obj)
        else:
            keep(cache, resource, obj)
        for key in affected(obj):
            # Pods change several times as they start and end; one look at what came of it is enough.
            queue.add_after(key, POD_CALM_S if resource is PODS else 0.0)
