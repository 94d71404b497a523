"""Prometheus metrics of the autoscaler: one gauge a quantity, labelled by revision, read at scrape time.

Names as Knative's autoscaler has them. Invariant: a revision that is gone is not reported, so labels stay bounded.
"""

from __future__ import annotations

from collections.abc import Iterator

from prometheus_client.core import GaugeMetricFamily, Metric
from prometheus_client.registry import Collector

from standalone.knative.autoscaler import Autoscaler

LABELS = ["namespace_name", "revision_name"]
GAUGES = {
    "autoscaler_desired_pods": "Pods the autoscaler wants (-1: undecided)",
    "autoscaler_actual_pods": "Pods that are ready",
    "autoscaler_stable_request_concurrency": "Average of the metric over the stable window",
    "autoscaler_panic_request_concurrency": "Average of the metric over the panic window",
    "autoscaler_target_concurrency_per_pod": "Value of the metric a pod is meant to have",
    "autoscaler_excess_burst_capacity": "What the pods can take beyond load and reserve",
    "autoscaler_panic_mode": "1 while panicking",
}


class ScalerCollector(Collector):
    """Register with a ``CollectorRegistry``."""

    def __init__(self, autoscaler: Autoscaler) -> None:
        self._autoscaler = autoscaler

    def collect(self) -> Iterator[Metric]:
        families = [GaugeMetricFamily(name, text, labels=LABELS) for name, text in GAUGES.items()]
        for key, scaler in self._autoscaler.scalers.items():
            decision = scaler.decision
            values = (
                decision.desired,
                decision.ready,
                decision.stable,
                decision.panic,
                decision.target,
                decision.excess_burst_capacity,
                int(decision.is_panicking),
            )
            for family, value in zip(families, values, strict=True):
                family.add_metric(list(key), value)
        yield from families
