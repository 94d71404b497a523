"""What Kubernetes checks in built-in kinds beyond types: the mistakes people make most, refused in its words.

Called by the write path after decoding and defaulting. Here are the table of checks, the fields that may not change,
and the kinds without pods; workloads are in ``core_checks_workload``. Left out: most of the thousands of rules of a
real API server (docs/reference/parity.md says so).

Invariant: total on any JSON; an object that a real API server takes is never refused here.
"""

from __future__ import annotations

import base64
import json
from collections.abc import Callable
from typing import Any

from standalone.apiserver.kinds import Kind
from standalone.apiserver.schema import core_checks_network as network
from standalone.apiserver.schema import core_checks_records as records
from standalone.apiserver.schema import core_checks_storage as storage
from standalone.apiserver.schema import core_checks_workload as workload
from standalone.apiserver.schema import failure, names
from standalone.apiserver.schema.core_checks_pod import (
    check_pod_spec,
    part,
)
from standalone.apiserver.schema.core_defaults_pod import dicts
from standalone.apiserver.schema.failure import FieldError

Obj = dict[str, Any]
Errors = list[FieldError]
MAX_DATA_BYTES = 1024 * 1024
_RBAC = "rbac.authorization.k8s.io"
MAX_PRIORITY = 1_000_000_000


def check_core(kind: Kind, obj: Obj) -> list[FieldError]:
    """What is wrong with a built-in object whose types are already right."""
    check = _CHECKS.get((kind.group, kind.kind))
    errors: list[FieldError] = []
    if check is not None:
        check(obj, errors)
    return errors


def immutable_errors(kind: Kind, old: Obj, new: Obj) -> list[FieldError]:
    """The fields of a built-in kind that an update changed though they are fixed at creation."""
    errors = []
    for path in _IMMUTABLE.get((kind.group, kind.kind), ()):
        before, after = _at(old, path), _at(new, path)
        if before is not None and before != after:
            errors.append(failure.invalid(path, after, _IMMUTABLE_WORDS.get(path, "field is immutable")))
    if kind.group == "" and kind.kind in ("ConfigMap", "Secret") and old.get("immutable") is True:
        for field in ("data", "binaryData", "immutable"):
            if old.get(field) != new.get(field):
                errors.append(failure.forbidden(field, "field is immutable when `immutable` is set"))
    is_job = (kind.group, kind.kind) == ("batch", "Job") and _at(old, "spec.suspend") is not True
    if is_job and _at(old, "spec.template") != _at(new, "spec.template"):
        errors.append(failure.invalid("spec.template", "{...}", "field is immutable"))
    if (kind.group, kind.kind) == ("", "PersistentVolumeClaim") and _fixed(old) != _fixed(new):
        why = "spec is immutable after creation except resources.requests and volumeAttributesClassName for bound claims"
        errors.append(failure.forbidden("spec", why))
    return errors


_IMMUTABLE = {
    ("apps", "Deployment"): ("spec.selector",),
    ("apps", "ReplicaSet"): ("spec.selector",),
    ("apps", "DaemonSet"): ("spec.selector",),
    ("apps", "StatefulSet"): ("spec.selector", "spec.serviceName", "spec.podManagementPolicy"),
    ("batch", "Job"): ("spec.selector", "spec.completionMode", "spec.completions"),
    ("", "Secret"): ("type",),
    ("storage.k8s.io", "StorageClass"): ("provisioner", "parameters", "reclaimPolicy", "volumeBindingMode"),
    ("scheduling.k8s.io", "PriorityClass"): ("value", "preemptionPolicy"),
    ("rbac.authorization.k8s.io", "RoleBinding"): ("roleRef",),
    ("rbac.authorization.k8s.io", "ClusterRoleBinding"): ("roleRef",),
}
_IMMUTABLE_WORDS = {
    "roleRef": "cannot change roleRef",
    "provisioner": "updates to provisioner are forbidden.",
}
_CLAIM_CHANGEABLE = ("resources", "volumeAttributesClassName", "volumeName")


