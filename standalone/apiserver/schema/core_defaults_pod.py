"""Defaults of pods and pod templates: policies, probes, ports, volume modes, image pull policy.

Called by ``core_defaults`` for Pod and for every kind with a template. What the user wrote in the wrong type is left
for validation to refuse. Invariant: idempotent, never replaces a given value.
"""

from __future__ import annotations

import copy
from collections.abc import Iterator
from typing import Any

Obj = dict[str, Any]
MODE = 0o644
"""420, the mode of files in secret, configMap, downwardAPI and projected volumes."""
_VOLUME_SOURCES_WITH_MODE = ("secret", "configMap", "downwardAPI", "projected")


def fill(target: Obj, **defaults: Any) -> None:
    """Set what is absent, null or (where text is the default) empty, as in Go; lists and dictionaries are copied."""
    for key, value in defaults.items():
        given = target.get(key)
        if given is None or (given == "" and isinstance(value, str)):
            target[key] = copy.deepcopy(value) if isinstance(value, list | dict) else value


def fill_zero(target: Obj, **defaults: Any) -> None:
    """As ``fill``, for fields that are no pointers in Go: 0 and empty text mean "not set" too."""
    for key, value in defaults.items():
        given = target.get(key)
        if given is None or given == "" or (given == 0 and not isinstance(given, bool)):
            target[key] = value


def nested(target: Obj, key: str) -> Obj:
    """The dictionary at ``key``, made when absent; a throwaway one when something else is there."""
    if target.get(key) is None:
        target[key] = {}
    found = target[key]
    return found if isinstance(found, dict) else {}


def dicts(items: Any) -> Iterator[Obj]:
    """The dictionaries of a list; nothing when it is no list."""
    if isinstance(items, list):
        yield from (item for item in items if isinstance(item, dict))


def default_pod(obj: Obj) -> None:
    """A Pod."""
    spec = nested(obj, "spec")
    fill(spec, enableServiceLinks=True)
    _pod_spec(spec)
    for container in (*dicts(spec.get("containers")), *dicts(spec.get("initContainers"))):
        _requests_from_limits(container)
    fill(nested(obj, "status"), phase="Pending", qosClass=_qos_class(spec))


def default_template(spec: Obj) -> None:
    """The ``template`` of a workload's spec, where it has one."""
    template = spec.get("template")
    if isinstance(template, dict):
        nested(template, "metadata")
    if isinstance(template, dict) and isinstance(template.get("spec"), dict):
        _pod_spec(template["spec"])


def _pod_spec(spec: Obj) -> None:
    fill(
        spec,
        restartPolicy="Always",
        dnsPolicy="ClusterFirst",
        schedulerName="default-scheduler",
        terminationGracePeriodSeconds=30,
        securityContext={},
    )
    grace = spec["terminationGracePeriodSeconds"]
    if isinstance(grace, int) and grace < 0:
        spec["terminationGracePeriodSeconds"] = 1
    if spec.get("serviceAccountName"):
        fill(spec, serviceAccount=spec["serviceAccountName"])
    elif spec.get("serviceAccount"):
        fill(spec, serviceAccountName=spec["serviceAccount"])
    host_network = spec.get("hostNetwork") is True
    for group in ("initContainers", "containers", "ephemeralContainers"):
        for container in dicts(spec.get(group)):
            _container(container, host_network)
    for volume in dicts(spec.get("volumes")):
        _volume(volume)


def _container(container: Obj, host_network: bool) -> None:
    fill(
        container,
        terminationMessagePath="/dev/termination-log",
        terminationMessagePolicy="File",
        resources={},
    )
    image = container.get("image")
    if isinstance(image, str):
        fill(container, imagePullPolicy=_pull_policy(image))
    for port in dicts(container.get("ports")):
        fill(port, protocol="TCP")
        if host_network and "containerPort" in port:
            fill(port, hostPort=port["containerPort"])
    for name in ("livenessProbe", "readinessProbe", "startupProbe"):
        probe = container.get(name)
        if isinstance(probe, dict):
            fill_zero(probe, timeoutSeconds=1, periodSeconds=10, successThreshold=1, failureThreshold=3)
            _action(probe)
    lifecycle = container.get("lifecycle")
    if isinstance(lifecycle, dict):
        for hook in ("postStart", "preStop"):
            if isinstance(lifecycle.get(hook), dict):
                _action(lifecycle[hook])
    for variable in dicts(container.get("env")):
        source = variable.get("valueFrom")
        if isinstance(source, dict) and isinstance(source.get("fieldRef"), dict):
            fill(source["fieldRef"], apiVersion="v1")
        if isinstance(source, dict) and isinstance(source.get("resourceFieldRef"), dict):
            fill(source["resourceFieldRef"], divisor="0")


def _action(handler: Obj) -> None:
    if isinstance(handler.get("httpGet"), dict):
        fill(handler["httpGet"], path="/", scheme="HTTP")
    if isinstance(handler.get("grpc"), dict):
        fill(handler["grpc"], service="")


def _pull_policy(image: str) -> str:
    if "@" in image:
        return "IfNotPresent"
    _, colon, tag = image.rpartition("/")[2].partition(":")
    return "Always" if not colon or tag == "latest" else "IfNotPresent"


def _volume(volume: Obj) -> None:
    if set(volume) <= {"name"}:
        volume["emptyDir"] = {}
    for kind in _VOLUME_SOURCES_WITH_MODE:
        if isinstance(volume.get(kind), dict):
            fill(volume[kind], defaultMode=MODE)
    if isinstance(volume.get("hostPath"), dict):
        fill(volume["hostPath"], type="")
    sources = [volume.get("downwardAPI")]
    projected = volume.get("projected")
    if isinstance(projected, dict):
        for source in dicts(projected.get("sources")):
            sources.append(source.get("downwardAPI"))
            if isinstance(source.get("serviceAccountToken"), dict):
                fill(source["serviceAccountToken"], expirationSeconds=3600)
    for downward in sources:
        for item in dicts(downward.get("items") if isinstance(downward, dict) else None):
            if isinstance(item.get("fieldRef"), dict):
                fill(item["fieldRef"], apiVersion="v1")


def _requests_from_limits(container: Obj) -> None:
    resources = container.get("resources")
    if isinstance(resources, dict) and isinstance(resources.get("limits"), dict) and resources["limits"]:
        requests = nested(resources, "requests")
        for name, amount in resources["limits"].items():
            requests.setdefault(name, amount)


def _qos_class(spec: Obj) -> str:
    """Guaranteed, Burstable or BestEffort, by cpu and memory of all containers."""
    is_guaranteed, has_any = True, False
    for container in (*dicts(spec.get("containers")), *dicts(spec.get("initContainers"))):
        resources = container.get("resources")
        resources = resources if isinstance(resources, dict) else {}
        limits, requests = resources.get("limits"), resources.get("requests")
        limits = limits if isinstance(limits, dict) else {}
        requests = requests if isinstance(requests, dict) else {}
        for name in ("cpu", "memory"):
            has_any = has_any or name in limits or name in requests
            is_guaranteed = is_guaranteed and name in limits and requests.get(name) == limits[name]
    if not has_any:
        return "BestEffort"
    return "Guaranteed" if is_guaranteed else "Burstable"
