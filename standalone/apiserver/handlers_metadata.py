"""Metadata as Kubernetes keeps it: what a create sets, what an update may change, what is malformed.

Called by the write handlers; pure (instants and identifiers are given). Field rules of single kinds are in
``handlers_rules``.

Invariants: uid and creationTimestamp never change; generation rises exactly when something other than metadata and
status changes (for kinds that keep one); a write of ``status`` changes no spec and the reverse.
"""

from __future__ import annotations

from typing import Any

from standalone.apiserver import errors, selectors
from standalone.apiserver.errors import Cause
from standalone.apiserver.kinds import Kind
from standalone.apiserver.schema import failure, names
from standalone.apiserver.store_entries import Obj

_GENERATED = frozenset(
    [
        "Pod",
        "Deployment",
        "ReplicaSet",
        "ReplicationController",
        "StatefulSet",
        "DaemonSet",
        "Job",
        "CronJob",
        "Ingress",
        "NetworkPolicy",
        "PodDisruptionBudget",
        "EndpointSlice",
        "IngressClass",
        "PodTemplate",
        "PriorityClass",
        "CustomResourceDefinition",
        "MutatingWebhookConfiguration",
        "ValidatingWebhookConfiguration",
    ]
)
_STANDARD_FINALIZERS = ("kubernetes", "orphan", "foregroundDeletion")
_PLAIN_FINALIZERS = ("apiextensions.k8s.io", "admissionregistration.k8s.io")
"""Groups whose finalizers may be any qualified name, as those of custom resources."""
_FREE_STATUS = frozenset(("Pod", "Node", "ReplicaSet"))
MAX_ANNOTATION_BYTES = 256 * 1024


def has_generation(kind: Kind) -> bool:
    return kind.is_custom or kind.kind in _GENERATED


def prepare_create(kind: Kind, obj: Obj, namespace: str, stamp: str, uid: str) -> None:
    """Set what the server owns on a new object. The name is already there."""
    metadata = obj["metadata"]
    if metadata.get("resourceVersion"):
        raise errors.bad_request("resourceVersion should not be set on objects to be created")
    check_namespace(kind, metadata, namespace)
    for name in (
        "deletionTimestamp",
        "deletionGracePeriodSeconds",
        "selfLink",
        "resourceVersion",
    ):
        metadata.pop(name, None)
    metadata["uid"] = uid
    metadata["creationTimestamp"] = stamp
    if kind.namespaced:
        metadata["namespace"] = namespace
    else:
        metadata.pop("namespace", None)
    if has_generation(kind):
        metadata["generation"] = 1
    if kind.has("status"):
        obj.pop("status", None)


def check_namespace(kind: Kind, metadata: Obj, namespace: str) -> None:
    """The object may name no other namespace than the path. Raises 400."""
    given = metadata.get("namespace")
    if kind.namespaced and given not in (None, "", namespace):
        raise errors.bad_request(
            "the namespace of the provided object does not match the namespace sent on the request"
        )


def prepare_update(kind: Kind, old: Obj, new: Obj, subresource: str) -> None:
    """Keep in ``new`` what this write must not change. Raises 409 for another uid, 422 for a deletion by update."""
    before, after = old["metadata"], new["metadata"]
    _check_not_deleted(kind, before, after)
    if after.get("uid") not in (None, "", before["uid"]):
        why = f"Precondition failed: UID in precondition: {after['uid']}, UID in object meta: {before['uid']}"
        raise errors.conflict(kind.plural, kind.group, before["name"], why)
    if subresource == "status":
        _keep_all_but_status(kind, old, new)
    elif kind.has("status"):
        _carry(old, new, "status")
    if kind.resource == "namespaces" and not subresource and "spec" in old:
        new["spec"] = {**(new.get("spec") or {}), "finalizers": old["spec"].get("finalizers") or []}
    after = new["metadata"]
    for name in (
        "uid",
        "creationTimestamp",
        "deletionTimestamp",
        "deletionGracePeriodSeconds",
        "generation",
        "namespace",
    ):
        _carry(before, after, name)
    after.pop("selfLink", None)
    if has_generation(kind) and "deletionTimestamp" in before and "generation" in before:
        after["generation"] = before["generation"]
    if has_generation(kind) and subresource != "status" and _spec_changed(old, new):
        after["generation"] = before.get("generation", 0) + 1


