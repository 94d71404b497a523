"""Knative's duck-typed conditions: True, False or Unknown, a reason, a sentence, and when the status last changed.

Used to write and read ``status.conditions`` of InferenceService, and to read those of Knative's kinds. Theory: a
"living" condition set; the happy condition (``Ready``) is True iff all its dependents are, False when one is, else
Unknown, and it takes the reason and message of the first dependent that holds it back.

Invariant: ``merge`` keeps ``lastTransitionTime`` of every condition whose status did not change, so that writing the
same facts twice writes nothing.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

from wakeful.core.api.isvc_problem import Obj, mappings

TRUE = "True"
FALSE = "False"
UNKNOWN = "Unknown"
INFO = "Info"


@dataclass(frozen=True, slots=True)
class Condition:
    """One condition without its time. ``reason`` is one CamelCase word where we choose it; ``message`` a sentence."""

    type: str
    status: str
    reason: str = ""
    message: str = ""
    severity: str = ""

    @property
    def is_true(self) -> bool:
        return self.status == TRUE

    @property
    def is_false(self) -> bool:
        return self.status == FALSE


def read(status: Any, type_: str) -> Condition:
    """The condition ``type_`` of an object's ``status``; Unknown without reason when it is not there."""
    for item in mappings(status.get("conditions") if isinstance(status, dict) else None):
        if item.get("type") == type_:
            return Condition(
                type_,
                str(item.get("status") or UNKNOWN),
                str(item.get("reason") or ""),
                str(item.get("message") or ""),
                str(item.get("severity") or ""),
            )
    return Condition(type_, UNKNOWN)


def roll_up(type_: str, dependents: Sequence[Condition]) -> Condition:
    """The happy condition over ``dependents``: the first False one decides, then the first Unknown one."""
    for status in (FALSE, UNKNOWN):
        for item in dependents:
            if item.status == status:
                return Condition(type_, status, item.reason, item.message)
    return Condition(type_, TRUE)


def merge(previous: Any, wanted: Iterable[Condition], at: str) -> list[Obj]:
    """``wanted`` as JSON, sorted by type; ``at`` (RFC 3339) is the time of those whose status changed."""
    old = {item.get("type"): item for item in mappings(previous)}
    merged = []
    for condition in sorted(wanted, key=lambda item: item.type):
        before = old.get(condition.type)
        same = before is not None and before.get("status") == condition.status
        time = str(before.get("lastTransitionTime") or at) if before is not None and same else at
        entry = {"type": condition.type, "status": condition.status, "lastTransitionTime": time}
        for key in ("reason", "message", "severity"):
            value = getattr(condition, key)
            if value:
                entry[key] = value
        merged.append(entry)
    return merged
