"""The ``Cluster`` port on a Kubernetes API: reads from the cache, writes by server-side apply.

Called by ``reconcile``. Server-side apply leaves defaults of Knative's webhooks alone and writes nothing when nothing
differs, so no revision appears by itself; a request is even spared while the live object carries what was applied last
(``applied``), also by a predecessor. Invariant: nothing is applied over, and nothing deleted but, an object of the same uid we saw.
"""

from __future__ import annotations

import json
import secrets
from hashlib import sha256

from controller.applied import covers, is_applied
from controller.cache import (
    CLUSTER_RUNTIMES,
    INFERENCE_SERVICES,
    KNATIVE_INGRESSES,
    KNATIVE_SERVICES,
    SERVING_RUNTIMES,
    Cache,
)
from controller.connection import APPLY, FIELD_MANAGER, Api, ApiFailureError
from controller.desired.composition import Runtimes
from controller.desired.ingress import CLASS_ANNOTATION
from controller.facts import Facts
from controller.observed import EventNote, Observed, Platform
from controller.ports import ApplyRefusedError, ClusterUnavailableError
from controller.reconcile import rfc3339_now
from controller.status.ingress import internal_domain
from wakeful.core.api import isvc_names as names
from wakeful.core.api import servingruntime
from wakeful.kit import logs
from wakeful.kit.kube import EVENTS, PODS, SERVICES, Obj, Resource, key_of

REFUSED = (400, 403, 413, 422)
MESSAGE_LIMIT = 1000
CHILDREN = {
    ("serving.knative.dev/v1", "Service"): KNATIVE_SERVICES,
    ("networking.internal.knative.dev/v1alpha1", "Ingress"): KNATIVE_INGRESSES,
    ("v1", "Service"): SERVICES,
}

log = logs.get("controller.cluster")