def _check_not_deleted(kind: Kind, before: Obj, after: Obj) -> None:
    """An update deletes nothing: what says so cannot be added."""
    causes = [
        _invalid(f"metadata.{name}", after[name], "field is immutable")
        for name in ("deletionTimestamp", "deletionGracePeriodSeconds")
        if after.get(name) is not None and before.get(name) is None
    ]
    if causes:
        raise errors.invalid(kind.kind, kind.group, before["name"], causes)


def _keep_all_but_status(kind: Kind, old: Obj, new: Obj) -> None:
    status, given = new.get("status"), new["metadata"]
    has_status = "status" in new
    new.clear()
    new.update({key: value for key, value in old.items() if key != "status"})
    if has_status:
        new["status"] = status
    new["metadata"] = metadata = dict(old["metadata"])
    if "managedFields" in given:
        metadata["managedFields"] = given["managedFields"]
    if kind.is_custom:
        return
    changeable = ("labels", "annotations") if kind.kind in _FREE_STATUS else ("annotations",)
    for name in changeable:
        _carry(given, metadata, name)


def _carry(source: Obj, target: Obj, name: str) -> None:
    if name in source:
        target[name] = source[name]
    else:
        target.pop(name, None)


def _spec_changed(old: Obj, new: Obj) -> bool:
    kept = ("metadata", "status", "apiVersion", "kind")
    names = (old.keys() | new.keys()).difference(kept)
    return any(old.get(name) != new.get(name) for name in names)


def validate(kind: Kind, metadata: Obj) -> list[Cause]:
    """What is malformed in name, labels, annotations, owners and finalizers."""
    causes = _check_name(kind, metadata)
    causes += _check_labels(metadata.get("labels"))
    causes += _check_annotations(metadata.get("annotations"))
    if metadata.get("ownerReferences"):
        causes += _check_owners(metadata["ownerReferences"])
    for name in metadata.get("finalizers") or ():
        if why := selectors.label_key_problem(name):
            causes.append(_invalid("metadata.finalizers", name, why))
    if not kind.is_custom and kind.group not in _PLAIN_FINALIZERS:
        for index, name in enumerate(metadata.get("finalizers") or ()):
            if "/" not in name and name not in _STANDARD_FINALIZERS:
                text = "name is neither a standard finalizer name nor is it fully qualified"
                causes.append(_invalid(f"metadata.finalizers[{index}]", name, text))
    return causes


def validate_update(old: Obj, new: Obj) -> list[Cause]:
    """What an update may not do to metadata."""
    before, after = old["metadata"], new["metadata"]
    if "deletionTimestamp" not in before:
        return []
    added = [name for name in after.get("finalizers") or () if name not in (before.get("finalizers") or ())]
    if not added:
        return []
    text = "no new finalizers can be added if the object is being deleted, found new finalizers "
    listed = ", ".join(f'"{name}"' for name in added)
    return [Cause("metadata.finalizers", "FieldValueForbidden", f"Forbidden: {text}[]string{{{listed}}}")]


def _check_name(kind: Kind, metadata: Obj) -> list[Cause]:
    name, prefix = metadata.get("name"), metadata.get("generateName")
    causes = []
    if isinstance(prefix, str) and prefix and (why := _name_problem(kind, _masked(prefix))):
        causes.append(_invalid("metadata.generateName", prefix, why))
    if not isinstance(name, str) or not name:
        text = "Required value: name or generateName is required"
        return [Cause("metadata.name", "FieldValueRequired", text)]
    if why := _name_problem(kind, name):
        causes.append(_invalid("metadata.name", name, why))
    return causes


