"""What kopf's watches have told us: every object the controller reads, by kind, namespace and name.

Fed by ``handlers`` and by the answers to our own writes; read by ``cluster.observe``. Large parts nobody reads
(managedFields, and pods that are none of ours) are not kept. Invariant: an object never goes back to an older
resourceVersion, so our own write is seen at once even if the watch is late.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator

from wakeful.core.api import isvc_names as names
from wakeful.kit.kube import Obj, Resource

Key = tuple[str, str]

INFERENCE_SERVICES = Resource(names.GROUP, "v1beta1", "inferenceservices")
SERVING_RUNTIMES = Resource(names.GROUP, "v1alpha1", "servingruntimes")
CLUSTER_RUNTIMES = Resource(names.GROUP, "v1alpha1", "clusterservingruntimes", namespaced=False)
KNATIVE_SERVICES = Resource("serving.knative.dev", "v1", "services")
KNATIVE_INGRESSES = Resource("networking.internal.knative.dev", "v1alpha1", "ingresses")

WATCHED = (INFERENCE_SERVICES, SERVING_RUNTIMES, CLUSTER_RUNTIMES, KNATIVE_SERVICES, KNATIVE_INGRESSES)
"""Kinds of CustomResourceDefinitions, which may be installed after the controller has started."""


class Cache:
    """Objects by kind and key, and those of one InferenceService by its label."""

    def __init__(self) -> None:
        self._objects: dict[Resource, dict[Key, Obj]] = defaultdict(dict)
        self._labelled: dict[tuple[Resource, Key], set[Key]] = defaultdict(set)

    def get(self, resource: Resource, namespace: str, name: str) -> Obj | None:
        return self._objects[resource].get((namespace, name))

    def items(self, resource: Resource) -> Iterator[Obj]:
        yield from self._objects[resource].values()

    def of_isvc(self, resource: Resource, isvc: Key) -> list[Obj]:
        """The objects that carry the label of this InferenceService, by name."""
        keys = sorted(self._labelled.get((resource, isvc), ()))
        return [self._objects[resource][key] for key in keys]

    def put(self, resource: Resource, obj: Obj) -> None:
        """Keep ``obj`` unless a newer one is known."""
        metadata = {name: value for name, value in obj["metadata"].items() if name != "managedFields"}
        key = (metadata.get("namespace", ""), metadata["name"])
        old = self._objects[resource].get(key)
        if old is not None and _is_older(metadata, old["metadata"]):
            return
        self._forget_label(resource, key, old)
        self._objects[resource][key] = {**obj, "metadata": metadata}
        isvc = owner_of(metadata)
        if isvc is not None:
            self._labelled[resource, isvc].add(key)

    def drop(self, resource: Resource, obj: Obj) -> None:
        """Forget ``obj``, unless another of the same name has taken its place."""
        metadata = obj["metadata"]
        key = (metadata.get("namespace", ""), metadata["name"])
        old = self._objects[resource].get(key)
        if old is not None and old["metadata"].get("uid") == metadata.get("uid"):
            del self._objects[resource][key]
            self._forget_label(resource, key, old)

    def _forget_label(self, resource: Resource, key: Key, old: Obj | None) -> None:
        isvc = owner_of(old["metadata"]) if old is not None else None
        if isvc is not None:
            known = self._labelled[resource, isvc]
            known.discard(key)
            if not known:
                del self._labelled[resource, isvc]


def owner_of(metadata: Obj) -> Key | None:
    """The InferenceService that an object's label names."""
    name = (metadata.get("labels") or {}).get(names.ISVC_LABEL)
    return (metadata.get("namespace", ""), name) if name else None


def _is_older(new: Obj, old: Obj) -> bool:
    """Whether ``new`` is an earlier state of the same object (resourceVersions are compared where they are numbers)."""
    versions = str(new.get("resourceVersion", "")), str(old.get("resourceVersion", ""))
    if new.get("uid") != old.get("uid") or not all(item.isdigit() for item in versions):
        return False
    return int(versions[0]) < int(versions[1])
