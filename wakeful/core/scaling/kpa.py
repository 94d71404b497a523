"""The KPA decision: how many pods one revision should have, from two averages and the pods that are ready.

Called by the autoscaler every 2 s and at once when a request waits for a sleeping revision; ``bounds`` then applies
min, max and the path to zero. Theory (section 2.5 of the reference page): desired = ceil(average / target), at most
``ceil(up-rate * ready)`` and at least ``floor(ready / down-rate)``. When the short (panic) average asks for
``panic-threshold`` times the ready pods the larger of both counts, and for a stable window nothing goes down.

Worked number: 1 ready pod, target 10, stable average 50, panic average 100: panic wants 10, 10/1 >= 2, so 10 pods.

Invariant: the answer lies between the two rate limits, except that a panic or a scale-down delay may hold an
earlier, higher answer, and activation scale may lift it. More load never means fewer pods.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from enum import StrEnum

from wakeful.core.scaling.metrics import Averages
from wakeful.core.scaling.settings import Scaling

TICK_S = 2.0
INVALID = -1
"""``desired`` before the first valid decision."""


class Reason(StrEnum):
    """Why ``desired`` is what it is: the rule that had the last word."""

    NO_DATA = "NoData"
    STABLE = "Stable"
    PANIC = "Panic"
    PANIC_HOLD = "PanicHold"
    UP_LIMITED = "ScaleUpRateLimited"
    DOWN_LIMITED = "ScaleDownRateLimited"
    ACTIVATION_SCALE = "ActivationScale"
    DELAYED = "ScaleDownDelayed"


@dataclass(frozen=True, slots=True)
class State:
    """What one revision's decider remembers between ticks."""

    panic_since: float | None = None
    most_in_panic: int = 0
    history: tuple[tuple[int, int], ...] = ()
    """(two-second bucket, largest desired in it), oldest first; only kept for a scale-down delay."""


@dataclass(frozen=True, slots=True)
class Decision:
    """``desired`` pods (-1: nothing known, change nothing) with the numbers that led there."""

    desired: int
    reason: Reason
    excess_burst_capacity: int
    ready: int
    stable: float = 0.0
    panic: float = 0.0
    target: float = 0.0
    is_panicking: bool = False

    @property
    def is_valid(self) -> bool:
        return self.desired >= 0


def start(ready: int, now: float) -> State:
    """The state of a decider that is created while ``ready`` pods run.

    With more than one it starts in panic, so that a restarted autoscaler keeps what runs for one stable window.
    """
    if ready > 1:
        return State(panic_since=now, most_in_panic=ready)
    return State(most_in_panic=ready)


def decide(
    state: State, scaling: Scaling, averages: Averages | None, ready: int, is_reachable: bool, now: float
) -> tuple[State, Decision]:
    """One tick. ``averages`` None means no data: the state stays and nothing is to be changed.

    ``ready`` counts ready pods that are not terminating; ``is_reachable`` is False only for superseded revisions.
    """
    if averages is None:
        burst = _burst(scaling, float(max(scaling.initial_scale, 0)), 0.0)
        return state, Decision(INVALID, Reason.NO_DATA, burst, ready)
    pods = max(1, ready)
    up = math.ceil(scaling.max_scale_up_rate * pods)
    down = math.floor(pods / scaling.max_scale_down_rate) if is_reachable else 0
    wish_stable = math.ceil(averages.stable / scaling.target)
    wish_panic = math.ceil(averages.panic / scaling.target)
    stable, panic = min(max(wish_stable, down), up), min(max(wish_panic, down), up)
    reason = _limit_reason(wish_stable, stable)
    if scaling.activation_scale > 1:
        if wish_stable > 0 and stable < scaling.activation_scale:
            stable, reason = scaling.activation_scale, Reason.ACTIVATION_SCALE
        if wish_panic > 0:
            panic = max(panic, scaling.activation_scale)
    state = _step_panic(state, scaling, wish_panic / pods >= scaling.panic_threshold, now)
    desired = stable
    if state.panic_since is not None:
        desired, reason = _in_panic(state, stable, panic, reason, _limit_reason(wish_panic, panic))
        state = replace(state, most_in_panic=desired)
    if is_reachable and scaling.scale_down_delay_s > 0:
        state, held = _delay(state, scaling, desired, now)
        if held > desired:
            desired, reason = held, Reason.DELAYED
    burst = _burst(scaling, float(ready), averages.panic)
    in_panic = state.panic_since is not None
    return state, Decision(
        desired, reason, burst, ready, averages.stable, averages.panic, scaling.target, in_panic
    )


def render(decision: Decision) -> str:
    """One sentence with the numbers of the decision."""
    if not decision.is_valid:
        return "nothing was measured yet, so nothing changes"
    return (
        f"{decision.desired} pods wanted ({decision.reason}): average {decision.stable:g} over the stable window, "
        f"{decision.panic:g} over the panic window, target {decision.target:g} a pod, {decision.ready} ready"
    )


def _limit_reason(wish: int, limited: int) -> Reason:
    if limited < wish:
        return Reason.UP_LIMITED
    return Reason.DOWN_LIMITED if limited > wish else Reason.STABLE


def _step_panic(state: State, scaling: Scaling, is_over: bool, now: float) -> State:
    if is_over:
        return replace(state, panic_since=now)
    if state.panic_since is not None and state.panic_since + scaling.window_s < now:
        return replace(state, panic_since=None, most_in_panic=0)
    return state


def _in_panic(
    state: State, stable: int, panic: int, stable_reason: Reason, panic_limit: Reason
) -> tuple[int, Reason]:
    desired = max(stable, panic)
    if state.most_in_panic > desired:
        return state.most_in_panic, Reason.PANIC_HOLD
    if stable >= panic:
        return desired, stable_reason
    return desired, Reason.UP_LIMITED if panic_limit is Reason.UP_LIMITED else Reason.PANIC


def _delay(state: State, scaling: Scaling, desired: int, now: float) -> tuple[State, int]:
    """Remember ``desired`` and return the largest of the delay."""
    bucket = math.floor(now / TICK_S)
    kept = dict(
        pair for pair in state.history if pair[0] > bucket - math.ceil(scaling.scale_down_delay_s / TICK_S)
    )
    kept[bucket] = max(desired, kept.get(bucket, 0))
    return replace(state, history=tuple(sorted(kept.items()))), max(kept.values())


def _burst(scaling: Scaling, pods: float, panic: float) -> int:
    """Excess burst capacity: what the pods can take beyond the present load and the wished reserve."""
    if scaling.target_burst_capacity == 0:
        return 0
    if scaling.target_burst_capacity < 0:
        return -1
    return math.floor(pods * scaling.total - scaling.target_burst_capacity - panic)