def _masked(prefix: str) -> str:
    """A prefix as a name: what follows its last dash is still to come."""
    return f"{prefix[:-2]}a" if len(prefix) > 1 and prefix.endswith("-") else prefix


def _name_problem(kind: Kind, name: str) -> str:
    if kind.group == "rbac.authorization.k8s.io":
        if name in (".", ".."):
            return f"may not be '{name}'"
        return next((f"may not contain '{char}'" for char in "/%" if char in name), "")
    if (kind.group, kind.kind) == ("", "Namespace"):
        return names.label_problem(name)
    if (kind.group, kind.kind) == ("", "Service"):
        return names.service_problem(name)
    return names.subdomain_problem(name)


def _check_labels(labels: Any) -> list[Cause]:
    if labels is None:
        return []
    if not isinstance(labels, dict):
        return [_invalid("metadata.labels", labels, "must be a map of strings")]
    causes = []
    for key, value in labels.items():
        problem = selectors.label_key_problem(key)
        if problem:
            causes.append(_invalid("metadata.labels", key, problem))
        problem = selectors.label_value_problem(value) if isinstance(value, str) else "must be a string"
        if problem:
            causes.append(_invalid("metadata.labels", value, problem))
    return causes


def _check_annotations(annotations: Any) -> list[Cause]:
    if annotations is None:
        return []
    if not isinstance(annotations, dict):
        return [_invalid("metadata.annotations", annotations, "must be a map of strings")]
    causes = []
    size = 0
    for key, value in annotations.items():
        problem = selectors.label_key_problem(key.lower())
        if problem:
            causes.append(_invalid("metadata.annotations", key, problem))
        if not isinstance(value, str):
            causes.append(_invalid("metadata.annotations", value, f"the value of {key} must be a string"))
        else:
            size += len(key) + len(value)
    if size > MAX_ANNOTATION_BYTES:
        text = f"Too long: may not be more than {MAX_ANNOTATION_BYTES} bytes"
        causes.append(Cause("metadata.annotations", "FieldValueTooLong", text))
    return causes


def _check_owners(owners: Any) -> list[Cause]:
    if not isinstance(owners, list):
        return [_invalid("metadata.ownerReferences", owners, "must be a list")]
    causes = []
    for owner in owners:
        causes += _check_owner(owner)
    if len(_controllers(owners)) > 1:
        first, second = (f"{owner['kind']}/{owner['name']}" for owner in _controllers(owners)[:2])
        text = 'Only one reference can have Controller set to true. Found "true" in references for '
        causes.append(_invalid("metadata.ownerReferences", owners, f"{text}{first} and {second}"))
    return causes


def _controllers(owners: list[Any]) -> list[Obj]:
    return [owner for owner in owners if isinstance(owner, dict) and owner.get("controller") is True]


def _check_owner(owner: Any) -> list[Cause]:
    if not isinstance(owner, dict):
        return [_invalid("metadata.ownerReferences", owner, "must be an object")]
    path, causes = "metadata.ownerReferences", []
    version = owner.get("apiVersion")
    if not isinstance(version, str) or not version or version.count("/") > 1 or version.endswith("/"):
        causes.append(_invalid(f"{path}.apiVersion", version or "", "version must not be empty"))
    for name in ("kind", "name", "uid"):
        if not isinstance(owner.get(name), str) or not owner[name]:
            causes.append(_invalid(f"{path}.{name}", owner.get(name) or "", "must not be empty"))
    if (version, owner.get("kind")) in (("v1", "Event"), ("events.k8s.io/v1", "Event")):
        group = str(version).rpartition("/")[0]
        text = f"{group}/v1, Kind=Event is disallowed from being an owner"
        causes.append(_invalid(path, owner, text))
    return causes


def _invalid(path: str, value: object, text: str) -> Cause:
    return Cause(path, "FieldValueInvalid", f"Invalid value: {failure.shown(value)}: {text}")
