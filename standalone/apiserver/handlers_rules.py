"""What single core kinds need beyond their schema: values the server fills in, fields that may not change.

Called by the write handlers; pure. Defaults that only depend on the object are in ``schema.core_defaults``.

Invariant: each function touches only kinds named in its table.
"""

from __future__ import annotations

import base64
import copy
from collections.abc import Callable
from typing import Any

from standalone.apiserver import errors, kinds_crd
from standalone.apiserver.errors import Cause
from standalone.apiserver.kinds import Kind
from standalone.apiserver.store_entries import Obj

CRD_FINALIZER = "customresourcecleanup.apiextensions.k8s.io"
_POD_CHANGEABLE = ("activeDeadlineSeconds", "terminationGracePeriodSeconds", "tolerations", "schedulingGates")
_IMMUTABLE: dict[tuple[str, str], tuple[str, ...]] = {
    ("apps", "Deployment"): ("spec.selector",),
    ("apps", "ReplicaSet"): ("spec.selector",),
    ("apps", "DaemonSet"): ("spec.selector",),
    ("apps", "StatefulSet"): ("spec.selector", "spec.serviceName", "spec.volumeClaimTemplates"),
    ("batch", "Job"): ("spec.selector", "spec.template", "spec.completionMode"),
    ("", "Secret"): ("type",),
    ("", "PersistentVolumeClaim"): ("spec.accessModes", "spec.storageClassName", "spec.volumeMode", "spec.selector"),
    ("rbac.authorization.k8s.io", "RoleBinding"): ("roleRef",),
    ("rbac.authorization.k8s.io", "ClusterRoleBinding"): ("roleRef",),
    ("storage.k8s.io", "StorageClass"): ("provisioner", "parameters", "reclaimPolicy", "volumeBindingMode"),
    ("scheduling.k8s.io", "PriorityClass"): ("value",),
    ("apiextensions.k8s.io", "CustomResourceDefinition"): ("spec.group", "spec.scope", "spec.names.plural", "spec.names.kind"),
}


def fill_create(kind: Kind, obj: Obj, node_name: str) -> None:
    """What the server sets on a new object of a core kind."""
    if kind.is_custom:
        return
    place = (kind.group, kind.kind)
    if place == ("", "Pod"):
        _fill_pod(obj, node_name)
    elif place == ("", "Namespace"):
        obj.setdefault("spec", {})["finalizers"] = ["kubernetes"]
        obj["status"] = {"phase": "Active"}
    elif place == ("", "PersistentVolumeClaim"):
        obj["status"] = {"phase": "Pending"}
    elif place == ("apiextensions.k8s.io", "CustomResourceDefinition"):
        finalizers = obj["metadata"].setdefault("finalizers", [])
        if CRD_FINALIZER not in finalizers:
            finalizers.append(CRD_FINALIZER)
    fill_always(kind, obj)


def fill_always(kind: Kind, obj: Obj) -> None:
    """What the server keeps true at every write of a core kind."""
    place = (kind.group, kind.kind)
    if place == ("", "Namespace"):
        labels = obj["metadata"].get("labels") or {}
        obj["metadata"]["labels"] = {**labels, "kubernetes.io/metadata.name": obj["metadata"]["name"]}
    elif place == ("", "Secret"):
        _fold_string_data(obj)


def _fill_pod(obj: Obj, node_name: str) -> None:
    spec = obj.get("spec")
    if isinstance(spec, dict):
        if not spec.get("nodeName"):
            spec["nodeName"] = node_name
        spec.setdefault("serviceAccountName", "default")
    obj["status"] = {"phase": "Pending"}


def _fold_string_data(obj: Obj) -> None:
    plain = obj.pop("stringData", None)
    if isinstance(plain, dict):
        data = dict(obj.get("data") or {})
        for key, value in plain.items():
            data[key] = base64.b64encode(str(value).encode()).decode()
        obj["data"] = data


def validate(kind: Kind, obj: Obj) -> list[Cause]:
    """What Kubernetes refuses in a new or changed object beyond its schema."""
    check = _CHECKS.get((kind.group, kind.kind))
    return check(obj) if check is not None else []


