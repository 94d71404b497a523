"""The world of the scale simulation: the InferenceServices, and what a real Knative would write for their children. Pure.

Called by ``scale`` (which creates the InferenceServices) and ``_scale_knative`` (which plays Knative). The writes and
their order are those a real node showed (Knative Serving 0.48 with Kourier): four statuses of a Service, the Route's own
Ingress with two, a pod with three, and two statuses of our Ingress. Delays are drawn from a seeded generator that is
passed in. Left out: Configurations, Revisions, Routes, Deployments, which the controller does not watch.
Invariant: the same seed and the same InferenceServices give the same writes in the same order for each object.
"""

from __future__ import annotations

from dataclasses import dataclass
from random import Random
from typing import Any

Obj = dict[str, Any]

NAMESPACES = 100
ISVC_LABEL = "serving.kserve.io/inferenceservice"
AT = "2026-11-21T00:00:00Z"
DOMAIN = "example.test"
INGRESS_CLASS = "kourier.ingress.networking.knative.dev"


@dataclass(frozen=True, slots=True)
class Step:
    """One write of the fake Knative: so many seconds after the one before it."""

    after_s: float
    action: str
    """``status`` of the object itself, or ``ingress``, ``ingress-status``, ``pod``, ``pod-status``, ``pod-gone``."""
    body: Obj


def namespace_of(number: int) -> str:
    return f"team-{number % NAMESPACES:03d}"


def build_service(number: int) -> Obj:
    """InferenceService ``number``: a scikit-learn model in a bucket, asleep when nobody asks."""
    return {
        "apiVersion": "serving.kserve.io/v1beta1",
        "kind": "InferenceService",
        "metadata": {"name": f"model-{number:05d}", "namespace": namespace_of(number)},
        "spec": {
            "predictor": {
                "minReplicas": 0,
                "model": {
                    "modelFormat": {"name": "sklearn"},
                    "storageUri": f"s3://models/team/{number:05d}/v1",
                    "resources": {"requests": {"cpu": "100m", "memory": "256Mi"}},
                },
            }
        },
    }


def condition(kind: str, status: str, reason: str = "", message: str = "") -> Obj:
    found = {"type": kind, "status": status, "lastTransitionTime": AT}
    return found | ({"reason": reason, "message": message} if reason else {})


def plan_service(ksvc: Obj, random: Random, with_pod: bool) -> list[Step]:
    """What Knative writes for one generation of a Service, in order."""
    metadata = ksvc["metadata"]
    name, namespace, generation = metadata["name"], metadata["namespace"], metadata["generation"]
    revision = f"{name}-{generation:05d}"
    before = (ksvc.get("status") or {}).get("latestReadyRevisionName")
    states = ("ConfigurationsReady", "RoutesReady", "Ready")
    waiting = [condition(kind, "Unknown", "Deploying", "starting") for kind in states]
    begun: Obj = {"observedGeneration": generation, "conditions": waiting}
    if before:
        begun = {**ksvc["status"], **begun}
    named = {**begun, "latestCreatedRevisionName": revision}
    rolled = {
        **named,
        "latestReadyRevisionName": revision,
        "conditions": [condition("ConfigurationsReady", "True"), *waiting[1:]],
    }
    url = f"http://{name}.{namespace}.{DOMAIN}"
    done = {
        **rolled,
        "url": url,
        "address": {"url": f"http://{name}.{namespace}.svc.cluster.local"},
        "traffic": [{"latestRevision": True, "percent": 100, "revisionName": revision}],
        "conditions": [condition(kind, "True") for kind in states],
    }
    steps = [Step(random.uniform(0.02, 0.2), "status", begun), Step(0.05, "status", named)]
    steps += _pod_steps(ksvc, revision, random) if with_pod else []
    steps.append(Step(random.uniform(0.05, 0.3), "status", rolled))
    steps += _route_steps(ksvc, revision) if not before else []
    steps.append(Step(random.uniform(0.05, 0.3), "status", done))
    if with_pod:
        steps.append(Step(random.uniform(5, 15), "pod-gone", {"name": f"{revision}-deployment-0"}))
    return steps


