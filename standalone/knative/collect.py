"""Garbage collection of revisions: which superseded ones may go (``config-gc``). Pure.

Called by the Configuration controller. Section 1.11 of the reference page: never the latest ready one, one marked
``no-gc`` or one that a route still names; first those old enough while more than ``min`` remain, then the oldest
beyond ``max``.

Invariant: after a pass no more than ``max`` non-active revisions remain.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from wakeful.core.api import instants
from wakeful.core.api import knative_serving_names as names
from wakeful.core.scaling.config_values import read_seconds

Obj = dict[str, Any]
DISABLED = None


@dataclass(frozen=True, slots=True)
class Retention:
    """``config-gc``; None is ``disabled``."""

    since_create_s: float | None = 48 * 3600.0
    since_active_s: float | None = 15 * 3600.0
    least: int = 20
    most: int | None = 1000


def parse_retention(data: Mapping[str, str]) -> Retention:
    """Raises ``ValueError`` with key and value."""
    base = Retention()

    def seconds(key: str, default: float | None) -> float | None:
        text = data.get(key)
        if text is None:
            return default
        if text == "disabled":
            return DISABLED
        found = read_seconds(key, text)
        if found < 0:
            raise ValueError(f"{key} = {text}, want 0s or more, or disabled")
        return found

    def count(key: str, default: int | None) -> int | None:
        text = data.get(key)
        if text is None:
            return default
        if text == "disabled":
            return DISABLED
        if not text.isdigit():
            raise ValueError(f"{key}: {text!r} is not a whole number of 0 or more, nor disabled")
        return int(text)

    least, most = count("min-non-active-revisions", base.least), count("max-non-active-revisions", base.most)
    if least is not None and most is not None and least > most:
        raise ValueError(f"min-non-active-revisions ({least}) must be <= max-non-active-revisions ({most})")
    return Retention(
        seconds("retain-since-create-time", base.since_create_s),
        seconds("retain-since-last-active-time", base.since_active_s),
        least or 0,
        most,
    )


def plan_collection(
    revisions: Iterable[Obj], latest_ready: str, retention: Retention, at: datetime
) -> list[Obj]:
    """The revisions of one Configuration to delete now, oldest first."""
    candidates = sorted(
        (obj for obj in revisions if not _is_active(obj, latest_ready)),
        key=lambda obj: (_since(obj), obj["metadata"]["name"]),
    )
    doomed = _too_old(candidates, retention, at)
    gone = {obj["metadata"]["name"] for obj in doomed}
    left = [obj for obj in candidates if obj["metadata"]["name"] not in gone]
    if retention.most is not None and len(left) > retention.most:
        doomed += left[: len(left) - retention.most]
    return doomed


def _too_old(candidates: Sequence[Obj], retention: Retention, at: datetime) -> list[Obj]:
    if retention.since_create_s is None and retention.since_active_s is None:
        return []
    doomed: list[Obj] = []
    for obj in candidates:
        if len(candidates) - len(doomed) <= retention.least:
            break
        created = instants.parse(obj["metadata"].get("creationTimestamp"))
        if _is_over(at, created, retention.since_create_s) and _is_over(
            at, _since(obj), retention.since_active_s
        ):
            doomed.append(obj)
    return doomed


def _is_active(obj: Obj, latest_ready: str) -> bool:
    metadata = obj["metadata"]
    return (
        metadata["name"] == latest_ready
        or (metadata.get("annotations") or {}).get(names.NO_GC) == "true"
        or (metadata.get("labels") or {}).get(names.ROUTING_STATE) != names.RESERVE
    )


def _since(obj: Obj) -> datetime:
    text = (obj["metadata"].get("annotations") or {}).get(names.ROUTING_STATE_MODIFIED)
    return instants.parse(text or obj["metadata"].get("creationTimestamp"))


def _is_over(at: datetime, since: datetime, limit_s: float | None) -> bool:
    return limit_s is None or (at - since).total_seconds() > limit_s
