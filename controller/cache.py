"""What kopf's watches have told us: every object the controller reads, by kind, namespace and name.

Fed by ``handlers`` and by the answers to our own writes; read by ``cluster.observe``. Objects are kept as JSON text: as
dictionaries 10,000 InferenceServices with their children took five times the memory. Parts nobody reads (managedFields but
our own apply, pods that are none of ours) are not kept. Invariant: an object never goes back to an older
resourceVersion, so our own write is seen at once even if the watch is late.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator
from dataclasses import dataclass
from typing import cast

import orjson

from controller.connection import FIELD_MANAGER
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


@dataclass(frozen=True, slots=True)
class Entry:
    """One object; what is asked of many objects at once is beside its text."""

    uid: str
    version: str
    owner: Key | None
    """The InferenceService that its label names."""
    text: bytes


class Cache:
    """Objects by kind and key, and those of one InferenceService by its label. Each read gives a copy of its own."""

    def __init__(self) -> None:
        self._objects: dict[Resource, dict[Key, Entry]] = defaultdict(dict)
        self._labelled: dict[tuple[Resource, Key], set[Key]] = defaultdict(set)

    def get(self, resource: Resource, namespace: str, name: str) -> Obj | None:
        found = self._objects[resource].get((namespace, name))
        return None if found is None else _read(found)

    def knows(self, resource: Resource, obj: Obj) -> bool:
        """Whether exactly this state of ``obj`` is kept."""
        metadata = obj["metadata"]
        found = self._objects[resource].get((metadata.get("namespace", ""), metadata["name"]))
        version = str(metadata.get("resourceVersion", ""))
        return found is not None and (found.uid, found.version) == (str(metadata.get("uid", "")), version)

    def items(self, resource: Resource, namespace: str | None = None) -> Iterator[Obj]:
        """All objects of the kind, or those in one namespace."""
        for key, entry in self._objects[resource].items():
            if namespace is None or key[0] == namespace:
                yield _read(entry)

    def keys(self, resource: Resource) -> list[Key]:
        """Namespace and name of every object of the kind."""
        return list(self._objects[resource])

    def entries(self, resource: Resource) -> list[tuple[Key, Entry]]:
        """Everything of the kind, not decoded."""
        return list(self._objects[resource].items())

    def of_isvc(self, resource: Resource, isvc: Key) -> list[Obj]:
        """The objects that carry the label of this InferenceService, by name."""
        keys = sorted(self._labelled.get((resource, isvc), ()))
        return [_read(self._objects[resource][key]) for key in keys]

    def put(self, resource: Resource, obj: Obj) -> None:
        """Keep ``obj`` unless a newer one is known."""
        metadata = _slim(obj["metadata"])
        key = (metadata.get("namespace", ""), metadata["name"])
        new = Entry(
            uid=str(metadata.get("uid", "")),
            version=str(metadata.get("resourceVersion", "")),
            owner=owner_of(metadata),
            text=orjson.dumps({**obj, "metadata": metadata}),
        )
        old = self._objects[resource].get(key)
        if old is not None and _is_older(new, old):
            return
        self._forget_label(resource, key, old)
        self._objects[resource][key] = new
        if new.owner is not None:
            self._labelled[resource, new.owner].add(key)

    def drop(self, resource: Resource, obj: Obj) -> None:
        """Forget ``obj``, unless another of the same name has taken its place."""
        metadata = obj["metadata"]
        self.drop_key(
            resource, (metadata.get("namespace", ""), metadata["name"]), str(metadata.get("uid", ""))
        )

    def drop_key(self, resource: Resource, key: Key, uid: str) -> None:
        """The same by key and uid."""
        old = self._objects[resource].get(key)
        if old is not None and old.uid == uid:
            del self._objects[resource][key]
            self._forget_label(resource, key, old)

    def _forget_label(self, resource: Resource, key: Key, old: Entry | None) -> None:
        if old is not None and old.owner is not None:
            known = self._labelled[resource, old.owner]
            known.discard(key)
            if not known:
                del self._labelled[resource, old.owner]


def owner_of(metadata: Obj) -> Key | None:
    """The InferenceService that an object's label names."""
    name = (metadata.get("labels") or {}).get(names.ISVC_LABEL)
    return (metadata.get("namespace", ""), name) if name else None


def _read(entry: Entry) -> Obj:
    return cast(Obj, orjson.loads(entry.text))


def _slim(metadata: Obj) -> Obj:
    """Without managedFields, but for what our own server-side apply put there: ``applied`` reads it."""
    kept = {name: value for name, value in metadata.items() if name != "managedFields"}
    ours = [
        entry
        for entry in metadata.get("managedFields") or ()
        if entry.get("manager") == FIELD_MANAGER and entry.get("operation") == "Apply"
    ]
    return kept | ({"managedFields": ours} if ours else {})


def _is_older(new: Entry, old: Entry) -> bool:
    """Whether ``new`` is an earlier state of the same object (resourceVersions are compared where they are numbers)."""
    if new.uid != old.uid or not (new.version.isdigit() and old.version.isdigit()):
        return False
    return int(new.version) < int(old.version)