def _pod_steps(ksvc: Obj, revision: str, random: Random) -> list[Step]:
    template = ksvc["spec"]["template"]
    metadata = {
        "name": f"{revision}-deployment-0",
        "namespace": ksvc["metadata"]["namespace"],
        "labels": {
            **(template["metadata"].get("labels") or {}),
            **(ksvc["metadata"].get("labels") or {}),
            "serving.knative.dev/revision": revision,
        },
        "annotations": template["metadata"].get("annotations") or {},
    }
    containers = [_container(item) for item in template["spec"]["containers"]]
    queue = {"name": "queue-proxy", "image": "queue:1", "ports": [{"containerPort": 8012}]}
    pod = {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": metadata,
        "spec": {"containers": [*containers, queue]},
    }
    names = [item["name"] for item in (*containers, queue)]
    return [
        Step(0.05, "pod", pod),
        Step(0.1, "pod-status", _pod_status("Pending", names, is_ready=False)),
        Step(random.uniform(0.5, 2.0), "pod-status", _pod_status("Running", names, is_ready=False)),
        Step(random.uniform(0.5, 2.0), "pod-status", _pod_status("Running", names, is_ready=True)),
    ]


def _container(item: Obj) -> Obj:
    kept: Obj = {key: item[key] for key in ("name", "image", "args", "env", "resources") if key in item}
    return {**kept, "ports": [{"containerPort": 8080, "name": "user-port"}]}


def _pod_status(phase: str, names: list[str], is_ready: bool) -> Obj:
    state: Obj = (
        {"running": {"startedAt": AT}} if phase == "Running" else {"waiting": {"reason": "ContainerCreating"}}
    )
    containers = [
        {"name": name, "image": "i", "imageID": "", "ready": is_ready, "restartCount": 0, "state": state}
        for name in names
    ]
    flag = "True" if is_ready else "False"
    return {
        "phase": phase,
        "startTime": AT,
        "conditions": [condition("PodScheduled", "True"), condition("Ready", flag)],
        "containerStatuses": containers,
    }


def _route_steps(ksvc: Obj, revision: str) -> list[Step]:
    metadata = ksvc["metadata"]
    name, namespace = metadata["name"], metadata["namespace"]
    rules = [
        _rule(
            [f"{name}.{namespace}", f"{name}.{namespace}.svc.cluster.local"],
            "ClusterLocal",
            revision,
            namespace,
        ),
        _rule([f"{name}.{namespace}.{DOMAIN}"], "ExternalIP", revision, namespace),
    ]
    ingress = {
        "apiVersion": "networking.internal.knative.dev/v1alpha1",
        "kind": "Ingress",
        "metadata": {
            "name": name,
            "namespace": namespace,
            "labels": {**(metadata.get("labels") or {}), "serving.knative.dev/route": name},
            "annotations": {"networking.knative.dev/ingress.class": INGRESS_CLASS},
        },
        "spec": {"httpOption": "Enabled", "rules": rules},
    }
    return [
        Step(0.05, "ingress", ingress),
        Step(0.05, "ingress-status", ingress_status("Unknown", 1)),
        Step(0.1, "ingress-status", ingress_status("True", 1)),
    ]


def _rule(hosts: list[str], visibility: str, revision: str, namespace: str) -> Obj:
    split = {
        "percent": 100,
        "serviceName": revision,
        "serviceNamespace": namespace,
        "servicePort": 80,
        "appendHeaders": {"Knative-Serving-Namespace": namespace, "Knative-Serving-Revision": revision},
    }
    return {"hosts": hosts, "visibility": visibility, "http": {"paths": [{"splits": [split]}]}}


def ingress_status(state: str, generation: int) -> Obj:
    gateway = [{"domainInternal": "kourier-internal.kourier-system.svc.cluster.local"}]
    status: Obj = {
        "observedGeneration": generation,
        "conditions": [
            condition(kind, state) for kind in ("NetworkConfigured", "LoadBalancerReady", "Ready")
        ],
    }
    if state == "True":
        status["publicLoadBalancer"] = {"ingress": gateway}
        status["privateLoadBalancer"] = {"ingress": gateway}
    return status


def plan_ingress(ingress: Obj, random: Random) -> list[Step]:
    """What Kourier writes for one generation of an Ingress that Knative's Route did not make."""
    generation = ingress["metadata"]["generation"]
    return [
        Step(random.uniform(0.02, 0.1), "status", ingress_status("Unknown", generation)),
        Step(random.uniform(0.05, 0.3), "status", ingress_status("True", generation)),
    ]
