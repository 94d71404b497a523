"""The children of a Revision as plain objects: its Deployment and its PodAutoscaler. Pure.

Called by ``revision``. Section 1.9 of the reference page, without queue-proxy: the gateway plays it, so the readiness
probe stays on the container (period 0, Knative's own aggressive probing, becomes the shortest period a node knows).

Invariant: the same Revision always gives the same objects.
"""

from __future__ import annotations

import copy
from typing import Any

from standalone.knative.resources import AUTOSCALERS, REVISIONS, head, owner_reference
from wakeful.core.api import knative_serving_names as names
from wakeful.core.api.isvc_problem import mapping, mappings
from wakeful.core.api.knative_serving_defaults import is_serving
from wakeful.kit.kube import DEPLOYMENTS

Obj = dict[str, Any]
USER_PORT = "user-port"
DEFAULT_PORT = 8080
CLASS, METRIC = "autoscaling.knative.dev/class", "autoscaling.knative.dev/metric"
KPA = "kpa.autoscaling.knative.dev"
KNATIVE_FIELDS = (
    "containerConcurrency",
    "timeoutSeconds",
    "responseStartTimeoutSeconds",
    "idleTimeoutSeconds",
)
NOT_INHERITED = (
    names.ROUTING_STATE,
    names.ROUTING_STATE_MODIFIED,
    names.ROUTES,
    "kubectl.kubernetes.io/last-applied-configuration",
)


def deployment_name(revision: str) -> str:
    return names.child_name(revision, "-deployment")


def build_deployment(revision: Obj, replicas: int, progress_deadline_s: float) -> Obj:
    """``<rev>-deployment``; ``replicas`` only counts when it is created (the autoscaler owns it afterwards)."""
    metadata = revision["metadata"]
    owner = owner_reference(REVISIONS, revision)
    found = head(DEPLOYMENTS, owner, metadata["namespace"], deployment_name(metadata["name"]))
    labels, annotations = pod_labels(revision), inherited(metadata.get("annotations"))
    found["metadata"] |= {"labels": labels, "annotations": annotations}
    spec, serving = build_pod_spec(revision)
    found["spec"] = {
        "replicas": replicas,
        "selector": {"matchLabels": {names.REVISION_UID: metadata["uid"]}},
        "progressDeadlineSeconds": int(progress_deadline_s),
        "revisionHistoryLimit": 0,
        "strategy": {"type": "RollingUpdate", "rollingUpdate": {"maxUnavailable": 0, "maxSurge": "25%"}},
        "template": {
            "metadata": {
                "labels": labels,
                "annotations": {**annotations, "kubectl.kubernetes.io/default-container": serving},
            },
            "spec": spec,
        },
    }
    return found


def build_autoscaler(revision: Obj, reachability: str) -> Obj:
    """PodAutoscaler ``<rev>``."""
    metadata, spec = revision["metadata"], revision["spec"]
    found = head(AUTOSCALERS, owner_reference(REVISIONS, revision), metadata["namespace"], metadata["name"])
    annotations = inherited(metadata.get("annotations"))
    if annotations.get(CLASS, KPA) == KPA:
        annotations.setdefault(METRIC, "concurrency")
    found["metadata"] |= {"labels": pod_labels(revision), "annotations": annotations}
    concurrency = spec.get("containerConcurrency")
    found["spec"] = {
        **({"containerConcurrency": concurrency} if concurrency else {}),
        "protocolType": protocol_of(spec),
        "reachability": reachability,
        "scaleTargetRef": {
            "apiVersion": DEPLOYMENTS.api_version,
            "kind": "Deployment",
            "name": deployment_name(metadata["name"]),
        },
    }
    return found


def pod_labels(revision: Obj) -> dict[str, str]:
    """Lineage, the revision itself, and ``app`` unless the user set it."""
    metadata = revision["metadata"]
    inherited_labels = inherited(metadata.get("labels"))
    return {
        "app": metadata["name"],
        **inherited_labels,
        names.REVISION: metadata["name"],
        names.REVISION_UID: metadata["uid"],
    }


def inherited(values: Any) -> dict[str, str]:
    return {key: value for key, value in mapping(values).items() if key not in NOT_INHERITED}


def build_pod_spec(revision: Obj) -> tuple[Obj, str]:
    """The PodSpec and the name of the container that serves."""
    spec = {key: copy.deepcopy(value) for key, value in revision["spec"].items() if key not in KNATIVE_FIELDS}
    spec["terminationGracePeriodSeconds"] = revision["spec"].get("timeoutSeconds") or 300
    identity = _identity(revision)
    containers = mappings(spec.get("containers"))
    serving = next((c for c in containers if is_serving(c, containers)), containers[0])
    for container in containers:
        container["env"] = [*mappings(container.get("env")), *identity]
        container.setdefault("terminationMessagePolicy", "FallbackToLogsOnError")
    _shape_serving(serving)
    return spec, serving["name"]


def _shape_serving(container: Obj) -> None:
    ports = mappings(container.get("ports"))
    name = str(ports[0].get("name") or "") if ports else ""
    port = (ports[0].get("containerPort") if ports else None) or DEFAULT_PORT
    container["ports"] = [{"name": USER_PORT, "containerPort": port, "protocol": "TCP"}]
    container["env"] = [*container["env"], {"name": "PORT", "value": str(port)}]
    for key in ("readinessProbe", "livenessProbe", "startupProbe"):
        probe = container.get(key)
        if isinstance(probe, dict):
            _aim_probe(probe, name, port)
    readiness = container.get("readinessProbe")
    if isinstance(readiness, dict) and not readiness.get("periodSeconds"):
        readiness |= {"periodSeconds": 1, "timeoutSeconds": 1, "failureThreshold": 3}


def _aim_probe(probe: Obj, port_name: str, port: int) -> None:
    for handler in ("httpGet", "tcpSocket", "grpc"):
        target = probe.get(handler)
        if isinstance(target, dict) and target.get("port") in (None, 0, "", "0", port_name, USER_PORT):
            target["port"] = port


def _identity(revision: Obj) -> list[Obj]:
    labels = mapping(revision["metadata"].get("labels"))
    return [
        {"name": "K_REVISION", "value": revision["metadata"]["name"]},
        {"name": "K_CONFIGURATION", "value": labels.get(names.CONFIGURATION, "")},
        {"name": "K_SERVICE", "value": labels.get(names.SERVICE, "")},
    ]


def protocol_of(spec: Obj) -> str:
    """``h2c`` or ``http1``, from the name of the container port."""
    for container in mappings(spec.get("containers")):
        for port in mappings(container.get("ports")):
            return "h2c" if port.get("name") == "h2c" else "http1"
    return "http1"
