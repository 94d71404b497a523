"""The children of a Route as plain objects: hosts, URLs, the Ingress, the placeholder Services. Pure.

Called by ``route``. Sections 1.6 and 3.8 of the reference page; the Ingress has the shape net-kourier reads. Hosts in
it carry no port; URLs carry the gateway's port when it is not 80.

Invariant: hosts are distinct, every split sums to 100, and a private route has no host that the gateway would answer
to the outside.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from standalone.knative.resources import INGRESSES, ROUTES, head, owner_reference
from standalone.knative.settings import CLUSTER_DOMAIN, ServingConfig
from wakeful.core.api import knative_serving_names as names
from wakeful.core.api.isvc_problem import mapping
from wakeful.kit.kube import SERVICES

Obj = dict[str, Any]
Split = Sequence[tuple[str, int]]
INGRESS_CLASS = "wakeful.ingress.networking.knative.dev"
GATEWAY_HOST = f"wakeful-gateway.knative-serving.svc.{CLUSTER_DOMAIN}"
CLUSTER_LOCAL, EXTERNAL = "ClusterLocal", "ExternalIP"


class HostError(Exception):
    """The host of a route is no valid name; the text says which and why."""


@dataclass(frozen=True, slots=True)
class Hosts:
    """The names of one route or tag."""

    name: str
    """The K8s name that stands for it: ``<route>`` or ``<tag>-<route>``."""
    private: tuple[str, ...]
    public: str
    """"" for a cluster-local one."""

    def url(self, port: int) -> str:
        """The address a user opens."""
        if not self.public:
            return f"http://{self.private[-1]}"
        return f"http://{self.public}" + ("" if port == 80 else f":{port}")

    @property
    def address(self) -> str:
        """The address inside the cluster."""
        return f"http://{self.private[-1]}"


def build_hosts(route: Obj, tag: str, config: ServingConfig, private_tags: frozenset[str]) -> Hosts:
    """The names of ``route`` (``tag`` "") or of one of its tags. Raises ``HostError``."""
    metadata = route["metadata"]
    namespace, labels = metadata["namespace"], mapping(metadata.get("labels"))
    name = metadata["name"]
    if tag:
        name = _fill(config.tag_template, {"Tag": tag, "Name": name})
    domain = domain_of(labels, config)
    is_private = (
        labels.get(names.VISIBILITY) == names.CLUSTER_LOCAL
        or domain.endswith(f"svc.{CLUSTER_DOMAIN}")
        or tag in private_tags
    )
    base = f"{name}.{namespace}"
    private = (base, f"{base}.svc", f"{base}.svc.{CLUSTER_DOMAIN}")
    values = {"Name": name, "Namespace": namespace, "Domain": domain, "Tag": tag}
    public = "" if is_private else _fill(config.domain_template, values)
    for host in (name, public):
        if any(len(part) > 63 or (host and not part) for part in host.split(".")) or len(host) > 253:
            raise HostError(f"host {host!r} is no valid name: each part must have 1 to 63 characters")
    return Hosts(name, private, public)


def domain_of(labels: Mapping[str, str], config: ServingConfig) -> str:
    """The domain with the most specific selector that matches, else the one without selector."""
    best, score = "", -1
    for domain in config.domains:
        matches = all(labels.get(key) == value for key, value in domain.selector.items())
        if matches and len(domain.selector) > score:
            best, score = domain.name, len(domain.selector)
    return best or f"svc.{CLUSTER_DOMAIN}"


def build_ingress(
    route: Obj, hosts: Mapping[str, Hosts], splits: Mapping[str, Split], rollout: str, by_header: bool
) -> Obj:
    """The Ingress: for each tag ("" is the route itself) one rule inside and one outside."""
    metadata = route["metadata"]
    found = head(INGRESSES, owner_reference(ROUTES, route), metadata["namespace"], metadata["name"])
    annotations = {
        k: v for k, v in mapping(metadata.get("annotations")).items() if not k.startswith("kubectl.")
    }
    annotations.setdefault(names.INGRESS_CLASS, INGRESS_CLASS)
    if rollout:
        annotations[names.ROLLOUT] = rollout
    found["metadata"]["annotations"] = annotations
    found["metadata"]["labels"] = {
        **mapping(metadata.get("labels")),
        names.ROUTE: metadata["name"],
        names.ROUTE_NAMESPACE: metadata["namespace"],
    }
    rules = []
    for tag in sorted(splits):
        paths = _paths(metadata["namespace"], tag, splits, by_header)
        rules.append(_rule(list(hosts[tag].private), CLUSTER_LOCAL, paths))
        if hosts[tag].public:
            rules.append(_rule([hosts[tag].public], EXTERNAL, paths))
    found["spec"] = {"httpOption": "Enabled", "rules": rules}
    return found


def _rule(hosts: list[str], visibility: str, paths: list[Obj]) -> Obj:
    return {"hosts": hosts, "visibility": visibility, "http": {"paths": paths}}


def _paths(namespace: str, tag: str, splits: Mapping[str, Split], by_header: bool) -> list[Obj]:
    main: Obj = {"splits": _splits(namespace, splits[tag])}
    if tag:
        main["appendHeaders"] = {"Knative-Serving-Tag": tag}
        return [main]
    if not by_header:
        return [main]
    main["appendHeaders"] = {"Knative-Serving-Default-Route": "true"}
    tagged = [
        {
            "headers": {"Knative-Serving-Tag": {"exact": name}},
            "appendHeaders": {"Knative-Serving-Tag": name},
            "splits": _splits(namespace, splits[name]),
        }
        for name in sorted(splits)
        if name
    ]
    return [*tagged, main]


def _splits(namespace: str, split: Split) -> list[Obj]:
    return [
        {
            "serviceName": revision,
            "serviceNamespace": namespace,
            "servicePort": 80,
            "percent": percent,
            "appendHeaders": {
                "Knative-Serving-Revision": revision,
                "Knative-Serving-Namespace": namespace,
            },
        }
        for revision, percent in split
    ]


def build_ingress_status(ingress: Obj, conditions: list[Obj]) -> Obj:
    """Ready: the gateway follows the Ingress within milliseconds of its being stored."""
    balancer = {"ingress": [{"domainInternal": GATEWAY_HOST}]}
    return {
        "observedGeneration": ingress["metadata"]["generation"],
        "conditions": conditions,
        "publicLoadBalancer": balancer,
        "privateLoadBalancer": balancer,
    }


def build_placeholder(route: Obj, name: str) -> Obj:
    """The K8s Service that keeps the name, so that in-cluster DNS (here: the gateway) knows it."""
    metadata = route["metadata"]
    found = head(SERVICES, owner_reference(ROUTES, route), metadata["namespace"], name)
    found["metadata"]["labels"] = {names.ROUTE: metadata["name"]}
    service = mapping(metadata.get("labels")).get(names.SERVICE)
    if service:
        found["metadata"]["labels"][names.SERVICE] = service
    found["spec"] = {
        "type": "ExternalName",
        "externalName": GATEWAY_HOST,
        "sessionAffinity": "None",
        "ports": [{"name": "http2", "port": 80, "protocol": "TCP", "targetPort": 80}],
    }
    return found


def _fill(template: str, values: Mapping[str, str]) -> str:
    for key, value in values.items():
        template = template.replace("{{." + key + "}}", value).replace("{{ ." + key + " }}", value)
    if "{{" in template:
        raise HostError(f"template {template!r} uses a field that is not known here")
    return template
