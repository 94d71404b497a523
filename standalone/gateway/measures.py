"""The gateway's metrics: one table of names, units and labels, Knative's names where the quantity is the same (spec 3.11).

Label values are revisions that exist and status classes, so the number of series is bounded by the cluster's objects.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING

from prometheus_client import CollectorRegistry, Counter, Histogram
from prometheus_client.core import GaugeMetricFamily
from prometheus_client.metrics_core import Metric
from prometheus_client.registry import Collector

if TYPE_CHECKING:
    from standalone.gateway.fleet import Fleet

BUCKETS_S = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0)
LABELS = ("namespace", "revision")


class Measures:
    """Counters of the data path."""

    def __init__(self) -> None:
        self.registry = CollectorRegistry()
        self._durations = Histogram(
            "kn_serving_invocation_duration_seconds",
            "Time from a request to the end of its answer, waiting included.",
            (*LABELS, "response_code_class"),
            buckets=BUCKETS_S,
            registry=self.registry,
        )
        self._refusals = Counter(
            "wakeful_gateway_answers",
            "Answers that the gateway gave itself, by status.",
            ("status",),
            registry=self.registry,
        )
        self._children: dict[tuple[str, str, int], Histogram] = {}

    def served(self, namespace: str, revision: str, status: int, duration_s: float) -> None:
        """A request to a revision ended with ``status``."""
        key = (namespace, revision, status // 100)
        child = self._children.get(key)
        if child is None:
            child = self._children[key] = self._durations.labels(namespace, revision, f"{status // 100}xx")
        child.observe(duration_s)

    def answered(self, status: int) -> None:
        """The gateway itself answered."""
        self._refusals.labels(str(status)).inc()

    def forget(self, namespace: str, revision: str) -> None:
        """A revision is gone: its series too."""
        for key in [k for k in self._children if k[:2] == (namespace, revision)]:
            del self._children[key]
            self._durations.remove(namespace, revision, f"{key[2]}xx")


class FleetCollector(Collector):
    """Gauges read from the revisions when somebody asks."""

    def __init__(self, fleet: Fleet) -> None:
        self._fleet = fleet

    def collect(self) -> Iterable[Metric]:
        told = (
            ("kn_revision_request_concurrency", "Requests in flight, waiting ones included."),
            ("kn_revision_request_queued", "Requests that wait for a pod."),
            ("kn_revision_request_active", "Requests at pods."),
            ("wakeful_gateway_open_pods", "Pods that take requests."),
        )
        families = [GaugeMetricFamily(name, text, labels=LABELS) for name, text in told]
        for revision in self._fleet.items():
            labels = [revision.view.namespace, revision.view.name]
            breaker = revision.hold.breaker
            values = (revision.meter.current, breaker.waiting, breaker.in_flight, len(breaker.pods))
            for family, value in zip(families, values, strict=True):
                family.add_metric(labels, value)
        return families
