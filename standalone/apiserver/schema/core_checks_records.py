"""What Kubernetes checks in what programs write down: Events of both kinds, Leases.

Called by ``core_checks``. Left out: coordinated leader election.

Invariant: total on any JSON; an object that a real API server takes is never refused here.
"""

from __future__ import annotations

from typing import Any

from standalone.apiserver.schema import failure
from standalone.apiserver.schema.core_checks_pod import part
from standalone.apiserver.schema.failure import FieldError

Obj = dict[str, Any]
Errors = list[FieldError]
_ANYWHERE = ("", "default")
"""Where an Event about something without a namespace may be."""


def check_event(obj: Obj, errors: Errors) -> None:
    """An Event of the core group: it is where its object is."""
    namespace = part(obj, "metadata").get("namespace")
    about = part(obj, "involvedObject").get("namespace") or ""
    is_there = about == namespace or (not about and namespace in _ANYWHERE)
    if "involvedObject" in obj and not is_there:
        errors.append(failure.invalid("involvedObject.namespace", about, "does not match event.namespace"))


def check_new_event(obj: Obj, errors: Errors) -> None:
    """An Event of events.k8s.io."""
    kind = obj.get("type")
    if kind not in ("Normal", "Warning"):
        errors.append(failure.invalid("type", "", f"has invalid value: {kind or ''}"))


def check_lease(obj: Obj, errors: Errors) -> None:
    """A Lease."""
    spec = part(obj, "spec")
    lasts, turns = spec.get("leaseDurationSeconds"), spec.get("leaseTransitions")
    if isinstance(lasts, int) and lasts <= 0:
        errors.append(failure.invalid("spec.leaseDurationSeconds", lasts, "must be greater than 0"))
    if isinstance(turns, int) and turns < 0:
        errors.append(failure.invalid("spec.leaseTransitions", turns, "must be greater than or equal to 0"))
