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
from standalone.apiserver.schema import core_checks_workload as workload
from standalone.apiserver.schema import failure, names, quantities
from standalone.apiserver.schema.core_checks_pod import (
    check_labels,
    check_name,
    check_pod_spec,
    check_port,
    part,
)
from standalone.apiserver.schema.core_defaults_pod import dicts
from standalone.apiserver.schema.failure import FieldError

Obj = dict[str, Any]
Errors = list[FieldError]
MAX_DATA_BYTES = 1024 * 1024
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


def _service(obj: Obj, errors: Errors) -> None:
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


def _secret(obj: Obj, errors: Errors) -> None:
    data = part(obj, "data")
    for key in data:
        if why := names.config_key_problem(key):
            errors.append(failure.invalid(f"data[{key}]", key, why))
    if sum(len(str(value)) * 3 // 4 for value in data.values()) > MAX_DATA_BYTES:
        errors.append(failure.too_long("data", MAX_DATA_BYTES))
    kind = obj.get("type")
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


def _claim(obj: Obj, errors: Errors) -> None:
    spec = part(obj, "spec")
    if not spec.get("accessModes"):
        errors.append(failure.required("spec.accessModes", "at least 1 access mode is required"))
    wanted = part(part(spec, "resources"), "requests").get("storage")
    amount = quantities.number(wanted)
    if wanted is None:
        errors.append(failure.required("spec.resources[storage]"))
    elif amount is not None and amount <= 0:
        errors.append(failure.invalid("spec.resources[storage]", wanted, "must be greater than zero"))


def _role(obj: Obj, errors: Errors) -> None:
    for number, rule in enumerate(dicts(obj.get("rules"))):
        path = f"rules[{number}]"
        if not rule.get("verbs"):
            errors.append(failure.required(f"{path}.verbs", "verbs must contain at least one value"))
        if rule.get("nonResourceURLs"):
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
    for number, subject in enumerate(dicts(obj.get("subjects"))):
        path, kind = f"subjects[{number}]", subject.get("kind")
        if not subject.get("name"):
            errors.append(failure.required(f"{path}.name"))
        if kind not in ("ServiceAccount", "User", "Group"):
            known = ["ServiceAccount", "User", "Group"]
            errors.append(failure.not_supported(f"{path}.kind", kind or "", known))
        elif kind == "ServiceAccount" and not subject.get("namespace"):
            errors.append(failure.required(f"{path}.namespace"))


def _ingress(obj: Obj, errors: Errors) -> None:
    spec = part(obj, "spec")
    if not spec.get("rules") and not spec.get("defaultBackend"):
        why = "either `defaultBackend` or `rules` must be specified"
        errors.append(failure.invalid("spec", spec, why))
    for number, rule in enumerate(dicts(spec.get("rules"))):
        for at, path in enumerate(dicts(part(rule, "http").get("paths"))):
            where = f"spec.rules[{number}].http.paths[{at}]"
            kind, text = path.get("pathType"), path.get("path")
            if kind not in ("Exact", "Prefix", "ImplementationSpecific"):
                known = ["Exact", "ImplementationSpecific", "Prefix"]
                errors.append(failure.not_supported(f"{where}.pathType", kind or "", known))
            elif kind != "ImplementationSpecific" and not str(text or "").startswith("/"):
                errors.append(failure.invalid(f"{where}.path", text or "", "must be an absolute path"))


def _priority(obj: Obj, errors: Errors) -> None:
    value = obj.get("value")
    name = str(part(obj, "metadata").get("name", ""))
    if isinstance(value, int) and value > MAX_PRIORITY and not name.startswith("system-"):
        why = f"maximum allowed value of a user defined priority is {MAX_PRIORITY}"
        errors.append(failure.forbidden("value", why))


_CHECKS: dict[tuple[str, str], Callable[[Obj, Errors], None]] = {
    ("", "Pod"): _pod,
    ("", "Service"): _service,
    ("", "ConfigMap"): _config_map,
    ("", "Secret"): _secret,
    ("", "PersistentVolumeClaim"): _claim,
    ("apps", "Deployment"): workload.check_deployment,
    ("apps", "ReplicaSet"): workload.check_replica_set,
    ("apps", "StatefulSet"): workload.check_stateful_set,
    ("apps", "DaemonSet"): workload.check_daemon_set,
    ("batch", "Job"): workload.check_job,
    ("batch", "CronJob"): workload.check_cron_job,
    ("autoscaling", "HorizontalPodAutoscaler"): workload.check_autoscaler,
    ("policy", "PodDisruptionBudget"): workload.check_budget,
    ("rbac.authorization.k8s.io", "Role"): _role,
    ("rbac.authorization.k8s.io", "ClusterRole"): _role,
    ("rbac.authorization.k8s.io", "RoleBinding"): _binding,
    ("rbac.authorization.k8s.io", "ClusterRoleBinding"): _binding,
    ("networking.k8s.io", "Ingress"): _ingress,
    ("scheduling.k8s.io", "PriorityClass"): _priority,
}
