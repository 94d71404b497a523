"""The PodAutoscaler's conditions: is the revision active, was its initial scale ever reached, can traffic reach it.

Called by the autoscaler after ``bounds.bound``. Sections 2.8 and 2.9 of the reference page.

Invariant: ``is_initialized`` never goes back; a revision with enough ready pods that somebody wants is Active.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum

from wakeful.core.scaling.bounds import Activity, Reachability
from wakeful.core.scaling.settings import Scaling


class Reason(StrEnum):
    """Reasons of the ``Active`` condition, as Knative writes them; ACTIVE is the empty reason of a True."""

    ACTIVE = ""
    QUEUED = "Queued"
    NO_TRAFFIC = "NoTraffic"
    TIMED_OUT = "TimedOut"


MESSAGES = {
    Reason.ACTIVE: "",
    Reason.QUEUED: "Requests to the target are being buffered as resources are provisioned.",
    Reason.NO_TRAFFIC: "The target is not receiving traffic.",
    Reason.TIMED_OUT: "The target could not be activated.",
}


@dataclass(frozen=True, slots=True)
class ActivityDecision:
    """The next ``Active`` condition and whether the initial scale counts as reached."""

    activity: Activity
    reason: Reason
    is_initialized: bool

    @property
    def message(self) -> str:
        return MESSAGES[self.reason]


def decide_activity(
    scaling: Scaling,
    want: int,
    ready: int,
    is_initialized: bool,
    reachability: Reachability,
    previous: tuple[Activity, Reason] | None,
) -> ActivityDecision:
    """The ``Active`` condition. ``want`` is ``Bounded.want`` (-1: undecided), ``previous`` None for a new object."""
    least_scale = 0 if reachability is Reachability.UNREACHABLE else scaling.min_scale
    least = max(least_scale, 1) if is_initialized else max(least_scale, scaling.initial_scale)
    initialized = is_initialized or ready >= least
    was = previous[0] if previous else None
    if want == 0 or least == 0:
        failed = was is Activity.ACTIVATING and least > 0
        stays = was is Activity.INACTIVE and previous is not None and previous[1] is Reason.TIMED_OUT
        reason = Reason.TIMED_OUT if failed or stays else Reason.NO_TRAFFIC
        return ActivityDecision(Activity.INACTIVE, reason, initialized)
    if want < 0 and was is Activity.INACTIVE and previous is not None:
        return ActivityDecision(Activity.INACTIVE, previous[1], initialized)
    if ready < least:
        return ActivityDecision(Activity.ACTIVATING, Reason.QUEUED, initialized)
    return ActivityDecision(Activity.ACTIVE, Reason.ACTIVE, initialized)


def decide_reachability(routing_state: str, is_infrastructure_failed: bool) -> Reachability:
    """Section 2.9: a superseded or broken revision is Unreachable, so that it lets go of its pods."""
    if is_infrastructure_failed or routing_state == "reserve":
        return Reachability.UNREACHABLE
    return Reachability.REACHABLE if routing_state == "active" else Reachability.UNKNOWN
