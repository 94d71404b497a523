"""What Kubernetes checks in how things are reached: Services, Ingresses, Endpoints and their slices.

Called by ``core_checks``. Left out: load balancer rules, dual stack, network policies' peers.

Invariant: total on any JSON; an object that a real API server takes is never refused here.
"""

from __future__ import annotations

from typing import Any

from standalone.apiserver.schema import failure, names
from standalone.apiserver.schema.core_checks_pod import check_labels, check_name, check_port, part
from standalone.apiserver.schema.core_checks_scheduling import check_address
from standalone.apiserver.schema.core_defaults_pod import dicts
from standalone.apiserver.schema.failure import FieldError

Obj = dict[str, Any]
Errors = list[FieldError]


def check_service(obj: Obj, errors: Errors) -> None:
    """A Service."""
    spec = part(obj, "spec")
    ports = list(dicts(spec.get("ports")))
    kind = spec.get("type")
    if not ports and kind != "ExternalName" and spec.get("clusterIP") != "None":
        errors.append(failure.required("spec.ports"))
    if kind == "ExternalName":
        if not spec.get("externalName"):
            errors.append(failure.required("spec.externalName"))
        else:
            host = str(spec["externalName"]).removesuffix(".")
            check_name(host, "spec.externalName", errors, names.subdomain_problem)
        if spec.get("clusterIP") or spec.get("clusterIPs"):
            errors.append(failure.forbidden("spec.clusterIPs", "may not be set for ExternalName services"))
    elif spec.get("clusterIP") not in (None, "", "None"):
        check_address(spec["clusterIP"], "spec.clusterIPs[0]", errors)
    for number, address in enumerate(spec.get("externalIPs") or ()):
        check_address(address, f"spec.externalIPs[{number}]", errors)
    for number, port in enumerate(ports):
        if kind in (None, "", "ClusterIP") and port.get("nodePort"):
            why = "may not be used when `type` is 'ClusterIP'"
            errors.append(failure.forbidden(f"spec.ports[{number}].nodePort", why))
    check_labels(part(spec, "selector"), "spec.selector", errors)
    seen: dict[str, set[str]] = {"names": set(), "ports": set()}
    for number, port in enumerate(ports):
        _service_port(port, f"spec.ports[{number}]", len(ports) > 1, seen, errors)


def _service_port(port: Obj, path: str, needs_name: bool, seen: dict[str, set[str]], errors: Errors) -> None:
    name = port.get("name")
    if not name and needs_name:
        errors.append(failure.required(f"{path}.name"))
    elif name:
        check_name(name, f"{path}.name", errors)
        if str(name) in seen["names"]:
            errors.append(failure.duplicate(f"{path}.name", name))
        seen["names"].add(str(name))
    check_port(port.get("port"), f"{path}.port", errors)
    target = port.get("targetPort")
    if isinstance(target, str):
        for why in names.port_name_problems(target):
            errors.append(failure.invalid(f"{path}.targetPort", target, why))
    else:
        check_port(target, f"{path}.targetPort", errors)
    place = {"protocol": port.get("protocol", "TCP"), "port": port.get("port")}
    if str(place) in seen["ports"]:
        errors.append(failure.duplicate(path, place))
    seen["ports"].add(str(place))


def check_ingress(obj: Obj, errors: Errors) -> None:
    """An Ingress."""
    spec = part(obj, "spec")
    if not spec.get("rules") and not spec.get("defaultBackend"):
        why = "either `defaultBackend` or `rules` must be specified"
        errors.append(failure.invalid("spec", spec, why))
    for number, rule in enumerate(dicts(spec.get("rules"))):
        host = rule.get("host")
        if isinstance(host, str) and host and (why := names.subdomain_problem(host.removeprefix("*."))):
            errors.append(failure.invalid(f"spec.rules[{number}].host", host, why))
        for at, path in enumerate(dicts(part(rule, "http").get("paths"))):
            where = f"spec.rules[{number}].http.paths[{at}]"
            kind, text = path.get("pathType"), path.get("path")
            if path.get("backend") == {}:
                why = "resource or service backend is required"
                errors.append(failure.invalid(f"{where}.backend", "", why))
            if kind is None:
                continue
            if kind not in ("Exact", "Prefix", "ImplementationSpecific"):
                known = ["Exact", "ImplementationSpecific", "Prefix"]
                errors.append(failure.not_supported(f"{where}.pathType", kind or "", known))
            elif kind != "ImplementationSpecific" and not str(text or "").startswith("/"):
                errors.append(failure.invalid(f"{where}.path", text or "", "must be an absolute path"))


def check_endpoints(obj: Obj, errors: Errors) -> None:
    """Endpoints."""
    for number, subset in enumerate(dicts(obj.get("subsets"))):
        for group in ("addresses", "notReadyAddresses"):
            for at, address in enumerate(dicts(subset.get(group))):
                check_address(address.get("ip", ""), f"subsets[{number}].{group}[{at}].ip", errors)
        for at, port in enumerate(dicts(subset.get("ports"))):
            check_port(port.get("port"), f"subsets[{number}].ports[{at}].port", errors)


def check_slice(obj: Obj, errors: Errors) -> None:
    """An EndpointSlice."""
    if obj.get("addressType") not in ("IPv4", "IPv6"):
        return
    for number, endpoint in enumerate(dicts(obj.get("endpoints"))):
        for at, address in enumerate(endpoint.get("addresses") or ()):
            check_address(address, f"endpoints[{number}].addresses[{at}]", errors)


_PROTOCOLS = ("TCP", "UDP", "SCTP")


def check_policy(obj: Obj, errors: Errors) -> None:
    """A NetworkPolicy: its types, ports and whether each peer says something."""
    spec = part(obj, "spec")
    for number, kind in enumerate(spec.get("policyTypes") or ()):
        if kind not in ("Ingress", "Egress"):
            path = f"spec.policyTypes[{number}]"
            errors.append(failure.not_supported(path, kind, ["Ingress", "Egress"]))
    for way, peers in (("ingress", "from"), ("egress", "to")):
        for number, rule in enumerate(dicts(spec.get(way))):
            path = f"spec.{way}[{number}]"
            for at, port in enumerate(dicts(rule.get("ports"))):
                if port.get("protocol") not in (None, "", *_PROTOCOLS):
                    where = f"{path}.ports[{at}].protocol"
                    errors.append(failure.not_supported(where, port["protocol"], list(_PROTOCOLS)))
                check_port(port.get("port"), f"{path}.ports[{at}].port", errors)
            for at, peer in enumerate(dicts(rule.get(peers))):
                if not peer:
                    errors.append(failure.required(f"{path}.{peers}[{at}]", "must specify a peer"))