def _check_secret(obj: Obj) -> list[Cause]:
    causes = []
    data = obj.get("data")
    for key, value in (data if isinstance(data, dict) else {}).items():
        try:
            base64.b64decode(value, validate=True)
        except (ValueError, TypeError):
            causes.append(Cause(f"data.{key}", "FieldValueInvalid", "Invalid value: must be base64: use stringData for text"))
    return causes


def _check_workload(obj: Obj) -> list[Cause]:
    """A selector must choose the pods of its own template."""
    spec = obj.get("spec") or {}
    wanted = (spec.get("selector") or {}).get("matchLabels") or {}
    labels = ((spec.get("template") or {}).get("metadata") or {}).get("labels") or {}
    if all(labels.get(key) == value for key, value in wanted.items()):
        return []
    text = f"Invalid value: {labels}: `selector` does not match template `labels`"
    return [Cause("spec.template.metadata.labels", "FieldValueInvalid", text)]


def _check_definition(obj: Obj) -> list[Cause]:
    causes = kinds_crd.check(obj)
    if causes:
        return causes
    from standalone.apiserver.schema import checks_crd

    for index, version in enumerate(obj["spec"]["versions"]):
        path = f"spec.versions[{index}].schema.openAPIV3Schema"
        found = checks_crd.check_structural(version["schema"]["openAPIV3Schema"], path)
        causes += [Cause(error.path, error.reason, error.message) for error in found]
    return causes


_CHECKS: dict[tuple[str, str], Callable[[Obj], list[Cause]]] = {
    ("", "Secret"): _check_secret,
    ("apps", "Deployment"): _check_workload,
    ("apps", "ReplicaSet"): _check_workload,
    ("apps", "StatefulSet"): _check_workload,
    ("apps", "DaemonSet"): _check_workload,
    ("apiextensions.k8s.io", "CustomResourceDefinition"): _check_definition,
}


def validate_update(kind: Kind, old: Obj, new: Obj) -> list[Cause]:
    """What may not change."""
    if kind.is_custom:
        return []
    place = (kind.group, kind.kind)
    causes = []
    for path in _IMMUTABLE.get(place, ()):
        before, after = _at(old, path), _at(new, path)
        if before != after and before is not None:
            causes.append(Cause(path, "FieldValueInvalid", f"Invalid value: {after!r:.200}: field is immutable"))
    if place == ("", "Pod"):
        causes += _check_pod_update(old, new)
    if place in (("", "ConfigMap"), ("", "Secret")) and old.get("immutable"):
        for field in ("data", "binaryData", "immutable"):
            if old.get(field) != new.get(field):
                causes.append(Cause(field, "FieldValueForbidden", "Forbidden: field is immutable when `immutable` is set"))
    return causes


def _check_pod_update(old: Obj, new: Obj) -> list[Cause]:
    before, after = _frozen_spec(old), _frozen_spec(new)
    if before == after:
        return []
    text = (
        "Forbidden: pod updates may not change fields other than `spec.containers[*].image`,"
        "`spec.initContainers[*].image`,`spec.activeDeadlineSeconds`,`spec.tolerations` (only additions to existing "
        "tolerations),`spec.terminationGracePeriodSeconds` (allow it to be set to 1 if it was previously negative)"
    )
    return [Cause("spec", "FieldValueForbidden", text)]


def _frozen_spec(pod: Obj) -> Obj:
    spec: Obj = copy.deepcopy(pod.get("spec") or {})
    for name in _POD_CHANGEABLE:
        spec.pop(name, None)
    for group in ("containers", "initContainers"):
        for container in spec.get(group) or ():
            container.pop("image", None)
    return spec


def _at(obj: Obj, path: str) -> Any:
    value: Any = obj
    for part in path.split("."):
        value = value.get(part) if isinstance(value, dict) else None
    return value


def check_deletable(kind: Kind, name: str) -> None:
    """Refuse to delete what the platform cannot be without."""
    if kind.resource == "namespaces" and name in ("default", "kube-system", "kube-public", "kube-node-lease"):
        raise errors.forbidden("namespaces", "", name, "this namespace may not be deleted")
