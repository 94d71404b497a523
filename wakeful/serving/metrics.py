"""The model server's metrics: one table of names, KServe's names where the quantity is the same.

``request_{preprocess,predict,explain,postprocess}_seconds{model_name}`` are KServe's histograms. Ours:
``wakeful_serving_requests_total{model_name,protocol,code}``, ``wakeful_serving_requests_in_flight``,
``wakeful_serving_rejected_total{reason}``, ``wakeful_serving_{import,load}_seconds``.

Invariant: label values are bounded: model names are registered ones (unknown ones count as ``-``), protocols and
reasons are fixed sets, codes are those the edge can answer.
"""

from __future__ import annotations

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram
from prometheus_client.platform_collector import PlatformCollector
from prometheus_client.process_collector import ProcessCollector

STAGE_BUCKETS_S = (
    0.0001,
    0.0005,
    0.001,
    0.0025,
    0.005,
    0.01,
    0.025,
    0.05,
    0.1,
    0.25,
    0.5,
    1.0,
    2.5,
    5.0,
    10.0,
    30.0,
)


class Metrics:
    """All instruments of one server, in a registry of its own."""

    def __init__(self) -> None:
        self.registry = CollectorRegistry()
        self.stages = {
            stage: Histogram(
                f"request_{stage}_seconds",
                f"{stage} request latency",
                ["model_name"],
                registry=self.registry,
                buckets=STAGE_BUCKETS_S,
            )
            for stage in ("preprocess", "predict", "explain", "postprocess")
        }
        self.requests = Counter(
            "wakeful_serving_requests",
            "Inference requests answered",
            ["model_name", "protocol", "code"],
            registry=self.registry,
        )
        self.in_flight = Gauge(
            "wakeful_serving_requests_in_flight", "Requests being answered now", registry=self.registry
        )
        self.rejected = Counter(
            "wakeful_serving_rejected",
            "Requests refused at a bound (queue, memory)",
            ["reason"],
            registry=self.registry,
        )
        self.import_s = Gauge(
            "wakeful_serving_import_seconds", "Process start to start of load", registry=self.registry
        )
        self.load_s = Gauge("wakeful_serving_load_seconds", "Time to load all models", registry=self.registry)
        ProcessCollector(registry=self.registry)
        PlatformCollector(registry=self.registry)
        self._observers: dict[tuple[str, str], Histogram] = {}
        self._counters: dict[tuple[str, str, int], Counter] = {}

    def observe_stage(self, stage: str, model_name: str, seconds: float) -> None:
        """Add one duration; any thread."""
        key = (stage, model_name)
        observer = self._observers.get(key)
        if observer is None:
            observer = self._observers[key] = self.stages[stage].labels(model_name)
        observer.observe(seconds)

    def count(self, model_name: str, protocol: str, code: int) -> None:
        """Count one answered inference request."""
        key = (model_name, protocol, code)
        counter = self._counters.get(key)
        if counter is None:
            counter = self._counters[key] = self.requests.labels(model_name, protocol, str(code))
        counter.inc()
