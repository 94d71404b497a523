"""What a deletion does to one object: remove it, mark it, or leave it as it is. Pure.

Called by ``handlers_delete`` and the controllers in this process. Kubernetes' rules: finalizers hold an object,
propagation policies are finalizers of the garbage collector, pods that run are ended by their node first.

Invariant: a deletionTimestamp, once set, is never removed, and a grace period only gets shorter.
"""

from __future__ import annotations

import datetime
from dataclasses import dataclass
from typing import Any

from standalone.apiserver import errors
from standalone.apiserver.kinds import Kind
from standalone.apiserver.schema import failure
from standalone.apiserver.store_entries import Obj
from wakeful.core.api import instants

ORPHAN = "orphan"
FOREGROUND = "foregroundDeletion"
POLICIES = ("Background", "Foreground", "Orphan")
_WITHOUT_GRACE = ("namespaces", "customresourcedefinitions.apiextensions.k8s.io")
"""Resources whose deletion names no grace period."""
DEFAULT_GRACE_S = 30
SHORTEST_GRACE_S = 1
"""What a negative grace period means."""


@dataclass(frozen=True, slots=True)
class DeleteOptions:
    """How to delete, decoded."""

    policy: str = ""
    """A member of ``POLICIES``, or empty for the default (Background, or what finalizers already say)."""
    grace_s: int | None = None
    uid: str = ""
    """Precondition: the object has this uid."""
    version: str = ""
    """Precondition: the object has this resourceVersion."""
    is_dry_run: bool = False


def parse(body: Any, query: dict[str, str]) -> DeleteOptions:
    """The options of the body or, only without one, of the query. Raises 400 or 422."""
    options = body if body is not None else {}
    query = query if body is None else {}
    if not isinstance(options, dict) or options.get("kind") not in (None, "", "DeleteOptions"):
        raise errors.bad_request("the body must be a DeleteOptions object")
    policy = options.get("propagationPolicy") or query.get("propagationPolicy") or ""
    orphan = options.get("orphanDependents", query.get("orphanDependents"))
    if orphan is not None and policy:
        text = f'Invalid value: "{policy!s:.40}": orphanDependents and deletionPropagation cannot be both set'
        raise _invalid("propagationPolicy", text)
    if orphan is not None:
        policy = "Orphan" if orphan in (True, "true", "1") else "Background"
    if policy and policy not in POLICIES:
        known = '"Foreground", "Background", "Orphan", "nil"'
        text = f'Unsupported value: "{policy!s:.40}": supported values: {known}'
        raise _invalid("propagationPolicy", text, "FieldValueNotSupported")
    grace = options.get("gracePeriodSeconds", query.get("gracePeriodSeconds"))
    preconditions = options.get("preconditions") or {}
    if not isinstance(preconditions, dict):
        raise errors.bad_request("preconditions must be an object with uid and resourceVersion")
    dry = options.get("dryRun") or ([query["dryRun"]] if query.get("dryRun") else [])
    if dry not in ([], ["All"]):
        text = f'Unsupported value: {failure.shown(dry)}: supported values: "All"'
        raise _invalid("dryRun", text, "FieldValueNotSupported")
    return DeleteOptions(
        policy=policy,
        grace_s=_grace(grace),
        uid=str(preconditions.get("uid") or ""),
        version=str(preconditions.get("resourceVersion") or ""),
        is_dry_run=bool(dry),
    )


def _grace(value: Any) -> int | None:
    if value is None or value == "":
        return None
    try:
        seconds = int(value)
    except (TypeError, ValueError):
        text = f'gracePeriodSeconds: strconv.ParseInt: parsing "{value!s:.40}": invalid syntax'
        raise errors.bad_request(text) from None
    return seconds if seconds >= 0 else SHORTEST_GRACE_S


def _invalid(field: str, text: str, reason: str = "FieldValueInvalid") -> errors.StatusError:
    cause = errors.Cause(field, reason, text)
    return errors.invalid("DeleteOptions", "meta.k8s.io", "", [cause])


