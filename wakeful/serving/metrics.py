"""The model server's metrics: one table of names, KServe's names where the quantity is the same.

``request_{preprocess,predict,explain,postprocess}_seconds{model_name}`` are KServe's histograms. Ours:
``wakeful_serving_requests_total{model_name,protocol,code}``, ``wakeful_serving_requests_in_flight``,
``wakeful_serving_rejected_total{reason}`` (``Refusal``), ``wakeful_serving_{import,load}_seconds``, and of batches
``wakeful_serving_batches_total{model_name,reason}``, ``wakeful_serving_batch_rows``, ``wakeful_serving_queue_seconds``.
What is counted for every request is counted in plain numbers (0.2 to 0.3 us; a prometheus_client child costs 0.4 to 1 us,
docs/decisions/0112) and becomes metric families when somebody asks for the page.

Invariant: label values are bounded: model names are registered ones (unknown ones count as ``-``), protocols and
reasons are fixed sets, codes are those the edge can answer. Event loop only.
"""

from __future__ import annotations

from bisect import bisect_left
from collections import defaultdict
from collections.abc import Callable, Iterator, Mapping, Sequence
from enum import StrEnum
from itertools import accumulate

from prometheus_client import CollectorRegistry, Gauge
from prometheus_client.core import CounterMetricFamily, HistogramMetricFamily, Metric
from prometheus_client.platform_collector import PlatformCollector
from prometheus_client.process_collector import ProcessCollector
from prometheus_client.registry import Collector

from wakeful.core.scaling.batch import BatchReason, Waiting

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
ROW_BUCKETS = (1.0, 2.0, 4.0, 8.0, 16.0, 32.0, 64.0, 128.0, 256.0, 512.0, 1024.0)


class Refusal(StrEnum):
    """Which bound of the server a request ran into. A deadline is none: those answers count as 504."""

    QUEUE = "queue"
    """No thread and no place to wait for one (``--max_queue``)."""
    CONCURRENCY = "concurrency"
    """``--max_concurrency`` requests were being answered."""
    MEMORY = "memory"
    """All bodies together would have been over ``--max_buffered_bytes``."""
    STREAMS = "streams"
    """As many streams were open as may be (OpenAI, gRPC)."""
    CONNECTIONS = "connections"
    """A connection over ``--max_connections``."""


class _Distribution:
    """One histogram's numbers."""

    __slots__ = ("_bounds", "_counts", "_sum")

    def __init__(self, bounds: tuple[float, ...]) -> None:
        self._bounds = bounds
        self._counts = [0] * (len(bounds) + 1)
        self._sum = 0.0

    def observe(self, value: float, times: int = 1) -> None:
        self._counts[bisect_left(self._bounds, value)] += times
        self._sum += value * times

    def observe_each(self, values: Sequence[float]) -> None:
        bounds, counts = self._bounds, self._counts
        for value in values:
            counts[bisect_left(bounds, value)] += 1
        self._sum += sum(values)

    def add_to(self, family: HistogramMetricFamily, labels: Sequence[str]) -> None:
        names = [*map(str, self._bounds), "+Inf"]
        buckets = list(zip(names, accumulate(self._counts), strict=True))
        family.add_metric(labels, buckets, self._sum)


class BatchMetrics:
    """What is counted of one model's batches."""

    def __init__(self, predict: _Distribution) -> None:
        self.rows = _Distribution(ROW_BUCKETS)
        self.queue_s = _Distribution(STAGE_BUCKETS_S)
        self.reasons: dict[BatchReason, int] = defaultdict(int)
        self._predict = predict

    def closed(self, reason: BatchReason, calls: Sequence[Waiting], rows: int, now: float) -> None:
        """A batch closed at ``now`` (the calls' clock)."""
        self.reasons[reason] += 1
        self.rows.observe(rows)
        self.queue_s.observe_each([now - call.arrived for call in calls])

    def predicted(self, seconds: float, calls: int) -> None:
        """The model took ``seconds`` for ``calls`` requests together."""
        self._predict.observe(seconds, calls)