def _fixed(claim: Obj) -> Obj:
    return {key: value for key, value in part(claim, "spec").items() if key not in _CLAIM_CHANGEABLE}


def _at(obj: Any, path: str) -> Any:
    for key in path.split("."):
        obj = obj.get(key) if isinstance(obj, dict) else None
    return obj


def _pod(obj: Obj, errors: Errors) -> None:
    if isinstance(obj.get("spec"), dict):
        check_pod_spec(obj["spec"], "spec", errors)
    else:
        errors.append(failure.required("spec.containers"))


def _config_map(obj: Obj, errors: Errors) -> None:
    text, binary = part(obj, "data"), part(obj, "binaryData")
    for field, held in (("data", text), ("binaryData", binary)):
        for key in held:
            if why := names.config_key_problem(key):
                errors.append(failure.invalid(f"{field}[{key}]", key, why))
    for key in text.keys() & binary.keys():
        errors.append(failure.invalid(f"data[{key}]", key, "duplicate of key present in binaryData"))
    size = sum(len(str(value).encode()) for value in text.values())
    size += sum(len(str(value)) * 3 // 4 for value in binary.values())
    if size > MAX_DATA_BYTES:
        errors.append(failure.too_long("", MAX_DATA_BYTES))


_SECRET_KEYS = {
    "kubernetes.io/dockercfg": (".dockercfg",),
    "kubernetes.io/dockerconfigjson": (".dockerconfigjson",),
    "kubernetes.io/ssh-auth": ("ssh-privatekey",),
    "kubernetes.io/tls": ("tls.crt", "tls.key"),
}


_ACCOUNT = "kubernetes.io/service-account.name"


def _secret(obj: Obj, errors: Errors) -> None:
    data = part(obj, "data")
    for key in data:
        if why := names.config_key_problem(key):
            errors.append(failure.invalid(f"data[{key}]", key, why))
    if sum(len(str(value)) * 3 // 4 for value in data.values()) > MAX_DATA_BYTES:
        errors.append(failure.too_long("data", MAX_DATA_BYTES))
    kind = obj.get("type")
    annotations = part(part(obj, "metadata"), "annotations")
    if kind == "kubernetes.io/service-account-token" and not annotations.get(_ACCOUNT):
        errors.append(failure.required(f"metadata.annotations[{_ACCOUNT}]"))
    for key in _SECRET_KEYS.get(str(kind), ()):
        if key not in data:
            errors.append(failure.required(f"data[{key}]"))
        elif key.startswith(".") and not _is_json_object(data[key]):
            errors.append(
                failure.invalid(f"data[{key}]", "<secret contents redacted>", "must be a JSON object")
            )
    if kind == "kubernetes.io/basic-auth" and not data.keys() & {"username", "password"}:
        errors += [failure.required("data[username]"), failure.required("data[password]")]


def _is_json_object(text: Any) -> bool:
    try:
        return isinstance(json.loads(base64.b64decode(text)), dict)
    except (ValueError, TypeError):
        return False


def _cluster_role(obj: Obj, errors: Errors) -> None:
    _role(obj, errors, is_namespaced=False)


def _role(obj: Obj, errors: Errors, is_namespaced: bool = True) -> None:
    for number, rule in enumerate(dicts(obj.get("rules"))):
        path = f"rules[{number}]"
        if rule.get("verbs") == []:  # absent ones are the schema's to refuse
            errors.append(failure.required(f"{path}.verbs", "verbs must contain at least one value"))
        if rule.get("nonResourceURLs"):
            if is_namespaced:
                why = "namespaced rules cannot apply to non-resource URLs"
                errors.append(failure.invalid(f"{path}.nonResourceURLs", rule["nonResourceURLs"], why))
            continue
        if not rule.get("apiGroups"):
            why = "resource rules must supply at least one api group"
            errors.append(failure.required(f"{path}.apiGroups", why))
        if not rule.get("resources"):
            why = "resource rules must supply at least one resource"
            errors.append(failure.required(f"{path}.resources", why))


def _binding(obj: Obj, errors: Errors) -> None:
    target = part(obj, "roleRef")
    if target.get("kind") not in ("Role", "ClusterRole"):
        errors.append(failure.not_supported("roleRef.kind", target.get("kind", ""), ["Role", "ClusterRole"]))
    if not target.get("name"):
        errors.append(failure.required("roleRef.name"))
    if target.get("apiGroup") not in (None, "", _RBAC):
        errors.append(failure.not_supported("roleRef.apiGroup", target["apiGroup"], [_RBAC]))
    for number, subject in enumerate(dicts(obj.get("subjects"))):
        path, kind = f"subjects[{number}]", subject.get("kind")
        if not subject.get("name"):
            errors.append(failure.required(f"{path}.name"))
        if kind not in ("ServiceAccount", "User", "Group"):
            known = ["ServiceAccount", "User", "Group"]
            errors.append(failure.not_supported(f"{path}.kind", kind or "", known))
        elif kind == "ServiceAccount" and not subject.get("namespace"):
            errors.append(failure.required(f"{path}.namespace"))


def _priority(obj: Obj, errors: Errors) -> None:
    value = obj.get("value")
    name = str(part(obj, "metadata").get("name", ""))
    if isinstance(value, int) and value > MAX_PRIORITY and not name.startswith("system-"):
        why = f"maximum allowed value of a user defined priority is {MAX_PRIORITY}"
        errors.append(failure.forbidden("value", why))
    policy = obj.get("preemptionPolicy")
    if policy not in (None, "", *_PREEMPTION):
        errors.append(failure.not_supported("preemptionPolicy", policy, list(_PREEMPTION)))


_PREEMPTION = ("PreemptLowerPriority", "Never")
_RECLAIM = ("Delete", "Retain")
_BINDING = ("Immediate", "WaitForFirstConsumer")


def _storage_class(obj: Obj, errors: Errors) -> None:
    for key, known in (("reclaimPolicy", _RECLAIM), ("volumeBindingMode", _BINDING)):
        if obj.get(key) not in (None, "", *known):
            errors.append(failure.not_supported(key, obj[key], list(known)))


_CHECKS: dict[tuple[str, str], Callable[[Obj, Errors], None]] = {
    ("", "Pod"): _pod,
    ("", "Service"): network.check_service,
    ("", "ConfigMap"): _config_map,
    ("", "Secret"): _secret,
    ("", "PersistentVolumeClaim"): storage.check_claim,
    ("", "PersistentVolume"): storage.check_volume,
    ("", "Event"): records.check_event,
    ("events.k8s.io", "Event"): records.check_new_event,
    ("", "Endpoints"): network.check_endpoints,
    ("discovery.k8s.io", "EndpointSlice"): network.check_slice,
    ("coordination.k8s.io", "Lease"): records.check_lease,
    ("apps", "Deployment"): workload.check_deployment,
    ("apps", "ReplicaSet"): workload.check_replica_set,
    ("apps", "StatefulSet"): workload.check_stateful_set,
    ("apps", "DaemonSet"): workload.check_daemon_set,
    ("batch", "Job"): workload.check_job,
    ("batch", "CronJob"): workload.check_cron_job,
    ("autoscaling", "HorizontalPodAutoscaler"): workload.check_autoscaler,
    ("policy", "PodDisruptionBudget"): workload.check_budget,
    ("rbac.authorization.k8s.io", "Role"): _role,
    ("rbac.authorization.k8s.io", "ClusterRole"): _cluster_role,
    ("rbac.authorization.k8s.io", "RoleBinding"): _binding,
    ("rbac.authorization.k8s.io", "ClusterRoleBinding"): _binding,
    ("networking.k8s.io", "Ingress"): network.check_ingress,
    ("scheduling.k8s.io", "PriorityClass"): _priority,
    ("storage.k8s.io", "StorageClass"): _storage_class,
    ("networking.k8s.io", "NetworkPolicy"): network.check_policy,
}