@dataclass(frozen=True, slots=True)
class Outcome:
    """What to do: ``remove`` the object, store ``obj`` in its place, or nothing when it is unchanged."""

    obj: Obj
    is_removed: bool
    is_changed: bool


def decide(kind: Kind, obj: Obj, options: DeleteOptions, at: datetime.datetime) -> Outcome:
    """The outcome of deleting ``obj`` (changed in place). Raises 409 when a precondition fails."""
    metadata = obj["metadata"]
    _check_preconditions(kind, metadata, options)
    was = (
        metadata.get("deletionTimestamp"),
        metadata.get("deletionGracePeriodSeconds"),
        metadata.get("finalizers"),
    )
    _set_finalizers(metadata, options.policy)
    grace_s = _grace_of(kind, obj, options)
    holds = bool(metadata.get("finalizers")) or (
        kind.resource == "namespaces" and (obj.get("spec") or {}).get("finalizers")
    )
    if grace_s == 0 and not holds:
        return Outcome(obj, True, True)
    _mark(kind, obj, grace_s, at)
    now = (
        metadata.get("deletionTimestamp"),
        metadata.get("deletionGracePeriodSeconds"),
        metadata.get("finalizers"),
    )
    return Outcome(obj, False, now != was)


def _check_preconditions(kind: Kind, metadata: Obj, options: DeleteOptions) -> None:
    name = metadata["name"]
    if options.uid and options.uid != metadata["uid"]:
        why = (
            f"the UID in the precondition ({options.uid[:64]}) does not match the UID in record ({metadata['uid']}). "
            "The object might have been deleted and then recreated"
        )
        raise errors.conflict(kind.kind, kind.group, name, why)
    if options.version and options.version != metadata["resourceVersion"]:
        why = (
            f"the ResourceVersion in the precondition ({options.version[:32]}) does not match the ResourceVersion in "
            f"record ({metadata['resourceVersion']}). The object might have been modified"
        )
        raise errors.conflict(kind.kind, kind.group, name, why)


def _set_finalizers(metadata: Obj, policy: str) -> None:
    """A policy replaces the collector's finalizers; none leaves them."""
    if not policy:
        return
    finalizers = [name for name in metadata.get("finalizers") or () if name not in (ORPHAN, FOREGROUND)]
    if policy == "Orphan":
        finalizers.append(ORPHAN)
    elif policy == "Foreground":
        finalizers.append(FOREGROUND)
    if finalizers:
        metadata["finalizers"] = finalizers
    else:
        metadata.pop("finalizers", None)


def _grace_of(kind: Kind, obj: Obj, options: DeleteOptions) -> int:
    """Seconds the node is given. Only a pod on a node that has not ended needs any."""
    spec = obj.get("spec") or {}
    phase = (obj.get("status") or {}).get("phase")
    if kind.resource != "pods" or not spec.get("nodeName") or phase in ("Succeeded", "Failed"):
        return 0
    wanted = options.grace_s
    if wanted is None:
        wanted = int(spec.get("terminationGracePeriodSeconds", DEFAULT_GRACE_S))
    given = obj["metadata"].get("deletionGracePeriodSeconds")
    return max(0, wanted if given is None else min(wanted, given))


def _mark(kind: Kind, obj: Obj, grace_s: int, at: datetime.datetime) -> None:
    metadata = obj["metadata"]
    given = metadata.get("deletionGracePeriodSeconds")
    if "deletionTimestamp" not in metadata:
        metadata["deletionTimestamp"] = instants.render(at + datetime.timedelta(seconds=grace_s))
        if kind.resource not in _WITHOUT_GRACE:
            metadata["deletionGracePeriodSeconds"] = grace_s
        if metadata.get("generation"):
            metadata["generation"] += 1
        if kind.resource == "namespaces":
            obj.setdefault("status", {})["phase"] = "Terminating"
    elif given is not None and grace_s < given:
        before = datetime.datetime.fromisoformat(metadata["deletionTimestamp"])
        metadata["deletionTimestamp"] = instants.render(before - datetime.timedelta(seconds=given - grace_s))
        metadata["deletionGracePeriodSeconds"] = grace_s
