"""Metadata as Kubernetes keeps it: what a create sets, what an update may change, what is malformed.

Called by the write handlers; pure (instants and identifiers are given). Field rules of single kinds are in
``handlers_rules``.

Invariants: uid and creationTimestamp never change; generation rises exactly when something other than metadata and
status changes (for kinds that keep one); a write of ``status`` changes no spec and the reverse.
"""

from __future__ import annotations

import re
from typing import Any

from standalone.apiserver import errors, selectors
from standalone.apiserver.errors import Cause
from standalone.apiserver.kinds import Kind
from standalone.apiserver.store_entries import Obj

_SUBDOMAIN = re.compile(r"[a-z0-9]([-a-z0-9]*[a-z0-9])?(\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*")
_LABEL = re.compile(r"[a-z0-9]([-a-z0-9]*[a-z0-9])?")
_SERVICE = re.compile(r"[a-z]([-a-z0-9]*[a-z0-9])?")
_GENERATED = frozenset(
    [
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
        "CustomResourceDefinition",
        "MutatingWebhookConfiguration",
        "ValidatingWebhookConfiguration",
    ]
)
_FREE_STATUS = frozenset(("Pod", "Node"))
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
        "generation",
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
            f"the namespace of the provided object does not match the namespace sent on the request"
            f" ({given!s:.63} against {namespace})"
        )


def prepare_update(kind: Kind, old: Obj, new: Obj, subresource: str) -> None:
    """Keep in ``new`` what this write must not change."""
    before, after = old["metadata"], new["metadata"]
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
    causes = _check_name(kind, metadata.get("name"))
    causes += _check_labels(metadata.get("labels"))
    causes += _check_annotations(metadata.get("annotations"))
    if metadata.get("ownerReferences"):
        causes += _check_owners(metadata["ownerReferences"])
    for name in metadata.get("finalizers") or ():
        if not isinstance(name, str) or selectors.label_key_problem(name):
            causes.append(_invalid("metadata.finalizers", name, "name part must be a qualified name"))
    return causes


def validate_update(kind: Kind, old: Obj, new: Obj) -> list[Cause]:
    """What an update may not do to metadata."""
    before, after = old["metadata"], new["metadata"]
    if "deletionTimestamp" not in before:
        return []
    added = [name for name in after.get("finalizers") or () if name not in (before.get("finalizers") or ())]
    if not added:
        return []
    text = "no new finalizers can be added if the object is being deleted, found new finalizers "
    return [Cause("metadata.finalizers", "FieldValueForbidden", f"Forbidden: {text}{added}")]


def _check_name(kind: Kind, name: Any) -> list[Cause]:
    if not isinstance(name, str) or not name:
        return [
            Cause("metadata.name", "FieldValueRequired", "Required value: name or generateName is required")
        ]
    if kind.group == "rbac.authorization.k8s.io":
        bad = name in (".", "..") or "/" in name or "%" in name
        return [_invalid("metadata.name", name, "may not contain '/' or '%'")] if bad else []
    pattern, limit, rule = _SUBDOMAIN, 253, _SUBDOMAIN_RULE
    if kind.kind == "Namespace" and not kind.group:
        pattern, limit, rule = _LABEL, 63, _LABEL_RULE
    elif kind.kind == "Service" and not kind.group:
        pattern, limit, rule = _SERVICE, 63, _SERVICE_RULE
    if len(name) > limit:
        return [_invalid("metadata.name", name, f"must be no more than {limit} characters")]
    return [] if pattern.fullmatch(name) else [_invalid("metadata.name", name, rule)]


_SUBDOMAIN_RULE = (
    "a lowercase RFC 1123 subdomain must consist of lower case alphanumeric characters, '-' or '.', and must start "
    "and end with an alphanumeric character (e.g. 'example.com')"
)
_LABEL_RULE = (
    "a lowercase RFC 1123 label must consist of lower case alphanumeric characters or '-', and must start and end "
    "with an alphanumeric character (e.g. 'my-name',  or '123-abc')"
)
_SERVICE_RULE = (
    "a DNS-1035 label must consist of lower case alphanumeric characters or '-', start with an alphabetic character, "
    "and end with an alphanumeric character (e.g. 'my-name',  or 'abc-123')"
)


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
    for index, owner in enumerate(owners):
        for name in ("apiVersion", "kind", "name", "uid"):
            if not isinstance(owner, dict) or not isinstance(owner.get(name), str) or not owner[name]:
                path = f"metadata.ownerReferences[{index}].{name}"
                causes.append(
                    Cause(path, "FieldValueInvalid", f'Invalid value: "": {name} must not be empty')
                )
    if sum(1 for owner in owners if isinstance(owner, dict) and owner.get("controller")) > 1:
        text = "Only one reference can have Controller set to true"
        causes.append(_invalid("metadata.ownerReferences", None, text))
    return causes


def _invalid(path: str, value: object, text: str) -> Cause:
    shown = f'"{value[:300]}"' if isinstance(value, str) else "null" if value is None else str(value)[:300]
    return Cause(path, "FieldValueInvalid", f"Invalid value: {shown}: {text}")
