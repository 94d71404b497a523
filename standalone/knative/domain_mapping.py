"""DomainMapping controller: a host of the user's own that leads to a Service, a Route or an InferenceService.

The Ingress it makes answers for the mapping's name and re-enters routing with the reference's in-cluster host, so that
shares, tags and scale to zero stay the reference's own business. Conditions as Knative has them. Left out: TLS, and
ClusterDomainClaims: of two mappings of one name in different namespaces the older one has it.

Invariant: a mapping that is not Ready because of its reference or claim has no Ingress of its own.
"""

from __future__ import annotations

from standalone.knative.build_routing import EXTERNAL, INGRESS_CLASS
from standalone.knative.resources import (
    DOMAIN_MAPPINGS,
    INGRESSES,
    KSERVICES,
    ROUTES,
    Key,
    head,
    owner_reference,
)
from standalone.knative.settings import CLUSTER_DOMAIN, ServingConfig
from standalone.knative.world import World, is_leaving, is_owned, rfc3339
from wakeful.core.api import conditions
from wakeful.core.api import knative_serving_names as names
from wakeful.core.api.conditions import FALSE, TRUE, UNKNOWN, Condition
from wakeful.core.api.isvc_problem import mapping
from wakeful.kit.kube import Obj, Resource

INFERENCE_SERVICES = Resource("serving.kserve.io", "v1beta1", "inferenceservices")
CACHED = {"Service": KSERVICES, "Route": ROUTES}
LOOK_AGAIN_S = 10.0
CERTIFIED = Condition("CertificateProvisioned", TRUE, "TLSNotEnabled", "external-domain-tls is not enabled")


class DomainMappingController:
    def __init__(self, world: World, config: dict[str, ServingConfig]) -> None:
        self._world = world
        self._config = config

    async def reconcile(self, key: Key) -> float | None:
        found = self._world[DOMAIN_MAPPINGS].get(*key)
        if found is None or is_leaving(found):
            return None
        resolved, host = await self._resolve(found)
        claimed = self._claim(found)
        ingress = Condition(
            "IngressReady", UNKNOWN, "IngressNotConfigured", "Ingress has not yet been reconciled."
        )
        if host and claimed.is_true:
            ingress = await self._ensure(found, build_ingress(found, host))
        else:
            await self._remove(found)
        parts = [CERTIFIED, claimed, ingress, resolved]
        status = self._status(found, [conditions.roll_up("Ready", parts), *parts])
        await self._world.write_status(DOMAIN_MAPPINGS, found, status)
        return None if host and claimed.is_true else LOOK_AGAIN_S

    async def _resolve(self, found: Obj) -> tuple[Condition, str]:
        """Whether the reference exists, and its in-cluster host ("" when it does not)."""
        ref, metadata = mapping(found["spec"].get("ref")), found["metadata"]
        kind, name = str(ref.get("kind") or ""), str(ref.get("name") or "")
        namespace = str(ref.get("namespace") or metadata["namespace"])
        group = str(ref.get("apiVersion") or ref.get("group") or "").partition("/")[0]
        target: Obj | None = None
        if group == names.GROUP and kind in CACHED:
            target = self._world[CACHED[kind]].get(namespace, name)
        elif (group, kind) == (INFERENCE_SERVICES.group, "InferenceService"):
            target = await self._world.client.find(INFERENCE_SERVICES, namespace, name)
        else:
            text = f"{kind or 'the reference'} of {group or 'no group'} is not supported: want a Service or Route of "
            text += f"{names.GROUP} or an InferenceService of {INFERENCE_SERVICES.group}"
            return Condition("ReferenceResolved", FALSE, "ResolveFailed", text), ""
        if target is None or is_leaving(target):
            text = f'{kind.lower()}s.{group} "{name}" not found'
            return Condition("ReferenceResolved", FALSE, "ResolveFailed", text), ""
        return Condition("ReferenceResolved", TRUE), f"{name}.{namespace}.svc.{CLUSTER_DOMAIN}"

    def _claim(self, found: Obj) -> Condition:
        """The oldest mapping of a name has it."""
        metadata = found["metadata"]
        rivals = [
            obj
            for (_, name), obj in self._world[DOMAIN_MAPPINGS].store.items()
            if name == metadata["name"] and not is_leaving(obj)
        ]
        first = min(rivals, key=_age, default=found)
        if first["metadata"]["namespace"] == metadata["namespace"]:
            return Condition("DomainClaimed", TRUE)
        text = f'The domain name "{metadata["name"]}" is already in use by another namespace'
        return Condition("DomainClaimed", FALSE, "DomainAlreadyClaimed", text)

    async def _ensure(self, found: Obj, wanted: Obj) -> Condition:
        key = (wanted["metadata"]["namespace"], wanted["metadata"]["name"])
        present = self._world[INGRESSES].get(*key)
        if present is None:
            present = await self._world.create(INGRESSES, wanted)
            self._world.tell(DOMAIN_MAPPINGS, found, "Created", f'Created Ingress "{key[1]}"')
        if not is_owned(present, found):
            text = f'There is an existing Ingress "{key[1]}" that we do not own.'
            return Condition("IngressReady", FALSE, "NotOwned", text)
        if present["spec"] != wanted["spec"]:
            present = await self._world.update(INGRESSES, {**present, "spec": wanted["spec"]})
        status = mapping(present.get("status"))
        if status.get("observedGeneration") != present["metadata"]["generation"]:
            text = "Ingress has not yet been reconciled."
            return Condition("IngressReady", UNKNOWN, "IngressNotConfigured", text)
        ready = conditions.read(status, "Ready")
        return Condition("IngressReady", ready.status, ready.reason, ready.message)

    async def _remove(self, found: Obj) -> None:
        present = self._world[INGRESSES].get(found["metadata"]["namespace"], found["metadata"]["name"])
        if present is not None and is_owned(present, found) and not is_leaving(present):
            await self._world.delete(INGRESSES, present)

    def _status(self, found: Obj, parts: list[Condition]) -> Obj:
        port = self._config["serving"].gateway_port
        url = f"http://{found['metadata']['name']}" + ("" if port == 80 else f":{port}")
        old = mapping(found.get("status")).get("conditions")
        return {
            "observedGeneration": found["metadata"]["generation"],
            "url": url,
            "address": {"url": url},
            "conditions": conditions.merge(old, parts, rfc3339()),
        }


def build_ingress(found: Obj, host: str) -> Obj:
    """The Ingress of one mapping: its name, rewritten to ``host``."""
    metadata = found["metadata"]
    ingress = head(
        INGRESSES, owner_reference(DOMAIN_MAPPINGS, found), metadata["namespace"], metadata["name"]
    )
    ingress["metadata"]["annotations"] = {names.INGRESS_CLASS: INGRESS_CLASS}
    ingress["metadata"]["labels"] = {
        "serving.knative.dev/domainMappingUID": metadata["uid"],
        "serving.knative.dev/domainMappingNamespace": metadata["namespace"],
    }
    service, namespace = host.split(".")[:2]
    split = {"serviceName": service, "serviceNamespace": namespace, "servicePort": 80, "percent": 100}
    path = {"rewriteHost": host, "splits": [split]}
    rule = {"hosts": [metadata["name"]], "visibility": EXTERNAL, "http": {"paths": [path]}}
    ingress["spec"] = {"httpOption": "Enabled", "rules": [rule]}
    return ingress


def _age(found: Obj) -> tuple[str, str]:
    return str(found["metadata"].get("creationTimestamp") or ""), found["metadata"]["namespace"]
