"""One address for the whole InferenceService: its URL, and the Knative Ingress that leads from it to the components.

Called by ``plan`` when every component is ready. KServe writes an Istio VirtualService; we write what Knative's own
DomainMapping writes, so any Knative ingress (and our gateway) serves it: ``rewriteHost`` sends the request back into
routing under the component's cluster-local host, where Knative splits it over revisions. Left out: ``pathTemplate``
(a Knative Ingress cannot rewrite paths). Source: KServe behaviour page section 2.6, section 6, items 22 to 25.

Invariant: only the component's own suffix is cut from a host, wherever else ``-predictor`` may occur in it.
"""

from __future__ import annotations

from dataclasses import dataclass
from urllib.parse import urlsplit

from controller.desired.configuration import Configuration, IngressConfig
from controller.desired.service import owner_reference
from wakeful.core.api import isvc_names as names
from wakeful.core.api.inferenceservice import Component, InferenceService
from wakeful.core.api.isvc_problem import Obj, mapping, mappings, text

API_VERSION = "networking.internal.knative.dev/v1alpha1"
CLASS_ANNOTATION = "networking.knative.dev/ingress.class"
DEFAULT_CLASS = "istio.ingress.networking.knative.dev"
HTTP_PORT = 80


@dataclass(frozen=True, slots=True)
class Address:
    """``url`` as clients outside use it, ``internal`` as pods do; ``host`` is the one of ``url`` without its port."""

    url: str
    internal: str
    host: str
    is_external: bool


def address_of(service: InferenceService, component_url: str, config: IngressConfig) -> Address:
    """The addresses, from the backend component's own URL."""
    backend = service.backend
    child = names.component_name(service.name, backend.name, backend.variant)
    parts = urlsplit(component_url)
    if config.is_virtual_host_disabled:
        internal = f"http://{child}.{service.namespace}.{names.CLUSTER_DOMAIN}"
        return Address(component_url, internal, parts.hostname or "", is_external=False)
    netloc = parts.netloc.replace(child, service.name, 1)
    host = (parts.hostname or "").replace(child, service.name, 1)
    internal_host = f"{service.name}.{service.namespace}.{names.CLUSTER_DOMAIN}"
    is_external = not service.is_cluster_local and not host.endswith(f".{names.CLUSTER_DOMAIN}")
    scheme = config.url_scheme or parts.scheme or "http"
    url = f"{scheme}://{netloc}" if is_external else f"http://{internal_host}"
    return Address(url, f"http://{internal_host}", host, is_external)


def build(service: InferenceService, address: Address, config: Configuration, ingress_class: str) -> Obj:
    """The Ingress, named after the InferenceService."""
    local = [
        f"{service.name}.{service.namespace}{suffix}" for suffix in (f".{names.CLUSTER_DOMAIN}", ".svc", "")
    ]
    rules = [_rule(service, local, "ClusterLocal")]
    if address.is_external:
        hosts = [address.host, *_additional_hosts(service, address.host, config.ingress)]
        rules.insert(0, _rule(service, hosts, "ExternalIP"))
    kept = {
        key: value
        for key, value in service.labels.items()
        if key not in config.disallowed_labels or key == names.VISIBILITY_LABEL
    }
    return {
        "apiVersion": API_VERSION,
        "kind": "Ingress",
        "metadata": {
            "name": service.name,
            "namespace": service.namespace,
            "labels": {**kept, names.ISVC_LABEL: service.name},
            "annotations": {CLASS_ANNOTATION: ingress_class or DEFAULT_CLASS},
            "ownerReferences": [owner_reference(service)],
        },
        "spec": {"httpOption": "Enabled", "rules": rules},
    }


def build_alias(service: InferenceService, external_name: str) -> Obj:
    """The ExternalName Service through which ``http://{isvc}.{ns}.svc.cluster.local`` reaches the ingress."""
    return {
        "apiVersion": "v1",
        "kind": "Service",
        "metadata": {
            "name": service.name,
            "namespace": service.namespace,
            "labels": {names.ISVC_LABEL: service.name},
            "ownerReferences": [owner_reference(service)],
        },
        "spec": {"type": "ExternalName", "externalName": external_name, "sessionAffinity": "None"},
    }


def services_behind(ingress: Obj | None) -> set[str]:
    """Names of the Knative Services that an Ingress leads to."""
    rules = mappings(mapping(mapping(ingress).get("spec")).get("rules"))
    paths = [path for rule in rules for path in mappings(mapping(rule.get("http")).get("paths"))]
    return {text(split.get("serviceName")) for path in paths for split in mappings(path.get("splits"))}


def _rule(service: InferenceService, hosts: list[str], visibility: str) -> Obj:
    paths = []
    if service.explainer is not None:
        paths.append(_path(service, service.explainer, f"/v1/models/{service.name}:explain"))
    paths.append(_path(service, service.backend, "/"))
    return {"hosts": hosts, "visibility": visibility, "http": {"paths": paths}}


def _path(service: InferenceService, component: Component, prefix: str) -> Obj:
    child = names.component_name(service.name, component.name, component.variant)
    return {
        "path": prefix,
        "rewriteHost": f"{child}.{service.namespace}.{names.CLUSTER_DOMAIN}",
        "splits": [
            {
                "serviceName": child,
                "serviceNamespace": service.namespace,
                "servicePort": HTTP_PORT,
                "percent": 100,
                "appendHeaders": {
                    "KServe-Isvc-Name": service.name,
                    "KServe-Isvc-Namespace": service.namespace,
                },
            }
        ],
    }


def _additional_hosts(service: InferenceService, host: str, config: IngressConfig) -> list[str]:
    """The same sub-domain under each additional domain; none where the host has another shape than we can cut."""
    for head in (f"{service.name}.{service.namespace}", f"{service.name}-{service.namespace}"):
        if host.startswith(f"{head}."):
            return sorted({f"{head}.{domain}" for domain in config.additional_domains} - {host})
    return []
