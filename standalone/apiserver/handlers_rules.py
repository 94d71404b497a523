"""What single core kinds need beyond schema and defaults: values only the server knows, fields that may not change.

Called by the write handlers; pure. The bulk of the checks is in ``schema.core_checks``; here is what needs the
server's own knowledge (node name, webhook and definition rules).

Invariant: custom resources are never touched.
"""

from __future__ import annotations

import copy
from collections.abc import Iterable

from standalone.apiserver import errors, kinds_crd_checks, webhook_match
from standalone.apiserver.errors import Cause
from standalone.apiserver.kinds import Kind
from standalone.apiserver.schema import checks_crd, core_checks
from standalone.apiserver.store import Store
from standalone.apiserver.store_entries import Obj

CRD_FINALIZER = "customresourcecleanup.apiextensions.k8s.io"
NAMESPACE_FINALIZER = "kubernetes"
KEPT_NAMESPACES = ("default", "kube-system", "kube-public", "kube-node-lease")
_POD_CHANGEABLE = ("activeDeadlineSeconds", "terminationGracePeriodSeconds", "tolerations", "schedulingGates")
_IMMUTABLE_DEFINITION = ("group", "scope")


def fill_create(kind: Kind, obj: Obj, node_name: str) -> None:
    """What the server sets on a new object of a core kind."""
    place = (kind.group, kind.kind)
    if place == ("", "Pod"):
        spec = obj.get("spec")
        if isinstance(spec, dict):
            if not spec.get("nodeName"):
                spec["nodeName"] = node_name
            spec["serviceAccountName"] = spec.get("serviceAccountName") or "default"
            spec["serviceAccount"] = spec["serviceAccountName"]
            _admit_pod(spec)
    elif place == ("", "Service"):
        _admit_service(obj.get("spec"))
    elif place == ("", "Namespace"):
        spec = obj.setdefault("spec", {})
        finalizers = spec.setdefault("finalizers", [])
        if NAMESPACE_FINALIZER not in finalizers:
            finalizers.append(NAMESPACE_FINALIZER)
    elif place == ("", "PersistentVolumeClaim"):
        obj["status"] = {"phase": "Pending"}
    elif place == ("apiextensions.k8s.io", "CustomResourceDefinition"):
        finalizers = obj["metadata"].setdefault("finalizers", [])
        if CRD_FINALIZER not in finalizers:
            finalizers.append(CRD_FINALIZER)


def check_references(kind: Kind, obj: Obj, namespace: str, store: Store) -> None:
    """403 for a new pod that names what does not exist. The default ServiceAccount may still be on its way."""
    if (kind.group, kind.kind) != ("", "Pod"):
        return
    spec, name = obj["spec"], str(obj["metadata"].get("name", ""))
    if spec.get("ephemeralContainers"):
        cause = Cause("spec.ephemeralContainers", "FieldValueForbidden", "Forbidden: cannot be set on create")
        raise errors.invalid("Pod", "", name, [cause])
    account = spec["serviceAccountName"]
    if account != "default" and store.latest("serviceaccounts", (namespace, account)) is None:
        missing = f'serviceaccount "{account}" not found'
        why = f"error looking up service account {namespace}/{account}: {missing}"
        raise errors.forbidden("pods", "", name, why)
    priority = spec.get("priorityClassName")
    is_built_in = str(priority).startswith("system-")
    if priority and not is_built_in and store.latest(_PRIORITIES, ("", priority)) is None:
        raise errors.forbidden("pods", "", name, f"no PriorityClass with name {priority} was found")


_PRIORITIES = "priorityclasses.scheduling.k8s.io"
_UNREACHABLE = ("node.kubernetes.io/not-ready", "node.kubernetes.io/unreachable")
UNREACHABLE_S = 300


def _admit_pod(spec: Obj) -> None:
    """Priority and tolerations as Kubernetes' admission gives them."""
    if not spec.get("priorityClassName"):
        spec.setdefault("priority", 0)
        spec.setdefault("preemptionPolicy", "PreemptLowerPriority")
    tolerations = spec.get("tolerations") or []
    if not isinstance(tolerations, list):
        return
    for key in _UNREACHABLE:
        if not any(_tolerates(one, key) for one in tolerations):
            effect = {"key": key, "operator": "Exists", "effect": "NoExecute"}
            tolerations = [*tolerations, {**effect, "tolerationSeconds": UNREACHABLE_S}]
    spec["tolerations"] = tolerations


def _tolerates(toleration: object, key: str) -> bool:
    if not isinstance(toleration, dict) or toleration.get("effect") not in (None, "", "NoExecute"):
        return False
    return toleration.get("key") in (None, "", key)


