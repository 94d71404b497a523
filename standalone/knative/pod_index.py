"""Pods by the uid of the Deployment that owns them, kept beside the cache so that nobody scans all pods.

Used by the Deployment controller, the Revision controller and the autoscaler. Invariant: after each change of the
cache the index holds exactly the pods of the cache that have a controller.
"""

from __future__ import annotations

from standalone.knative.world import World
from wakeful.core.api import conditions
from wakeful.core.api.isvc_problem import mapping
from wakeful.kit.kube import PODS, Obj, controller_of, key_of


class PodIndex:
    def __init__(self, world: World) -> None:
        self._by_owner: dict[str, dict[tuple[str, str], Obj]] = {}
        self._store = world[PODS].store
        world.on(PODS, self._on_pod)

    def of(self, owner: Obj) -> list[Obj]:
        """The pods of ``owner``, those that are being deleted included."""
        return list(self._by_owner.get(owner["metadata"]["uid"], {}).values())

    def _on_pod(self, pod: Obj, old: Obj | None) -> None:
        for obj in (old, pod):
            owner = controller_of(obj) if obj is not None else None
            if obj is not None and owner is not None:
                self._remove(owner["uid"], key_of(obj))
        owner = controller_of(pod)
        if owner is not None and self._store.get(key_of(pod)) is pod:
            self._by_owner.setdefault(owner["uid"], {})[key_of(pod)] = pod

    def _remove(self, uid: str, key: tuple[str, str]) -> None:
        pods = self._by_owner.get(uid)
        if pods is not None:
            pods.pop(key, None)
            if not pods:
                del self._by_owner[uid]


def is_active(pod: Obj) -> bool:
    """Neither finished nor being deleted."""
    phase = mapping(pod.get("status")).get("phase")
    return "deletionTimestamp" not in pod["metadata"] and phase not in ("Failed", "Succeeded")


def is_pod_ready(pod: Obj) -> bool:
    return conditions.read(pod.get("status"), "Ready").is_true
