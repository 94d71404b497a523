"""Defaults of the built-in kinds, as the Kubernetes API server fills them in before it stores an object.

Called by the write path of built-in kinds after pruning (custom resources have theirs in the schema). Pods and pod
templates are in ``core_defaults_pod``. Left out: what needs the cluster (cluster IPs, service account, node name).

Invariant: idempotent; a value that the user gave is never changed (a Secret's ``stringData`` moves into ``data``, a
Namespace gets its name label).
"""

from __future__ import annotations

import base64
from collections.abc import Callable
from typing import Any

from standalone.apiserver.kinds import Kind
from standalone.apiserver.schema import core, structural
from standalone.apiserver.schema.core_defaults_pod import (
    default_pod,
    default_template,
    dicts,
    fill,
    fill_zero,
    nested,
)

Obj = dict[str, Any]
_RBAC = "rbac.authorization.k8s.io"


def default_core(kind: Kind, obj: Obj) -> None:
    """Fill in the defaults of a built-in kind, in place; other kinds are left alone.

    Nulls go and quantities become text first, as in the schema's own defaulting.
    """
    schema = core.core_schema(kind.group, kind.version, kind.kind)
    if schema is not None:
        structural.apply_defaults(schema, obj)
    default = _DEFAULTS.get((kind.group, kind.kind))
    if default is not None:
        default(obj)


def _service(obj: Obj) -> None:
    spec = nested(obj, "spec")
    fill(spec, sessionAffinity="None", type="ClusterIP")
    fill(nested(obj, "status"), loadBalancer={})
    if spec["type"] == "ExternalName":
        return _service_ports(spec)
    fill(spec, internalTrafficPolicy="Cluster")
    if spec["type"] in ("NodePort", "LoadBalancer"):
        fill(spec, externalTrafficPolicy="Cluster")
    if spec["type"] == "LoadBalancer":
        fill(spec, allocateLoadBalancerNodePorts=True)
    if spec["sessionAffinity"] == "ClientIP":
        fill(nested(nested(spec, "sessionAffinityConfig"), "clientIP"), timeoutSeconds=10800)
    return _service_ports(spec)


def _service_ports(spec: Obj) -> None:
    for port in dicts(spec.get("ports")):
        fill(port, protocol="TCP")
        if "port" in port:
            fill_zero(port, targetPort=port["port"])


def _rolling(strategy: Obj, max_surge: str | int, max_unavailable: str | int) -> None:
    fill(strategy, type="RollingUpdate")
    if strategy["type"] == "RollingUpdate":
        fill(nested(strategy, "rollingUpdate"), maxSurge=max_surge, maxUnavailable=max_unavailable)


def _deployment(obj: Obj) -> None:
    spec = nested(obj, "spec")
    nested(obj, "status")
    fill(spec, replicas=1, revisionHistoryLimit=10, progressDeadlineSeconds=600)
    _rolling(nested(spec, "strategy"), "25%", "25%")
    default_template(spec)


def _replica_set(obj: Obj) -> None:
    spec = nested(obj, "spec")
    fill(spec, replicas=1)
    fill(nested(obj, "status"), replicas=0)
    default_template(spec)


def _replication_controller(obj: Obj) -> None:
    spec = nested(obj, "spec")
    template = spec.get("template")
    labels = (template.get("metadata") or {}).get("labels") if isinstance(template, dict) else None
    fill(spec, replicas=1, **({"selector": labels} if isinstance(labels, dict) and labels else {}))
    if isinstance(labels, dict) and labels:
        fill(nested(obj, "metadata"), labels=dict(labels))
    fill(nested(obj, "status"), replicas=0)
    default_template(spec)


