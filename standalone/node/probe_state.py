"""When a container's probes run and what their results mean: a state machine on ``now``. Pure.

One ``Probe`` per probe of a container. ``due_at`` says when the next attempt is; ``step`` takes its result. The
thresholds are Kubernetes' (Container v1 core, Probe). Between formal ticks a probe that has never succeeded is tried
more often (20 ms growing to the period): a success counts at once, a failure only on a tick. So a pod is Ready within
milliseconds of being able to answer, and ``failureThreshold * periodSeconds`` keeps its meaning.
``periodSeconds: 0`` is Knative's aggressive probing: quick until the first success, then every 10 s.

Invariant: ``verdict`` changes only after ``success_threshold`` good or ``failure_threshold`` bad results in a row.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from enum import StrEnum
from typing import Any

EAGER_FIRST_S = 0.02
EAGER_GROWTH = 1.3
EAGER_MAX_S = 0.5
FIRST_TICK_S = 1.0


class Kind(StrEnum):
    STARTUP = "Startup"
    READINESS = "Readiness"
    LIVENESS = "Liveness"


@dataclass(frozen=True, slots=True)
class Timing:
    """The numbers of a probe, in seconds, with Kubernetes' defaults."""

    kind: Kind
    initial_delay_s: float = 0.0
    period_s: float = 10.0
    timeout_s: float = 1.0
    success_threshold: int = 1
    failure_threshold: int = 3
    is_eager: bool = True
    """Whether attempts between ticks are made until the first success."""


def parse_timing(kind: Kind, probe: dict[str, Any]) -> Timing:
    """The timing of a probe as the pod spec writes it; absent numbers get their defaults."""

    def number(name: str, default: float) -> float:
        value = probe.get(name)
        return default if value is None else float(value)

    return Timing(
        kind=kind,
        initial_delay_s=max(0.0, number("initialDelaySeconds", 0)),
        period_s=number("periodSeconds", 10) or 10.0,
        timeout_s=number("timeoutSeconds", 1) or 1.0,
        success_threshold=max(1, int(number("successThreshold", 1))),
        failure_threshold=max(1, int(number("failureThreshold", 3))),
        is_eager=kind is not Kind.LIVENESS,
    )


@dataclass(frozen=True, slots=True)
class Probe:
    """A probe between two attempts. ``verdict`` is None until a threshold was reached for the first time."""

    timing: Timing
    due_at: float
    tick_at: float
    verdict: bool | None = None
    good: int = 0
    bad: int = 0
    eager_s: float = field(default=EAGER_FIRST_S)


def begin(timing: Timing, now: float) -> Probe:
    """The probe of a container that started ``now``."""
    first = now + timing.initial_delay_s
    # Nothing answers in the first moments of a process; that is not yet worth an Unhealthy event.
    tick = first + min(timing.period_s, FIRST_TICK_S) if timing.is_eager else first
    return Probe(timing, first, tick)


def step(probe: Probe, is_good: bool, now: float) -> tuple[Probe, bool]:
    """The state after an attempt that ended ``now``, and whether it counts as a failure (to be reported)."""
    timing = probe.timing
    if is_good:
        good = probe.good + 1
        verdict = True if good >= timing.success_threshold else probe.verdict
        pause_s = timing.period_s if verdict else EAGER_FIRST_S if timing.is_eager else timing.period_s
        due = now + pause_s
        return replace(probe, verdict=verdict, good=good, bad=0, due_at=due, tick_at=due), False
    if timing.is_eager and not probe.verdict and now < probe.tick_at:
        return _eager(replace(probe, good=0), now), False
    bad = probe.bad + 1
    verdict = False if bad >= timing.failure_threshold else probe.verdict
    after = replace(probe, verdict=verdict, good=0, bad=bad, tick_at=now + timing.period_s)
    if timing.is_eager and not verdict:
        return _eager(after, now), True
    return replace(after, due_at=after.tick_at), True


def _eager(probe: Probe, now: float) -> Probe:
    pause_s = min(probe.eager_s, EAGER_MAX_S)
    return replace(probe, due_at=min(now + pause_s, probe.tick_at), eager_s=pause_s * EAGER_GROWTH)