class _Plain(Collector):
    """The plain numbers as metric families."""

    def __init__(self) -> None:
        self.requests: dict[tuple[str, str, int], int] = defaultdict(int)
        self.stages: dict[tuple[str, str], _Distribution] = defaultdict(
            lambda: _Distribution(STAGE_BUCKETS_S)
        )
        self.batches: dict[str, BatchMetrics] = {}
        self.refusals: list[tuple[Refusal, Callable[[], int]]] = []

    def collect(self) -> Iterator[Metric]:
        for stage in ("preprocess", "predict", "explain", "postprocess"):
            name, text = f"request_{stage}_seconds", f"{stage} request latency"
            family = HistogramMetricFamily(name, text, labels=["model_name"])
            for (of, model), found in self.stages.items():
                if of == stage:
                    found.add_to(family, [model])
            yield family
        labels = ["model_name", "protocol", "code"]
        requests = CounterMetricFamily(
            "wakeful_serving_requests", "Inference requests answered", labels=labels
        )
        for (model, protocol, code), count in self.requests.items():
            requests.add_metric([model, protocol, str(code)], count)
        yield requests
        rejected = CounterMetricFamily(
            "wakeful_serving_rejected", "Requests and connections refused at a bound", labels=["reason"]
        )
        for reason in Refusal:
            rejected.add_metric([reason.value], sum(count() for of, count in self.refusals if of is reason))
        yield rejected
        yield from self._of_batches()

    def _of_batches(self) -> Iterator[Metric]:
        reasons = CounterMetricFamily(
            "wakeful_serving_batches", "Batches by why they closed", labels=["model_name", "reason"]
        )
        rows = HistogramMetricFamily("wakeful_serving_batch_rows", "Rows in a batch", labels=["model_name"])
        queue = HistogramMetricFamily(
            "wakeful_serving_queue_seconds", "Wait of a request for its batch", labels=["model_name"]
        )
        for model, found in self.batches.items():
            for reason, count in found.reasons.items():
                reasons.add_metric([model, reason.value], count)
            found.rows.add_to(rows, [model])
            found.queue_s.add_to(queue, [model])
        yield from (reasons, rows, queue)


class Metrics:
    """All instruments of one server, in a registry of its own."""

    def __init__(self) -> None:
        self.registry = CollectorRegistry()
        self._plain = _Plain()
        self.registry.register(self._plain)
        self.in_flight = Gauge(
            "wakeful_serving_requests_in_flight", "Requests being answered now", registry=self.registry
        )
        self.import_s = Gauge(
            "wakeful_serving_import_seconds", "Process start to start of load", registry=self.registry
        )
        self.load_s = Gauge("wakeful_serving_load_seconds", "Time to load all models", registry=self.registry)
        ProcessCollector(registry=self.registry)
        PlatformCollector(registry=self.registry)

    def observe_stage(self, stage: str, model_name: str, seconds: float) -> None:
        """Add one duration."""
        self._plain.stages[stage, model_name].observe(seconds)

    def count(self, model_name: str, protocol: str, code: int) -> None:
        """Count one answered inference request."""
        self._plain.requests[model_name, protocol, code] += 1

    def count_refusals(self, reason: Refusal, count: Callable[[], int]) -> None:
        """Have the page say what ``count`` says of ``reason``: each bound counts its own refusals, their sum is shown."""
        self._plain.refusals.append((reason, count))

    def counts(self) -> Mapping[tuple[str, str, int], int]:
        """Answered inference requests by model, protocol and code."""
        return self._plain.requests

    def of_batches(self, model_name: str) -> BatchMetrics:
        """The counts of one model's batches, always the same."""
        found = self._plain.batches.get(model_name)
        if found is None:
            predict = self._plain.stages["predict", model_name]
            found = self._plain.batches[model_name] = BatchMetrics(predict)
        return found
