"""Who of the replicas acts, by a Lease as client-go's controllers use it: the rules, without clock and API.

Called by ``leader``. A holder renews; another takes over when it has not seen the Lease change for its duration,
measured on its own clock from when it first saw that state, so that clocks need not agree. Invariant: two replicas
that follow ``decide`` never both hold an unexpired Lease, since a write carries the resourceVersion that was read.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from typing import Any

Obj = dict[str, Any]


class Step(StrEnum):
    """What to do with the Lease."""

    RENEW = "renew"
    TAKE = "take"
    WAIT = "wait"


@dataclass(frozen=True, slots=True)
class Timing:
    """Seconds; with 15 s these are client-go's defaults."""

    duration_s: float = 15.0
    """How long a Lease that is not renewed is respected by others."""

    @property
    def deadline_s(self) -> float:
        """A holder that could not renew for this long stops: before others may take over."""
        return self.duration_s * 2 / 3

    @property
    def retry_s(self) -> float:
        """Between two looks."""
        return self.duration_s * 2 / 15


@dataclass(frozen=True, slots=True)
class Seen:
    """The state of the Lease that was seen last, and since when (monotonic seconds)."""

    state: tuple[str, str] = ("", "")
    since: float = 0.0


def look(lease: Obj, before: Seen, now: float) -> Seen:
    """What is known after reading ``lease`` at ``now``."""
    spec = lease.get("spec") or {}
    state = (str(spec.get("holderIdentity") or ""), str(spec.get("renewTime") or ""))
    return before if state == before.state and before.since else Seen(state, now)


def decide(lease: Obj, seen: Seen, identity: str, now: float) -> Step:
    """What ``identity`` does about ``lease``, which it has known as ``seen`` since then."""
    spec = lease.get("spec") or {}
    holder = str(spec.get("holderIdentity") or "")
    if holder == identity:
        return Step.RENEW
    duration_s = float(spec.get("leaseDurationSeconds") or 0)
    if not holder or now - seen.since >= duration_s:
        return Step.TAKE
    return Step.WAIT


def written(lease: Obj, step: Step, identity: str, at: str, duration_s: float) -> Obj:
    """The Lease as it is to be written by ``identity`` at ``at`` (RFC 3339 with microseconds)."""
    spec = dict(lease.get("spec") or {})
    if step is Step.TAKE:
        spec["acquireTime"] = at
        spec["leaseTransitions"] = int(spec.get("leaseTransitions") or 0) + 1
    spec |= {
        "holderIdentity": identity,
        "leaseDurationSeconds": max(1, round(duration_s)),
        "renewTime": at,
    }
    return {**lease, "spec": spec}


def released(lease: Obj, at: str) -> Obj:
    """The Lease without a holder: the next one who looks may take it at once."""
    spec = {**(lease.get("spec") or {}), "holderIdentity": "", "leaseDurationSeconds": 1, "renewTime": at}
    return {**lease, "spec": spec}