class KubernetesCluster:
    """See ``ports.Cluster``."""

    def __init__(self, api: Api, cache: Cache, facts: Facts) -> None:
        self._api = api
        self._cache = cache
        self._facts = facts
        self._applied: dict[tuple[Resource, str, str], tuple[str, bytes]] = {}
        """uid and digest of what was applied, where the live object does not show it."""

    async def observe(self, namespace: str, name: str) -> Observed | None:
        isvc = self._cache.get(INFERENCE_SERVICES, namespace, name)
        if isvc is None:
            self._forget(namespace, name)
            return None
        if not self._facts.is_known:
            raise ClusterUnavailableError("the configuration was not read yet")
        ingress = self._cache.get(KNATIVE_INGRESSES, namespace, name)
        services = {
            item["metadata"]["name"]: item
            for item in self._cache.of_isvc(KNATIVE_SERVICES, (namespace, name))
        }
        for component in names.COMPONENTS:
            child = names.component_name(name, component)
            live = self._cache.get(KNATIVE_SERVICES, namespace, child)
            if live is not None:
                services[child] = live
        alias = None
        if internal_domain(ingress) or names.is_stopped(isvc["metadata"].get("annotations") or {}):
            alias = self._cache.get(SERVICES, namespace, name) or await self._get(SERVICES, namespace, name)
        return Observed(
            isvc=isvc,
            config=self._facts.config,
            platform=self._platform(namespace, name),
            runtimes=self._runtimes(namespace),
            services=services,
            ingress=ingress,
            alias=alias,
            pods=tuple(self._cache.of_isvc(PODS, (namespace, name))),
        )

    async def apply(self, obj: Obj) -> Obj:
        resource = CHILDREN[obj["apiVersion"], obj["kind"]]
        namespace, name = key_of(obj)
        live = self._cache.get(resource, namespace, name)
        if live is not None and (is_applied(live, obj) or self._was_applied(resource, live, obj)):
            return live
        query = {"fieldManager": FIELD_MANAGER, "force": "true"}
        try:
            written = await self._api.request("PATCH", resource.path(namespace, name), obj, APPLY, **query)
        except ApiFailureError as error:
            if error.code in REFUSED:
                raise ApplyRefusedError(str(error)[:MESSAGE_LIMIT]) from error
            raise ClusterUnavailableError(str(error)[:MESSAGE_LIMIT]) from error
        self._cache.put(resource, written)
        kept = self._cache.get(resource, namespace, name)
        self._applied.pop((resource, namespace, name), None)
        if kept is None or not is_applied(kept, obj):
            self._applied[resource, namespace, name] = (written["metadata"]["uid"], _digest(obj))
        return written

    def _was_applied(self, resource: Resource, live: Obj, obj: Obj) -> bool:
        """The same from our own memory, for lists whose items an apply names otherwise than ``applied`` can compare."""
        known = self._applied.get((resource, *key_of(obj)))
        return known == (live["metadata"]["uid"], _digest(obj)) and covers(live, obj)

    async def delete(self, obj: Obj) -> None:
        resource = CHILDREN[obj["apiVersion"], obj["kind"]]
        body = {
            "apiVersion": "v1",
            "kind": "DeleteOptions",
            "propagationPolicy": "Background",
            "preconditions": {"uid": obj["metadata"]["uid"]},
        }
        try:
            await self._api.request("DELETE", resource.path(*key_of(obj)), body)
        except ApiFailureError as error:
            if error.code not in (404, 409):
                raise ClusterUnavailableError(str(error)) from error
        self._applied.pop((resource, *key_of(obj)), None)

    async def patch_status(self, isvc: Obj, status: Obj) -> bool:
        body = {**isvc, "apiVersion": names.API_VERSION, "kind": names.KIND, "status": status}
        path = INFERENCE_SERVICES.path(*key_of(isvc), "status")
        try:
            written = await self._api.request("PUT", path, body, fieldManager=FIELD_MANAGER)
        except ApiFailureError as error:
            if error.code in (404, 409):
                return False  # deleted, or changed meanwhile: the watch brings what it is now, and asks again
            raise ClusterUnavailableError(f"status not written: {error}") from error
        self._cache.put(INFERENCE_SERVICES, written)
        return True

    async def emit(self, isvc: Obj, note: EventNote) -> None:
        namespace, name = key_of(isvc)
        at = rfc3339_now()
        metadata = isvc["metadata"]
        event = {
            "apiVersion": "v1",
            "kind": "Event",
            "metadata": {"name": f"{name[:200]}.{secrets.token_hex(8)}", "namespace": namespace},
            "involvedObject": {
                "apiVersion": names.API_VERSION,
                "kind": names.KIND,
                "name": name,
                "namespace": namespace,
                "uid": metadata.get("uid"),
                "resourceVersion": metadata.get("resourceVersion"),
            },
            "type": note.type,
            "reason": note.reason,
            "message": note.message[:MESSAGE_LIMIT],
            "source": {"component": FIELD_MANAGER},
            "firstTimestamp": at,
            "lastTimestamp": at,
            "count": 1,
        }
        try:
            await self._api.request("POST", EVENTS.path(namespace), event)
        except ApiFailureError as error:
            log.warning("event not written", isvc=name, reason=note.reason, error=str(error))

    async def _get(self, resource: Resource, namespace: str, name: str) -> Obj | None:
        try:
            found = await self._api.get(resource.path(namespace, name))
        except ApiFailureError as error:
            raise ClusterUnavailableError(str(error)) from error
        return None if found is None else {"apiVersion": resource.api_version, "kind": "Service", **found}

    def _runtimes(self, namespace: str) -> Runtimes:
        return Runtimes(
            [
                servingruntime.parse({**item, "kind": servingruntime.NAMESPACED})
                for item in self._cache.items(SERVING_RUNTIMES, namespace)
            ],
            [
                servingruntime.parse({**item, "kind": servingruntime.CLUSTER})
                for item in self._cache.items(CLUSTER_RUNTIMES)
            ],
        )

    def _platform(self, namespace: str, name: str) -> Platform:
        """The cluster's facts; the ingress class is the one Knative gave the predictor's own Ingress, if it exists."""
        platform = self._facts.platform
        own = self._cache.get(KNATIVE_INGRESSES, namespace, names.component_name(name, names.PREDICTOR))
        chosen = (own["metadata"].get("annotations") or {}).get(CLASS_ANNOTATION) if own else None
        if not chosen:
            return platform
        return Platform(platform.is_knative_installed, str(chosen), platform.scaling)

    def _forget(self, namespace: str, name: str) -> None:
        for resource in CHILDREN.values():
            for child in (name, *(names.component_name(name, item) for item in names.COMPONENTS)):
                self._applied.pop((resource, namespace, child), None)


def _digest(obj: Obj) -> bytes:
    return sha256(json.dumps(obj, sort_keys=True).encode()).digest()
