"""What Knative's mutating webhook fills in: revision spec, probes, names, traffic.

Called by admission on every create and update (unless a named template did not change: then new defaults must not
make a difference). Sections 1.5 and 1.8 of the reference page.

Invariant: defaulting twice is defaulting once, and a value that the user set is never changed (but 0 in
``timeoutSeconds``, which means "use the default").
"""

from __future__ import annotations

from typing import Any

from wakeful.core.api.isvc_problem import mapping, mappings
from wakeful.core.api.knative_serving_config import Defaults

Obj = dict[str, Any]
WRITABLE_SOURCES = ("emptyDir", "ephemeral", "persistentVolumeClaim")


def default_revision_spec(spec: Obj, defaults: Defaults) -> None:
    """Fill a RevisionSpec in place."""
    if not spec.get("timeoutSeconds"):
        spec["timeoutSeconds"] = defaults.timeout_s
    if spec.get("containerConcurrency") is None:
        spec["containerConcurrency"] = defaults.concurrency
    limit_s, start_s = spec["timeoutSeconds"], defaults.response_start_timeout_s
    is_long = isinstance(limit_s, int) and 0 < start_s < limit_s
    if is_long and not spec.get("responseStartTimeoutSeconds"):
        spec["responseStartTimeoutSeconds"] = start_s
    if not spec.get("idleTimeoutSeconds") and defaults.idle_timeout_s > 0:
        spec["idleTimeoutSeconds"] = defaults.idle_timeout_s
    if spec.get("enableServiceLinks") is None:
        spec["enableServiceLinks"] = defaults.enable_service_links
    containers = mappings(spec.get("containers"))
    initial = mappings(spec.get("initContainers"))
    _default_names(containers, defaults.container_name)
    _default_names(initial, defaults.init_container_name)
    writable = {
        str(volume.get("name"))
        for volume in mappings(spec.get("volumes"))
        if any(source in volume for source in WRITABLE_SOURCES)
    }
    for container in containers:
        _default_container(container, defaults, writable, is_serving=is_serving(container, containers))
    for container in initial:
        _default_mounts(container, writable)


def is_serving(container: Obj, containers: list[Obj]) -> bool:
    """Whether ``container`` is the one that answers requests: the only one, or the one with ports."""
    return len(containers) == 1 or bool(container.get("ports"))


def _default_names(containers: list[Obj], name: str) -> None:
    taken = {str(container.get("name")) for container in containers}
    if len(containers) == 1:
        containers[0]["name"] = containers[0].get("name") or name
        return
    number = 0
    for container in containers:
        if container.get("name"):
            continue
        while f"{name}-{number}" in taken:
            number += 1
        container["name"] = f"{name}-{number}"
        taken.add(container["name"])


def _default_container(container: Obj, defaults: Defaults, writable: set[str], is_serving: bool) -> None:
    resources = container.setdefault("resources", {})
    for kind, amounts in (("requests", defaults.requests), ("limits", defaults.limits)):
        given = mapping(mapping(resources).get(kind))
        if amounts and isinstance(resources, dict):
            resources[kind] = {**amounts, **given}
    _default_mounts(container, writable)
    if is_serving:
        _default_readiness(container)
    for key in ("readinessProbe", "livenessProbe", "startupProbe"):
        probe = container.get(key)
        if isinstance(probe, dict):
            _default_probe(probe, is_aggressive=key == "readinessProbe" and not probe.get("periodSeconds"))


def _default_mounts(container: Obj, writable: set[str]) -> None:
    for mount in mappings(container.get("volumeMounts")):
        if str(mount.get("name")) not in writable:
            mount.setdefault("readOnly", True)


def _default_readiness(container: Obj) -> None:
    probe = container.setdefault("readinessProbe", {})
    if isinstance(probe, dict) and not any(key in probe for key in ("tcpSocket", "httpGet", "exec", "grpc")):
        probe["tcpSocket"] = {"port": 0}


def _default_probe(probe: Obj, is_aggressive: bool) -> None:
    probe["successThreshold"] = probe.get("successThreshold") or 1
    if not is_aggressive:
        probe["periodSeconds"] = probe.get("periodSeconds") or 10
        probe["failureThreshold"] = probe.get("failureThreshold") or 3
        probe["timeoutSeconds"] = probe.get("timeoutSeconds") or 1


def default_traffic(traffic: list[Any], is_service: bool) -> list[Any]:
    """A Service's empty block becomes one entry; ``latestRevision`` is the opposite of "names a revision"."""
    if not traffic and is_service:
        return [{"latestRevision": True, "percent": 100}]
    for entry in traffic:
        if isinstance(entry, dict) and entry.get("latestRevision") is None:
            entry["latestRevision"] = not entry.get("revisionName")
    return traffic
