"""One revision's scaler: its windows, its decider and what was decided last. Synchronous; time is a parameter.

Owned by ``autoscaler``, which feeds it (``record``, ``wake``, ``tick``) and writes what ``apply`` answers. Times are
Unix seconds of a clock that never goes back.

Invariant: after a restart nothing is scaled down before a full stable window was observed: more than one pod by the
panic rule of ``kpa.start``, the last one because activity counts as beginning at the restart.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from wakeful.core.api import conditions, instants
from wakeful.core.api.isvc_problem import mapping
from wakeful.core.scaling import activity, bounds, hpa, kpa
from wakeful.core.scaling.bounds import Activity, Reachability
from wakeful.core.scaling.metrics import RevisionMetrics
from wakeful.core.scaling.settings import HPA, KPA, Scaling

Obj = dict[str, Any]


@dataclass(frozen=True, slots=True)
class Facts:
    """What the cluster says about the revision now."""

    autoscaler: Obj
    replicas: int
    ready: int
    progress_deadline_s: float


@dataclass(frozen=True, slots=True)
class Next:
    """What to write: ``replicas`` None leaves the Deployment alone."""

    replicas: int | None
    status: activity.ActivityDecision
    bounded: bounds.Bounded


@dataclass(slots=True)
class Scaler:
    """Made when the autoscaler first sees the PodAutoscaler."""

    scaling: Scaling
    made_at: float
    ready: int
    decision: kpa.Decision = field(init=False)
    _metrics: RevisionMetrics = field(init=False)
    _state: kpa.State = field(init=False)
    _activity: tuple[Activity, float] | None = field(init=False, default=None)
    _hpa: tuple[hpa.State, hpa.Decision] | None = field(init=False, default=None)

    def __post_init__(self) -> None:
        self._metrics = RevisionMetrics(self.scaling)
        self._state = kpa.start(self.ready, self.made_at)
        self.decision = kpa.decide(self._state, self.scaling, None, self.ready, True, self.made_at)[1]

    @property
    def is_ours(self) -> bool:
        """Other classes belong to an autoscaler that somebody else runs: replicas and status are its to write."""
        return self.scaling.autoscaler_class in (KPA, HPA)

    def configure(self, scaling: Scaling) -> None:
        """Take over changed settings; the history is kept where the windows stay."""
        if scaling != self.scaling:
            self.scaling = scaling
            self._metrics.resize(scaling)

    def record(self, now: float, concurrency: float, requests: float) -> None:
        self._metrics.record(now, concurrency, requests)

    def wake(self, facts: Facts, now: float) -> kpa.Decision:
        """A request waits and there is no pod: count it and decide at once."""
        self._metrics.record_wake(now)
        return self.tick(facts, now)

    def tick(self, facts: Facts, now: float) -> kpa.Decision:
        """Decide anew."""
        if self.scaling.autoscaler_class == HPA:
            return self.decision
        is_reachable = reachability_of(facts.autoscaler) is not Reachability.UNREACHABLE
        averages = self._metrics.snapshot(now)
        self._state, self.decision = kpa.decide(
            self._state, self.scaling, averages, facts.ready, is_reachable, now
        )
        return self.decision

    def measure(self, facts: Facts, usage: hpa.Usage | None, now: float) -> hpa.Decision:
        """Decide anew by what the pods take, for the HPA class."""
        state = hpa.start(facts.replicas, now) if self._hpa is None else self._hpa[0]
        settings = hpa.read(mapping(facts.autoscaler["metadata"].get("annotations")))
        self._hpa = hpa.decide(state, settings, facts.replicas, usage, now)
        return self._hpa[1]

    @property
    def why(self) -> tuple[str, str]:
        """Reason and sentence of the last decision, for the log."""
        if self.scaling.autoscaler_class != HPA:
            return self.decision.reason.value, kpa.render(self.decision)
        if self._hpa is None:
            return hpa.Reason.NOT_MEASURED.value, "its pods were not measured yet"
        decision = self._hpa[1]
        return decision.reason.value, f"its pods take {decision.ratio:.2f} of their target"

    def apply(self, facts: Facts, now: float) -> Next:
        """What follows from the last decision for Deployment and status."""
        status = mapping(facts.autoscaler.get("status"))
        known = conditions.read(status, "Active")
        is_new = not mapping(status).get("conditions")
        present = Activity(known.status)
        is_initialized = conditions.read(status, "ScaleTargetInitialized").is_true
        reachability = reachability_of(facts.autoscaler)
        desired = self.decision.desired
        if self.scaling.autoscaler_class == HPA:
            desired = max(1, facts.replicas) if self._hpa is None else self._hpa[1].desired
        observed = bounds.Observed(
            replicas=facts.replicas,
            activity=present,
            activity_age_s=now - self._since(facts.autoscaler, present),
            proxied_s=now - created_at(facts.autoscaler),
            reachability=reachability,
            is_initialized=is_initialized,
            progress_deadline_s=facts.progress_deadline_s,
        )
        bounded = bounds.bound(desired, self.scaling, observed)
        previous = None if is_new else (present, _reason(known.reason))
        decided = activity.decide_activity(
            self.scaling, bounded.want, facts.ready, is_initialized, reachability, previous
        )
        if decided.activity is not present or is_new:
            self._activity = (decided.activity, now)
        changes = bounded.replicas is not None and bounded.replicas != facts.replicas
        return Next(bounded.replicas if changes else None, decided, bounded)

    def _since(self, autoscaler: Obj, present: Activity) -> float:
        """When the present activity began; not before this scaler was made."""
        if self._activity is None or self._activity[0] is not present:
            self._activity = (present, max(self.made_at, _transition(autoscaler)))
        return self._activity[1]


def reachability_of(autoscaler: Obj) -> Reachability:
    text = str(autoscaler["spec"].get("reachability") or "")
    return Reachability(text) if text in {r.value for r in Reachability} else Reachability.UNKNOWN


def created_at(obj: Obj) -> float:
    return instants.parse(obj["metadata"].get("creationTimestamp")).timestamp()


def _transition(autoscaler: Obj) -> float:
    found = mapping(autoscaler.get("status")).get("conditions") or []
    times = [c.get("lastTransitionTime") for c in found if c.get("type") == "Active"]
    return instants.parse(times[0]).timestamp() if times else created_at(autoscaler)


def _reason(text: str) -> activity.Reason:
    try:
        return activity.Reason(text)
    except ValueError:
        return activity.Reason.NO_TRAFFIC
