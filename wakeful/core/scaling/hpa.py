"""The HPA class: how many pods so that their mean cpu or memory stays at its target. Never zero.

Called by the embedded autoscaler with what the node measured; on a cluster Knative's HPA extension and Kubernetes do
this. Source: Kubernetes' horizontal pod autoscaling (algorithm, tolerance, default behaviour) and section 2.10 of the
reference page. Worked number: 3 pods at 120 % of their cpu request, target 80: ceil(3 x 1.5) = 5.

* within 10 % of the target nothing changes;
* up: at most as many again or 4 more in 15 s, whichever is more; down: to the highest wish of the last 300 s;
* ``autoscaling.knative.dev/window`` sets both stabilisation windows.

Invariant: the answer is at least 1, and without a measurement it is what there is.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum

from wakeful.core.scaling import durations
from wakeful.core.scaling.settings import SECONDS, annotation

TOLERANCE = 0.1
DEFAULT_CPU_PERCENT = 80.0
DOWN_WINDOW_S = 300.0
UP_PERIOD_S = 15.0
UP_PODS = 4
SYNC_S = 15.0
"""How often it decides."""
MIB = 1024.0 * 1024.0


class Reason(StrEnum):
    STEADY = "steady"
    UP = "up"
    DOWN = "down"
    STABILISED = "stabilised"
    LIMITED = "limited"
    NOT_MEASURED = "not measured"


@dataclass(frozen=True, slots=True)
class Settings:
    """``target``: percent of the cpu request, or bytes a pod. Windows in seconds."""

    metric: str = "cpu"
    target: float = DEFAULT_CPU_PERCENT
    up_window_s: float = 0.0
    down_window_s: float = DOWN_WINDOW_S


@dataclass(frozen=True, slots=True)
class Usage:
    """The mean over the ready pods that were measured."""

    pods: int
    cpu_percent: float | None
    """Of the request; None where a container names none."""
    memory_bytes: float


@dataclass(frozen=True, slots=True)
class State:
    """Wishes and rises of the past, with the second they are of."""

    wishes: tuple[tuple[float, int], ...] = ()
    rises: tuple[tuple[float, int], ...] = ()


@dataclass(frozen=True, slots=True)
class Decision:
    """``ratio`` is measured over target, 0 where nothing was measured."""

    desired: int
    reason: Reason
    ratio: float = 0.0


def read(annotations: Mapping[str, str]) -> Settings:
    """The settings of a revision; what admission would have refused falls back."""
    metric = annotation(annotations, "metric") or "cpu"
    target = _number(annotation(annotations, "target"))
    if target is None and metric in ("cpu", "memory"):
        metric = "cpu"  # as an HPA without metrics has it
    window = annotation(annotations, "window")
    try:
        window_s = durations.parse(window) if window else None
    except ValueError:
        window_s = None
    low, high = SECONDS["window"]
    if window_s is not None and not low <= window_s <= high:
        window_s = None
    if metric == "memory":
        target = (target or 0.0) * MIB
    elif metric == "cpu":
        target = float(math.ceil(target or DEFAULT_CPU_PERCENT))
    down_s = DOWN_WINDOW_S if window_s is None else window_s
    return Settings(metric, target or 0.0, window_s or 0.0, down_s)


def _number(text: str | None) -> float | None:
    try:
        value = float(text) if text else 0.0
    except ValueError:
        return None
    return value if math.isfinite(value) and value > 0 else None


def decide(
    state: State, settings: Settings, current: int, usage: Usage | None, now: float
) -> tuple[State, Decision]:
    """The pods wanted beside ``current`` (0: one), before the revision's own bounds."""
    if current < 1:
        return State(), Decision(1, Reason.STEADY)
    ratio = _ratio(settings, usage)
    if usage is None or ratio is None:
        return state, Decision(current, Reason.NOT_MEASURED)
    wish, reason = current, Reason.STEADY
    if abs(ratio - 1.0) > TOLERANCE:
        wish = max(1, math.ceil(round(usage.pods * ratio, 6)))
        if (ratio > 1.0 and wish < current) or (ratio < 1.0 and wish > current):
            wish = current  # pods that were not measured turn the direction: wait for them
    longest_s = max(settings.up_window_s, settings.down_window_s)
    wishes = (*((at, n) for at, n in state.wishes if now - at < longest_s), (now, wish))
    desired = _stabilised(wishes, settings, current, now)
    if wish != current:
        reason = Reason.UP if wish > current else Reason.DOWN
    if desired != wish:
        reason = Reason.STABILISED
    rises = tuple((at, n) for at, n in state.rises if now - at < UP_PERIOD_S)
    base = current - sum(n for _, n in rises)
    most = max(2 * base, base + UP_PODS)
    if desired > max(most, current):
        desired, reason = max(most, current), Reason.LIMITED
    if desired > current:
        rises = (*rises, (now, desired - current))
    return State(wishes, rises), Decision(desired, reason, ratio)


def start(current: int, now: float) -> State:
    """After a restart: what there is counts as wished for, so that nothing goes down before its window."""
    return State(((now, max(1, current)),))


def _stabilised(wishes: tuple[tuple[float, int], ...], settings: Settings, current: int, now: float) -> int:
    up = min(n for at, n in wishes if now - at <= settings.up_window_s)
    down = max(n for at, n in wishes if now - at <= settings.down_window_s)
    return min(max(current, up), down)


def _ratio(settings: Settings, usage: Usage | None) -> float | None:
    if usage is None or usage.pods < 1 or settings.target <= 0:
        return None
    if settings.metric == "cpu":
        return None if usage.cpu_percent is None else usage.cpu_percent / settings.target
    return usage.memory_bytes / settings.target if settings.metric == "memory" else None