def _stateful_set(obj: Obj) -> None:
    spec = nested(obj, "spec")
    fill(spec, replicas=1, podManagementPolicy="OrderedReady", revisionHistoryLimit=10)
    fill(nested(obj, "status"), replicas=0, availableReplicas=0)
    fill(nested(spec, "persistentVolumeClaimRetentionPolicy"), whenDeleted="Retain", whenScaled="Retain")
    strategy = nested(spec, "updateStrategy")
    fill(strategy, type="RollingUpdate")
    if strategy["type"] == "RollingUpdate":
        fill(nested(strategy, "rollingUpdate"), partition=0)
    for claim in dicts(spec.get("volumeClaimTemplates")):
        fill(claim, apiVersion="v1", kind="PersistentVolumeClaim")
        _claim(claim)
    default_template(spec)


def _daemon_set(obj: Obj) -> None:
    spec = nested(obj, "spec")
    fill(spec, revisionHistoryLimit=10)
    status = nested(obj, "status")
    fill(status, currentNumberScheduled=0, numberMisscheduled=0, desiredNumberScheduled=0, numberReady=0)
    _rolling(nested(spec, "updateStrategy"), 0, 1)
    default_template(spec)


def _job_spec(spec: Obj) -> None:
    if "completions" not in spec and "parallelism" not in spec:
        fill(spec, completions=1)
    fill(
        spec, parallelism=1, backoffLimit=6, completionMode="NonIndexed", suspend=False, manualSelector=False
    )
    fill(spec, podReplacementPolicy="TerminatingOrFailed")
    default_template(spec)


def _job(obj: Obj) -> None:
    nested(obj, "status")
    _job_spec(nested(obj, "spec"))


def _cron_job(obj: Obj) -> None:
    spec = nested(obj, "spec")
    fill(spec, concurrencyPolicy="Allow", suspend=False)
    fill(spec, successfulJobsHistoryLimit=3, failedJobsHistoryLimit=1)
    nested(obj, "status")
    nested(nested(spec, "jobTemplate"), "metadata")
    default_template(nested(nested(spec, "jobTemplate"), "spec"))


def _autoscaler(obj: Obj) -> None:
    spec = nested(obj, "spec")
    target = {"type": "Utilization", "averageUtilization": 80}
    fill(nested(obj, "status"), desiredReplicas=0)
    fill(spec, minReplicas=1, metrics=[{"type": "Resource", "resource": {"name": "cpu", "target": target}}])


def _budget(obj: Obj) -> None:
    status = nested(obj, "status")
    fill(status, disruptionsAllowed=0, currentHealthy=0, desiredHealthy=0, expectedPods=0)


def _event(obj: Obj) -> None:
    fill(obj, source={}, reportingComponent="", reportingInstance="")


def _claim(obj: Obj) -> None:
    fill(nested(obj, "spec"), volumeMode="Filesystem")
    fill(nested(obj, "status"), phase="Pending")


def _volume(obj: Obj) -> None:
    fill(nested(obj, "spec"), persistentVolumeReclaimPolicy="Retain", volumeMode="Filesystem")
    spec = nested(obj, "spec")
    if isinstance(spec.get("hostPath"), dict):
        fill(spec["hostPath"], type="")
    fill(nested(obj, "status"), phase="Pending")


def _namespace(obj: Obj) -> None:
    fill(nested(obj, "status"), phase="Active")
    metadata = nested(obj, "metadata")
    if isinstance(metadata.get("name"), str):
        nested(metadata, "labels")["kubernetes.io/metadata.name"] = metadata["name"]


def _secret(obj: Obj) -> None:
    fill(obj, type="Opaque")
    plain = obj.pop("stringData", None)
    if isinstance(plain, dict):
        data = nested(obj, "data")
        for key, text in plain.items():
            data[key] = base64.b64encode(str(text).encode()).decode()


def _endpoints(obj: Obj) -> None:
    for subset in dicts(obj.get("subsets")):
        for port in dicts(subset.get("ports")):
            fill(port, protocol="TCP")


def _endpoint_slice(obj: Obj) -> None:
    for port in dicts(obj.get("ports")):
        fill(port, name="", protocol="TCP")


