"""Destinations to URLs: a reference to a Service, Knative Service, InferenceService, Broker or anything addressable.

Called by the Eventing controllers. Kinds with a cache are read there; others through discovery and a GET. A reference to
an InferenceService without uri gets the path of its prediction protocol, because the broker calls the model itself.
Invariant: never raises for what a user wrote or deleted; the answer then says which object, and what is missing.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from urllib.parse import urljoin, urlsplit

from standalone.knative.eventing_status import CLUSTER_DOMAIN, Found
from wakeful.core.api.isvc_problem import Obj, mapping
from wakeful.kit.discovery import Discovery, UnknownKindError
from wakeful.kit.kube import ApiError, KubeClient

Lookup = Callable[[str, str], Obj | None]
"""(namespace, name) -> the object in a cache."""

CORE_SERVICE = ("v1", "Service")
INFERENCE_SERVICE = ("serving.kserve.io/v1beta1", "InferenceService")
SUBSCRIBER_REASON = "Unable to get the Subscriber's URI"
DEAD_LETTER_REASON = "Unable to get the dead letter sink's URI"


class _Unresolved(Exception):
    """Why a destination has no address; one sentence."""


class Resolver:
    """Resolves destinations. ``caches`` by (apiVersion, kind)."""

    def __init__(self, client: KubeClient, caches: Mapping[tuple[str, str], Lookup]) -> None:
        self._client = client
        self._caches = caches
        self._discovery = Discovery(client)

    async def resolve(self, destination: Obj, namespace: str, reason: str) -> Found:
        """The URL of ``destination`` of an object in ``namespace``; ``reason`` is the condition's when there is none."""
        try:
            return Found(await self._resolve(destination, namespace))
        except _Unresolved as error:
            return Found(None, reason, str(error))

    def is_cached(self, reference: Obj) -> bool:
        """Whether changes of the referenced object are seen by a cache (else it must be looked at again)."""
        return _kind_key(reference) in self._caches

    async def read(self, reference: Obj, namespace: str) -> Obj:
        """The referenced object. Raises ``LookupError`` with one sentence."""
        try:
            return await self._get(reference, namespace)
        except _Unresolved as error:
            raise LookupError(str(error)) from None

    async def _resolve(self, destination: Obj, namespace: str) -> str:
        uri = str(destination.get("uri") or "")
        reference = mapping(destination.get("ref"))
        if not reference:
            if not urlsplit(uri).scheme:
                raise _Unresolved(f"URI is not absolute (both scheme and host should be non-empty): {uri!r}")
            return uri
        obj = await self._get(reference, namespace)
        address = _address(obj, reference)
        if uri:
            return urljoin(address, uri)
        if _kind_key(reference) == INFERENCE_SERVICE:
            return _predict_url(obj, address)
        return address

    async def _get(self, reference: Obj, namespace: str) -> Obj:
        name = str(reference.get("name") or "")
        where = str(reference.get("namespace") or namespace)
        key = _kind_key(reference)
        text = f'failed to get object {where}/{name}: {key[1].lower()} "{name}" of {key[0]} not found'
        if key in self._caches:
            cached = self._caches[key](where, name)
            if cached is None:
                raise _Unresolved(text)
            return cached
        try:
            resource = await self._discovery.resource_of({"apiVersion": key[0], "kind": key[1]})
            found = await self._client.find(resource, where, name)
        except (UnknownKindError, ApiError) as error:
            raise _Unresolved(f"failed to get object {where}/{name}: {error}") from error
        if found is None:
            raise _Unresolved(text)
        return found


def _kind_key(reference: Obj) -> tuple[str, str]:
    return str(reference.get("apiVersion") or ""), str(reference.get("kind") or "")


def _address(obj: Obj, reference: Obj) -> str:
    metadata = obj["metadata"]
    if _kind_key(reference) == CORE_SERVICE:
        return f"http://{metadata['name']}.{metadata['namespace']}.{CLUSTER_DOMAIN}"
    status = mapping(obj.get("status"))
    address = mapping(status.get("address"))
    url = str(address.get("url") or "")
    if not url:
        kind = str(reference.get("kind"))
        raise _Unresolved(f"address not set for {kind} {metadata['namespace']}/{metadata['name']}")
    return url


def _predict_url(service: Obj, address: str) -> str:
    """The prediction URL of an InferenceService by its predictor's protocol."""
    if urlsplit(address).path not in ("", "/"):
        return address
    name = service["metadata"]["name"]
    predictor = mapping(mapping(service.get("spec")).get("predictor"))
    protocols = [
        str(mapping(part)["protocolVersion"])
        for part in predictor.values()
        if mapping(part).get("protocolVersion")
    ]
    protocol = protocols[0] if protocols else "v1"
    if protocol == "v1":
        return f"{address.rstrip('/')}/v1/models/{name}:predict"
    if protocol == "v2":
        return f"{address.rstrip('/')}/v2/models/{name}/infer"
    raise _Unresolved(
        f"InferenceService {name} speaks {protocol}, which events cannot call: use protocolVersion v1 or v2, or set uri"
    )
