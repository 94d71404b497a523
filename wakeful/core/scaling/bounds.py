"""From the KPA's wish to the number that is written: initial, min and max scale, and the path to zero.

Called by the autoscaler after ``kpa.decide`` and whenever pods or the PodAutoscaler change. A sleeping revision goes
through three states: Active (idle for less than the stable window: keep one pod), marked inactive (the gateway's
queue takes the traffic), then zero. Knative asks its activator whether it is in the path before it removes the last
pod; here the gateway always is, so that step is left out (docs/decisions/0031).

Invariant: a reachable revision never gets less than min-scale, and zero is written only when the revision was
inactive before, or never became ready within its deadline.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum

from wakeful.core.scaling.settings import Scaling

ACTIVATION_SLACK_S = 30.0
RECHECK_S = 3.0
UNKNOWN = -1


class Reachability(StrEnum):
    """Whether a route still leads to the revision."""

    REACHABLE = "Reachable"
    UNREACHABLE = "Unreachable"
    UNKNOWN = "Unknown"


class Activity(StrEnum):
    """The PodAutoscaler's ``Active`` condition."""

    ACTIVE = "True"
    ACTIVATING = "Unknown"
    INACTIVE = "False"


class Reason(StrEnum):
    """Which bound had the last word."""

    DESIRED = "Desired"
    UNDECIDED = "Undecided"
    MIN_SCALE = "MinScale"
    MAX_SCALE = "MaxScale"
    SCALE_TO_ZERO_OFF = "ScaleToZeroDisabled"
    ACTIVATING = "Activating"
    ACTIVATION_TIMED_OUT = "ActivationTimedOut"
    STILL_ACTIVE = "StillActive"
    BECOMING_INACTIVE = "BecomingInactive"
    RETAINED = "Retained"
    GRACE_PERIOD = "GracePeriod"
    SCALED_TO_ZERO = "ScaledToZero"


@dataclass(frozen=True, slots=True)
class Observed:
    """The revision as the autoscaler sees it. Times are seconds since something happened."""

    replicas: int
    """``spec.replicas`` of the Deployment now."""
    activity: Activity
    activity_age_s: float
    """How long ``activity`` has been what it is."""
    proxied_s: float
    """How long the gateway has been in the path of this revision."""
    reachability: Reachability
    is_initialized: bool
    """The initial scale was reached at least once."""
    progress_deadline_s: float = 600.0


@dataclass(frozen=True, slots=True)
class Bounded:
    """``replicas`` to write (None: leave as it is), ``want`` for the status, when to look again, and why."""

    replicas: int | None
    want: int
    reason: Reason
    recheck_s: float | None = None


def bound(desired: int, scaling: Scaling, observed: Observed) -> Bounded:
    """Apply section 2.6 of the reference page to ``desired`` (-1: undecided)."""
    if desired < 0 and observed.activity is not Activity.ACTIVATING:
        return Bounded(None, desired, Reason.UNDECIDED)
    is_unreachable = observed.reachability is Reachability.UNREACHABLE
    least = 0 if is_unreachable else scaling.min_scale
    if scaling.initial_scale > 1 and not observed.is_initialized and not is_unreachable:
        least = max(least, scaling.initial_scale)
    wanted, reason = desired, Reason.DESIRED
    if wanted < least:
        wanted, reason = least, Reason.MIN_SCALE
    if scaling.max_scale and wanted > scaling.max_scale:
        wanted, reason = scaling.max_scale, Reason.MAX_SCALE
    if wanted != 0:
        return Bounded(wanted, wanted, reason)
    return _to_zero(scaling, observed, is_unreachable)


def _to_zero(scaling: Scaling, observed: Observed, is_unreachable: bool) -> Bounded:
    if not scaling.enable_scale_to_zero:
        return Bounded(1, 1, Reason.SCALE_TO_ZERO_OFF)
    age_s = observed.activity_age_s
    if observed.activity is Activity.ACTIVATING:
        left_s = observed.progress_deadline_s + ACTIVATION_SLACK_S - age_s
        if left_s <= 0:
            return Bounded(0, 0, Reason.ACTIVATION_TIMED_OUT)
        return Bounded(None, UNKNOWN, Reason.ACTIVATING, left_s)
    if observed.activity is Activity.ACTIVE:
        left_s = scaling.window_s - age_s
        if left_s > 0:
            return Bounded(1, 1, Reason.STILL_ACTIVE, left_s)
        return Bounded(None, 0, Reason.BECOMING_INACTIVE, RECHECK_S)
    retention_s = 0.0 if is_unreachable else scaling.retention_s
    if age_s >= max(scaling.grace_period_s, retention_s):
        return Bounded(0, 0, Reason.SCALED_TO_ZERO)
    if retention_s > 0 and age_s < retention_s:
        return Bounded(None, 0, Reason.RETAINED, retention_s - age_s)
    if observed.proxied_s >= scaling.grace_period_s:
        return Bounded(0, 0, Reason.SCALED_TO_ZERO)
    left_s = scaling.grace_period_s - max(age_s, observed.proxied_s)
    return Bounded(None, 0, Reason.GRACE_PERIOD, left_s)