def _network_policy(obj: Obj) -> None:
    spec = nested(obj, "spec")
    if "policyTypes" not in spec:
        spec["policyTypes"] = ["Ingress", "Egress"] if spec.get("egress") else ["Ingress"]
    for rule in (*dicts(spec.get("ingress")), *dicts(spec.get("egress"))):
        for port in dicts(rule.get("ports")):
            fill(port, protocol="TCP")


def _binding(obj: Obj) -> None:
    if isinstance(obj.get("roleRef"), dict):
        fill(obj["roleRef"], apiGroup=_RBAC)
    for subject in dicts(obj.get("subjects")):
        if subject.get("kind") in ("User", "Group"):
            fill(subject, apiGroup=_RBAC)


def _webhooks(obj: Obj, **more: Any) -> None:
    for hook in dicts(obj.get("webhooks")):
        fill(hook, failurePolicy="Fail", matchPolicy="Equivalent", timeoutSeconds=10, **more)
        fill(hook, namespaceSelector={}, objectSelector={})
        for rule in dicts(hook.get("rules")):
            fill(rule, scope="*")
        config = hook.get("clientConfig")
        if isinstance(config, dict) and isinstance(config.get("service"), dict):
            fill(config["service"], port=443)


def _definition(obj: Obj) -> None:
    spec = nested(obj, "spec")
    names = nested(spec, "names")
    if isinstance(names.get("kind"), str):
        fill(names, singular=names["kind"].lower(), listKind=names["kind"] + "List")
    conversion = nested(spec, "conversion")
    fill(conversion, strategy="None")
    config = (conversion.get("webhook") or {}).get("clientConfig") if conversion.get("webhook") else None
    if isinstance(config, dict) and isinstance(config.get("service"), dict):
        fill(config["service"], port=443)


_DEFAULTS: dict[tuple[str, str], Callable[[Obj], None]] = {
    ("", "Pod"): default_pod,
    ("", "Service"): _service,
    ("", "Namespace"): _namespace,
    ("", "Secret"): _secret,
    ("", "PersistentVolumeClaim"): _claim,
    ("", "PersistentVolume"): _volume,
    ("", "Endpoints"): _endpoints,
    ("", "Event"): _event,
    ("", "PodTemplate"): default_template,
    ("", "ResourceQuota"): lambda obj: fill(obj, status={}),
    ("policy", "PodDisruptionBudget"): _budget,
    ("networking.k8s.io", "Ingress"): lambda obj: fill(nested(obj, "status"), loadBalancer={}),
    ("discovery.k8s.io", "EndpointSlice"): _endpoint_slice,
    ("apps", "Deployment"): _deployment,
    ("", "ReplicationController"): _replication_controller,
    ("apps", "ReplicaSet"): _replica_set,
    ("apps", "StatefulSet"): _stateful_set,
    ("apps", "DaemonSet"): _daemon_set,
    ("batch", "Job"): _job,
    ("batch", "CronJob"): _cron_job,
    ("autoscaling", "HorizontalPodAutoscaler"): _autoscaler,
    ("networking.k8s.io", "NetworkPolicy"): _network_policy,
    (_RBAC, "RoleBinding"): _binding,
    (_RBAC, "ClusterRoleBinding"): _binding,
    ("storage.k8s.io", "StorageClass"): lambda obj: fill(
        obj, reclaimPolicy="Delete", volumeBindingMode="Immediate"
    ),
    ("scheduling.k8s.io", "PriorityClass"): lambda obj: fill(obj, preemptionPolicy="PreemptLowerPriority"),
    ("admissionregistration.k8s.io", "ValidatingWebhookConfiguration"): _webhooks,
    ("admissionregistration.k8s.io", "MutatingWebhookConfiguration"): lambda obj: _webhooks(
        obj, reinvocationPolicy="Never"
    ),
    ("apiextensions.k8s.io", "CustomResourceDefinition"): _definition,
}
