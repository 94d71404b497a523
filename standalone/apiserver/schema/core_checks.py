"""What Kubernetes checks in built-in kinds beyond types: the mistakes people make most, refused in its words.

Called by the write path after ``structural.validate``. Left out: most of the thousands of rules of a real API server
(docs/reference/parity.md says so); immutable fields are in ``immutable_errors``.

Invariant: total on any JSON; an object that a real API server takes is never refused here.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any

from standalone.apiserver.kinds import Kind
from standalone.apiserver.schema import failure
from standalone.apiserver.schema.core_defaults_pod import dicts
from standalone.apiserver.schema.failure import FieldError

Obj = dict[str, Any]
_LABEL = re.compile(r"[a-z0-9]([-a-z0-9]*[a-z0-9])?")
_KEY = re.compile(r"[-._a-zA-Z0-9]+")
_LABEL_RULE = (
    "a lowercase RFC 1123 label must consist of lower case alphanumeric characters or '-', and must start and end with "
    "an alphanumeric character (e.g. 'my-name',  or '123-abc', regex used for validation is "
    "'[a-z0-9]([-a-z0-9]*[a-z0-9])?')"
)


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
            errors.append(failure.invalid(path, after, "field is immutable"))
    if kind.group == "" and kind.kind in ("ConfigMap", "Secret") and old.get("immutable") is True:
        for field in ("data", "binaryData", "immutable"):
            if old.get(field) != new.get(field):
                errors.append(failure.forbidden(field, "field is immutable when `immutable` is set"))
    return errors


_IMMUTABLE = {
    ("apps", "Deployment"): ("spec.selector",),
    ("apps", "ReplicaSet"): ("spec.selector",),
    ("apps", "DaemonSet"): ("spec.selector",),
    ("apps", "StatefulSet"): ("spec.selector", "spec.serviceName", "spec.podManagementPolicy"),
    ("batch", "Job"): ("spec.selector", "spec.completionMode"),
    ("", "Secret"): ("type",),
    ("", "Pod"): ("spec.nodeName", "spec.restartPolicy", "spec.volumes", "spec.serviceAccountName"),
    ("", "PersistentVolumeClaim"): ("spec.accessModes", "spec.storageClassName", "spec.volumeMode"),
    ("storage.k8s.io", "StorageClass"): ("provisioner", "parameters", "reclaimPolicy"),
    ("scheduling.k8s.io", "PriorityClass"): ("value",),
    ("rbac.authorization.k8s.io", "RoleBinding"): ("roleRef",),
    ("rbac.authorization.k8s.io", "ClusterRoleBinding"): ("roleRef",),
}


def _at(obj: Any, path: str) -> Any:
    for key in path.split("."):
        obj = obj.get(key) if isinstance(obj, dict) else None
    return obj


def _spec(obj: Obj, key: str = "spec") -> Obj:
    found = obj.get(key)
    return found if isinstance(found, dict) else {}


def _pod(obj: Obj, errors: list[FieldError]) -> None:
    if not isinstance(obj.get("spec"), dict):
        errors.append(failure.required("spec.containers"))
        return
    _pod_spec(obj["spec"], "spec", errors)


def _pod_spec(spec: Obj, path: str, errors: list[FieldError]) -> None:
    if spec.get("containers") == []:
        errors.append(failure.required(f"{path}.containers"))
    volumes: set[str] = set()
    for number, volume in enumerate(dicts(spec.get("volumes"))):
        _dns_label(volume.get("name"), f"{path}.volumes[{number}].name", errors)
        sources = [key for key in volume if key != "name"]
        if len(sources) > 1:
            where = f"{path}.volumes[{number}].{sources[1]}"
            errors.append(failure.forbidden(where, "may not specify more than 1 volume type"))
        volumes.add(str(volume.get("name")))
    for group in ("initContainers", "containers"):
        for number, container in enumerate(dicts(spec.get(group))):
            _container(container, f"{path}.{group}[{number}]", volumes, errors)


def _container(container: Obj, path: str, volumes: set[str], errors: list[FieldError]) -> None:
    _dns_label(container.get("name"), f"{path}.name", errors)
    image = container.get("image")
    if not image:
        errors.append(failure.required(f"{path}.image"))
    elif isinstance(image, str) and image != image.strip():
        errors.append(failure.invalid(f"{path}.image", image, "must not have leading or trailing whitespace"))
    for number, port in enumerate(dicts(container.get("ports"))):
        _port(port.get("containerPort"), f"{path}.ports[{number}].containerPort", errors)
    for number, variable in enumerate(dicts(container.get("env"))):
        if not variable.get("name"):
            errors.append(failure.required(f"{path}.env[{number}].name"))
        if variable.get("value") and variable.get("valueFrom"):
            why = "may not be specified when `value` is not empty"
            errors.append(failure.invalid(f"{path}.env[{number}].valueFrom", "", why))
    mounted: set[str] = set()
    for number, mount in enumerate(dicts(container.get("volumeMounts"))):
        where = f"{path}.volumeMounts[{number}]"
        if str(mount.get("name")) not in volumes:
            message = f"Not found: {failure.shown(mount.get('name'))}"
            errors.append(FieldError(f"{where}.name", "FieldValueNotFound", message))
        if str(mount.get("mountPath")) in mounted:
            errors.append(failure.invalid(f"{where}.mountPath", mount.get("mountPath"), "must be unique"))
        mounted.add(str(mount.get("mountPath")))


def _dns_label(name: Any, path: str, errors: list[FieldError]) -> None:
    if name is None or name == "":
        if name == "":
            errors.append(failure.required(path))
    elif isinstance(name, str) and (len(name) > 63 or not _LABEL.fullmatch(name)):
        detail = "must be no more than 63 characters" if len(name) > 63 else _LABEL_RULE
        errors.append(failure.invalid(path, name, detail))


def _port(value: Any, path: str, errors: list[FieldError]) -> None:
    if isinstance(value, int) and not 1 <= value <= 65535:
        errors.append(failure.invalid(path, value, "must be between 1 and 65535, inclusive"))


def _workload(obj: Obj, errors: list[FieldError]) -> None:
    spec = _spec(obj)
    replicas = spec.get("replicas")
    if isinstance(replicas, int) and replicas < 0:
        errors.append(failure.invalid("spec.replicas", replicas, "must be greater than or equal to 0"))
    template = _spec(spec, "template")
    selector = _spec(spec, "selector")
    wanted = _spec(selector, "matchLabels")
    labels = _spec(_spec(template, "metadata"), "labels")
    if spec.get("selector") is not None and not wanted and not selector.get("matchExpressions"):
        errors.append(failure.invalid("spec.selector", selector, "empty selector is invalid for deployment"))
    if any(labels.get(key) != value for key, value in wanted.items()):
        detail = "`selector` does not match template `labels`"
        errors.append(failure.invalid("spec.template.metadata.labels", labels, detail))
    if isinstance(template.get("spec"), dict):
        _pod_spec(template["spec"], "spec.template.spec", errors)


def _job(obj: Obj, errors: list[FieldError]) -> None:
    template = _spec(_spec(obj), "template")
    if isinstance(template.get("spec"), dict):
        if template["spec"].get("restartPolicy") == "Always":
            path = "spec.template.spec.restartPolicy"
            message = 'Required value: valid values: "OnFailure", "Never"'
            errors.append(FieldError(path, failure.REQUIRED, message))
        _pod_spec(template["spec"], "spec.template.spec", errors)


def _service(obj: Obj, errors: list[FieldError]) -> None:
    spec = _spec(obj)
    ports = list(dicts(spec.get("ports")))
    if not ports and spec.get("type") != "ExternalName" and spec.get("clusterIP") != "None":
        errors.append(failure.required("spec.ports"))
    if spec.get("type") == "ExternalName" and not spec.get("externalName"):
        errors.append(failure.required("spec.externalName"))
    for number, port in enumerate(ports):
        _port(port.get("port"), f"spec.ports[{number}].port", errors)
        _port(port.get("targetPort"), f"spec.ports[{number}].targetPort", errors)
        if len(ports) > 1 and not port.get("name"):
            errors.append(failure.required(f"spec.ports[{number}].name"))


def _keys(obj: Obj, errors: list[FieldError]) -> None:
    for field in ("data", "binaryData"):
        for key in _spec(obj, field):
            if not _KEY.fullmatch(key) or len(key) > 253 or key in (".", ".."):
                detail = (
                    "a valid config key must consist of alphanumeric characters, '-', '_' or '.' (e.g. 'key.name',  "
                    "or 'KEY_NAME',  or 'key-name', regex used for validation is '[-._a-zA-Z0-9]+')"
                )
                errors.append(failure.invalid(f"{field}[{key}]", key, detail))


def _claim(obj: Obj, errors: list[FieldError]) -> None:
    spec = _spec(obj)
    if not spec.get("accessModes"):
        errors.append(failure.required("spec.accessModes", "at least 1 access mode is required"))
    if "storage" not in _spec(_spec(spec, "resources"), "requests"):
        errors.append(failure.required("spec.resources[storage]"))


_CHECKS: dict[tuple[str, str], Callable[[Obj, list[FieldError]], None]] = {
    ("", "Pod"): _pod,
    ("", "Service"): _service,
    ("", "ConfigMap"): _keys,
    ("", "Secret"): _keys,
    ("", "PersistentVolumeClaim"): _claim,
    ("apps", "Deployment"): _workload,
    ("apps", "ReplicaSet"): _workload,
    ("apps", "StatefulSet"): _workload,
    ("apps", "DaemonSet"): _workload,
    ("batch", "Job"): _job,
}
