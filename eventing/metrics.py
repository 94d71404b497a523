"""The event process's metrics. Labels are names of Kubernetes objects and closed sets, never parts of events."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator

from prometheus_client import CollectorRegistry, Counter, Histogram
from prometheus_client.core import GaugeMetricFamily, Metric
from prometheus_client.registry import Collector

from eventing.ports import Depth

BUCKETS_S = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60, 300)


class Metrics:
    """Counters and histograms; ``registry`` goes to the admin page."""

    def __init__(self, depths: Callable[[], Iterable[tuple[str, Depth]]]) -> None:
        self.registry = CollectorRegistry()
        self.received = Counter(
            "wakeful_broker_events",
            "Requests at the broker ingress by HTTP answer",
            ["namespace", "broker", "code"],
            registry=self.registry,
        )
        self.attempts = Counter(
            "wakeful_trigger_attempts",
            "Calls of subscribers and dead-letter sinks by answer (0: none)",
            ["namespace", "trigger", "code"],
            registry=self.registry,
        )
        self.outcomes = Counter(
            "wakeful_trigger_events",
            "Events that a Trigger is done with: delivered, replied, filtered, dead_lettered, lost",
            ["namespace", "trigger", "outcome"],
            registry=self.registry,
        )
        self.duration = Histogram(
            "wakeful_trigger_attempt_seconds",
            "How long one call took",
            ["namespace", "trigger"],
            buckets=BUCKETS_S,
            registry=self.registry,
        )
        self.registry.register(_Depths(depths))


class _Depths(Collector):
    """What the brokers hold, read when the page is asked for."""

    def __init__(self, depths: Callable[[], Iterable[tuple[str, Depth]]]) -> None:
        self._depths = depths

    def collect(self) -> Iterator[Metric]:
        deliveries = GaugeMetricFamily(
            "wakeful_broker_deliveries", "Deliveries not yet done", labels=["namespace", "broker"]
        )
        size = GaugeMetricFamily(
            "wakeful_broker_stored_bytes", "Bytes of events not yet delivered", labels=["namespace", "broker"]
        )
        for broker, depth in self._depths():
            labels = broker.split("/", 1)
            deliveries.add_metric(labels, depth.deliveries)
            size.add_metric(labels, depth.bytes)
        yield deliveries
        yield size
