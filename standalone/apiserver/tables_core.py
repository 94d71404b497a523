"""Columns of the built-in kinds that are not workloads: services, config, storage, events, RBAC, definitions.

Read by ``tables``; a kind that is not here shows Name and Age. Invariant: names and order of columns are kubectl's.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from datetime import datetime
from typing import Any

from standalone.apiserver.tables_cells import (
    AGE,
    CREATED_AT,
    NAME,
    NONE,
    UNKNOWN,
    Column,
    Obj,
    age_of,
    at,
    field,
    join,
    selector_text,
)

_Cell = Callable[[Obj, datetime], Any]


def _size(*paths: str) -> _Cell:
    return lambda obj, now: sum(len(at(obj, path, ())) for path in paths)


def _external_ip(service: Obj, now: datetime) -> str:
    spec = service.get("spec") or {}
    kind = spec.get("type", "ClusterIP")
    external = list(spec.get("externalIPs") or ())
    if kind == "ExternalName":
        return str(spec.get("externalName") or NONE)
    if kind == "LoadBalancer":
        addresses = [
            one.get("ip") or one.get("hostname") for one in at(service, "status.loadBalancer.ingress", [])
        ]
        return join([*addresses, *external]) if addresses or external else "<pending>"
    return join(external)


def _service_ports(service: Obj, now: datetime) -> str:
    parts = []
    for port in at(service, "spec.ports", []):
        node = f":{port['nodePort']}" if port.get("nodePort") else ""
        parts.append(f"{port.get('port')}{node}/{port.get('protocol', 'TCP')}")
    return join(parts)


def _endpoints(obj: Obj, now: datetime) -> str:
    found: list[str] = []
    for subset in obj.get("subsets") or ():
        ports: list[Obj] = subset.get("ports") or [{}]
        for port in ports:
            for address in subset.get("addresses") or ():
                found.append(
                    f"{address.get('ip')}:{port['port']}" if "port" in port else str(address.get("ip"))
                )
    return join(found, 3)


def _slice_endpoints(obj: Obj, now: datetime) -> str:
    return join((ip for one in obj.get("endpoints") or () for ip in one.get("addresses") or ()), 3)


def _node_status(node: Obj, now: datetime) -> str:
    ready = next((one for one in at(node, "status.conditions", []) if one.get("type") == "Ready"), None)
    words = ["Unknown" if ready is None else "Ready" if ready.get("status") == "True" else "NotReady"]
    if at(node, "spec.unschedulable"):
        words.append("SchedulingDisabled")
    return ",".join(words)


def _node_roles(node: Obj, now: datetime) -> str:
    prefix = "node-role.kubernetes.io/"
    labels = at(node, "metadata.labels", {})
    roles = [key.removeprefix(prefix) for key in labels if key.startswith(prefix)]
    roles += [value for key, value in labels.items() if key == "kubernetes.io/role" and value]
    return join(sorted(set(roles)))


def _node_address(kind: str) -> _Cell:
    def cell(node: Obj, now: datetime) -> str:
        found = (one.get("address") for one in at(node, "status.addresses", []) if one.get("type") == kind)
        return str(next(found, NONE))

    return cell


def _event_object(event: Obj, now: datetime) -> str:
    target = event.get("involvedObject") or event.get("regarding") or {}
    return f"{str(target.get('kind', '')).lower()}/{target.get('name', '')}"


def _first_seen(event: Obj, now: datetime) -> str:
    return age_of(_first_of(event, "firstTimestamp", "deprecatedFirstTimestamp", "eventTime"), now)


def _last_seen(event: Obj, now: datetime) -> str:
    repeated = at(event, "series.lastObservedTime")
    last = _first_of(event, "lastTimestamp", "deprecatedLastTimestamp", "eventTime", "firstTimestamp")
    return age_of(repeated or last, now)


def _first_of(event: Obj, *names: str) -> Any:
    return next((event[name] for name in names if event.get(name)), None)


def _event_source(event: Obj, now: datetime) -> str:
    source = event.get("source") or event.get("deprecatedSource") or {}
    parts = [
        source.get("component") or event.get("reportingComponent") or event.get("reportingController"),
        source.get("host"),
    ]
    return ", ".join(str(part) for part in parts if part)


def _event_count(event: Obj, now: datetime) -> int:
    return int(at(event, "series.count") or event.get("count") or event.get("deprecatedCount") or 1)


_EVENT = (
    Column("Last Seen", _last_seen),
    field("Type", "type"),
    field("Reason", "reason"),
    Column("Object", _event_object),
    Column(
        "Subobject",
        lambda obj, now: at(obj, "involvedObject.fieldPath") or at(obj, "regarding.fieldPath", ""),
        priority=1,
    ),
    Column("Source", _event_source, priority=1),
    Column("Message", lambda obj, now: str(obj.get("message") or obj.get("note") or "").strip()),
    Column("First Seen", _first_seen, priority=1),
    Column("Count", _event_count, priority=1),
    Column("Name", NAME.cell, priority=1, format="name"),
)


def _subjects(kind: str) -> Column:
    def cell(obj: Obj, now: datetime) -> str:
        found = [one for one in obj.get("subjects") or () if one.get("kind") == kind]
        is_account = kind == "ServiceAccount"
        return ", ".join(
            f"{one.get('namespace')}/{one['name']}" if is_account else one["name"] for one in found
        )

    return Column(f"{kind}s", cell, priority=1)


_BINDING = (
    NAME,
    Column("Role", lambda obj, now: f"{at(obj, 'roleRef.kind', '')}/{at(obj, 'roleRef.name', '')}"),
    AGE,
    _subjects("User"),
    _subjects("Group"),
    _subjects("ServiceAccount"),
)


def _targets(scaler: Obj, now: datetime) -> str:
    current = {_metric_name(one): one for one in at(scaler, "status.currentMetrics", []) or ()}
    parts = []
    for metric in at(scaler, "spec.metrics", []):
        target = at(metric, f"{_lower(metric['type'])}.target", {})
        now_has = at(current.get(_metric_name(metric), {}), f"{_lower(metric['type'])}.current", {})
        parts.append(f"{_metric_name(metric)}: {_amount(now_has, UNKNOWN)}/{_amount(target, '<auto>')}")
    return join(parts, 2)


def _lower(kind: str) -> str:
    return kind[:1].lower() + kind[1:]


def _metric_name(metric: Obj) -> str:
    part = metric.get(_lower(str(metric.get("type", "")))) or {}
    return str(part.get("name") or at(part, "metric.name", ""))


def _amount(value: Obj, missing: str) -> str:
    if value.get("averageUtilization") is not None:
        return f"{value['averageUtilization']}%"
    return str(value.get("averageValue") or value.get("value") or missing)


def _hosts(ingress: Obj, now: datetime) -> str:
    hosts = [rule["host"] for rule in at(ingress, "spec.rules", []) if rule.get("host")]
    return join(hosts, 3) if hosts else "*"


def _ingress_address(ingress: Obj, now: datetime) -> str:
    found: Iterator[Any] = (
        one.get("ip") or one.get("hostname") for one in at(ingress, "status.loadBalancer.ingress", [])
    )
    return ",".join(str(one) for one in found if one)


def _class_parameters(obj: Obj, now: datetime) -> str:
    named = at(obj, "spec.parameters")
    if not named:
        return NONE
    group = f".{named['apiGroup']}" if named.get("apiGroup") else ""
    return f"{named.get('kind', '')}{group}/{named.get('name', '')}"


def _quota(quota: Obj, *, is_limit: bool) -> str:
    hard, used = at(quota, "status.hard", {}), at(quota, "status.used", {})
    names = sorted(name for name in hard if name.startswith("limits") is is_limit)
    return ", ".join(f"{name}: {used.get(name, '0')}/{hard[name]}" for name in names)


def _owner(obj: Obj, now: datetime) -> str:
    """The controller of an object as ``deployment.apps/name``."""
    for owner in at(obj, "metadata.ownerReferences", []):
        if owner.get("controller"):
            group = str(owner.get("apiVersion", "")).rpartition("/")[0]
            kind = str(owner.get("kind", "")).lower()
            return f"{kind}{f'.{group}' if group else ''}/{owner.get('name', '')}"
    return NONE


COLUMNS: dict[tuple[str, str], tuple[Column, ...]] = {
    ("", "Service"): (
        NAME,
        field("Type", "spec.type", "ClusterIP"),
        field("Cluster-IP", "spec.clusterIP", NONE),
        Column("External-IP", _external_ip),
        Column("Port(s)", _service_ports),
        AGE,
        Column("Selector", lambda obj, now: selector_text(at(obj, "spec.selector")), priority=1),
    ),
    ("", "Namespace"): (NAME, field("Status", "status.phase"), AGE),
    ("", "ConfigMap"): (NAME, Column("Data", _size("data", "binaryData")), AGE),
    ("", "Secret"): (NAME, field("Type", "type"), Column("Data", _size("data")), AGE),
    ("", "ServiceAccount"): (NAME, Column("Secrets", _size("secrets")), AGE),
    ("", "Endpoints"): (NAME, Column("Endpoints", _endpoints), AGE),
    ("discovery.k8s.io", "EndpointSlice"): (
        NAME,
        field("AddressType", "addressType"),
        Column("Ports", lambda obj, now: join((port.get("port", "*") for port in obj.get("ports") or ()), 3)),
        Column("Endpoints", _slice_endpoints),
        AGE,
    ),
    ("", "Node"): (
        NAME,
        Column("Status", _node_status),
        Column("Roles", _node_roles),
        AGE,
        field("Version", "status.nodeInfo.kubeletVersion"),
        Column("Internal-IP", _node_address("InternalIP"), priority=1),
        Column("External-IP", _node_address("ExternalIP"), priority=1),
        field("OS-Image", "status.nodeInfo.osImage", UNKNOWN, priority=1),
        field("Kernel-Version", "status.nodeInfo.kernelVersion", UNKNOWN, priority=1),
        field("Container-Runtime", "status.nodeInfo.containerRuntimeVersion", UNKNOWN, priority=1),
    ),
    ("", "Event"): _EVENT,
    ("events.k8s.io", "Event"): _EVENT,
    ("coordination.k8s.io", "Lease"): (NAME, field("Holder", "spec.holderIdentity"), AGE),
    ("autoscaling", "HorizontalPodAutoscaler"): (
        NAME,
        Column(
            "Reference",
            lambda obj, now: (
                f"{obj['spec']['scaleTargetRef']['kind']}/{obj['spec']['scaleTargetRef']['name']}"
            ),
        ),
        Column("Targets", _targets),
        Column("MinPods", lambda obj, now: str(at(obj, "spec.minReplicas", "<unset>"))),
        field("MaxPods", "spec.maxReplicas", 0),
        field("Replicas", "status.currentReplicas", 0),
        AGE,
    ),
    ("policy", "PodDisruptionBudget"): (
        NAME,
        Column("Min Available", lambda obj, now: str(at(obj, "spec.minAvailable", "N/A"))),
        Column("Max Unavailable", lambda obj, now: str(at(obj, "spec.maxUnavailable", "N/A"))),
        field("Allowed Disruptions", "status.disruptionsAllowed", 0, type="integer"),
        AGE,
    ),
    ("networking.k8s.io", "NetworkPolicy"): (
        NAME,
        Column("Pod-Selector", lambda obj, now: selector_text(at(obj, "spec.podSelector"))),
        AGE,
    ),
    ("networking.k8s.io", "IngressClass"): (
        NAME,
        field("Controller", "spec.controller"),
        Column("Parameters", _class_parameters),
        AGE,
    ),
    ("networking.k8s.io", "Ingress"): (
        NAME,
        field("Class", "spec.ingressClassName", NONE),
        Column("Hosts", _hosts),
        Column("Address", _ingress_address),
        Column("Ports", lambda obj, now: "80, 443" if at(obj, "spec.tls") else "80"),
        AGE,
    ),
    ("rbac.authorization.k8s.io", "Role"): (NAME, CREATED_AT),
    ("rbac.authorization.k8s.io", "ClusterRole"): (NAME, CREATED_AT),
    ("rbac.authorization.k8s.io", "RoleBinding"): _BINDING,
    ("rbac.authorization.k8s.io", "ClusterRoleBinding"): _BINDING,
    ("scheduling.k8s.io", "PriorityClass"): (
        NAME,
        field("Value", "value", 0, type="integer"),
        field("Global-Default", "globalDefault", False, type="boolean"),
        AGE,
        field("PreemptionPolicy", "preemptionPolicy"),
    ),
    ("admissionregistration.k8s.io", "MutatingWebhookConfiguration"): (
        NAME,
        Column("Webhooks", _size("webhooks"), "integer"),
        AGE,
    ),
    ("admissionregistration.k8s.io", "ValidatingWebhookConfiguration"): (
        NAME,
        Column("Webhooks", _size("webhooks"), "integer"),
        AGE,
    ),
    ("apiextensions.k8s.io", "CustomResourceDefinition"): (NAME, CREATED_AT),
    ("", "ResourceQuota"): (
        NAME,
        Column("Request", lambda obj, now: _quota(obj, is_limit=False)),
        Column("Limit", lambda obj, now: _quota(obj, is_limit=True)),
        AGE,
    ),
    ("apps", "ControllerRevision"): (
        NAME,
        Column("Controller", _owner),
        field("Revision", "revision", 0),
        AGE,
    ),
    ("", "LimitRange"): (NAME, CREATED_AT),
}