def _admit_service(spec: object) -> None:
    """IP families of a network that has IPv4 only; there are no cluster addresses to give out."""
    if not isinstance(spec, dict) or spec.get("type") == "ExternalName":
        return
    spec.setdefault("ipFamilies", ["IPv4"])
    spec.setdefault("ipFamilyPolicy", "SingleStack")
    if spec.get("clusterIP"):
        spec.setdefault("clusterIPs", [spec["clusterIP"]])


def validate(kind: Kind, obj: Obj) -> list[Cause]:
    """What Kubernetes refuses in a new or changed object whose types are right."""
    if kind.is_custom:
        return []
    if kind.group == webhook_match.OWN_GROUP:
        return webhook_match.check_configuration(obj)
    if kind.kind == "CustomResourceDefinition":
        return _check_definition(obj)
    return [Cause(error.path, error.reason, error.message) for error in core_checks.check_core(kind, obj)]


def _check_definition(obj: Obj) -> list[Cause]:
    causes = kinds_crd_checks.check(obj)
    spec = obj.get("spec")
    if causes or not isinstance(spec, dict):
        return causes
    for index, version in enumerate(spec.get("versions") or ()):
        path = f"{kinds_crd_checks.place(spec, index, 'schema')}.openAPIV3Schema"
        found = checks_crd.check_structural(version["schema"]["openAPIV3Schema"], path)
        causes += [Cause(error.path, error.reason, error.message) for error in found]
        if path.startswith("spec.validation"):
            break
    return causes


def validate_update(kind: Kind, old: Obj, new: Obj) -> list[Cause]:
    """What may not change."""
    if kind.is_custom:
        return []
    if kind.kind == "CustomResourceDefinition":
        stored = (old.get("status") or {}).get("storedVersions") or ()
        return _check_definition_update(old["spec"], new["spec"]) + _check_stored(stored, new["spec"])
    found = core_checks.immutable_errors(kind, old, new)
    causes = [Cause(error.path, error.reason, error.message) for error in found]
    if (kind.group, kind.kind) == ("", "Pod") and _count(old) != _count(new):
        text = "Forbidden: pod updates may not add or remove containers"
        causes = [Cause("spec.containers", "FieldValueForbidden", text)]
    elif (kind.group, kind.kind) == ("", "Pod") and _frozen_spec(old) != _frozen_spec(new):
        causes = [Cause("spec", "FieldValueForbidden", _POD_RULE)]
    return causes


def _count(pod: Obj) -> int:
    return len((pod.get("spec") or {}).get("containers") or ())


_POD_RULE = (
    "Forbidden: pod updates may not change fields other than `spec.containers[*].image`,"
    "`spec.initContainers[*].image`,`spec.activeDeadlineSeconds`,`spec.tolerations` (only additions to existing "
    "tolerations),`spec.terminationGracePeriodSeconds` (allow it to be set to 1 if it was previously negative)"
)


def _check_definition_update(old: Obj, new: Obj) -> list[Cause]:
    causes = []
    pairs = [(f"spec.{name}", old.get(name), new.get(name)) for name in _IMMUTABLE_DEFINITION]
    pairs += [
        (f"spec.names.{name}", old["names"].get(name), new["names"].get(name)) for name in ("kind", "plural")
    ]
    for path, before, after in pairs:
        if before != after:
            causes.append(Cause(path, "FieldValueInvalid", f'Invalid value: "{after}": field is immutable'))
    return causes


def _check_stored(stored: Iterable[str], spec: Obj) -> list[Cause]:
    """A version in which objects may still be stored cannot be taken away."""
    names = {version["name"] for version in spec["versions"]}
    text = "must appear in spec.versions"
    return [
        Cause(f"status.storedVersions[{index}]", "FieldValueInvalid", f'Invalid value: "{name}": {text}')
        for index, name in enumerate(stored)
        if name not in names
    ]


def _frozen_spec(pod: Obj) -> Obj:
    spec: Obj = copy.deepcopy(pod.get("spec") or {})
    for name in _POD_CHANGEABLE:
        spec.pop(name, None)
    for group in ("containers", "initContainers"):
        for container in spec.get(group) or ():
            container.pop("image", None)
    return spec


def check_deletable(kind: Kind, name: str) -> None:
    """Refuse to delete what the platform cannot be without."""
    if kind.resource == "namespaces" and name in KEPT_NAMESPACES:
        raise errors.forbidden("namespaces", "", name, "this namespace may not be deleted")
