"""Metrics of OpenAI's routes: time to first token, time between tokens, tokens, open streams.

``openai_edge`` measures every engine's streams here; engines that count tokens are read. Names:
``wakeful_openai_time_to_first_token_seconds``, ``wakeful_openai_inter_token_seconds``,
``wakeful_openai_tokens_total{kind=prompt|generation}``, ``wakeful_openai_streams``,
``wakeful_openai_cancelled_total``, all by ``model_name``. vLLM's own (``vllm:...``) stand beside them.

Invariant: ``model_name`` is a registered one; one event of a stream counts as one token in the inter-token time.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, Metric
from prometheus_client.core import CounterMetricFamily
from prometheus_client.registry import Collector

from wakeful.core.protocol.openai_answers import Usage

Totals = Callable[[], Iterable[tuple[str, Usage]]]

TOKEN_BUCKETS_S = (0.001, 0.005, 0.01, 0.025, 0.05, 0.075, 0.1, 0.15, 0.2, 0.3, 0.5, 1.0, 2.5)
FIRST_BUCKETS_S = (0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0, 120.0)
MODEL = ["model_name"]


class OpenAIMetrics:
    """All instruments, in the server's registry."""

    def __init__(self, registry: CollectorRegistry, totals: Totals) -> None:
        registry.register(Tokens(totals))
        self.first = Histogram(
            "wakeful_openai_time_to_first_token_seconds",
            "Request to first event of its stream",
            MODEL,
            registry=registry,
            buckets=FIRST_BUCKETS_S,
        )
        self.between = Histogram(
            "wakeful_openai_inter_token_seconds",
            "Between two events of a stream",
            MODEL,
            registry=registry,
            buckets=TOKEN_BUCKETS_S,
        )
        self.streams = Gauge("wakeful_openai_streams", "Streams open now", registry=registry)
        self.cancelled = Counter(
            "wakeful_openai_cancelled", "Streams whose reader went away", MODEL, registry=registry
        )


class Tokens(Collector):
    """``wakeful_openai_tokens_total`` of engines that count, read when somebody asks."""

    def __init__(self, totals: Totals) -> None:
        self._totals = totals

    def collect(self) -> Iterator[Metric]:
        family = CounterMetricFamily("wakeful_openai_tokens", "Tokens", labels=["model_name", "kind"])
        for name, usage in self._totals():
            family.add_metric([name, "prompt"], usage.prompt_tokens)
            family.add_metric([name, "generation"], usage.completion_tokens)
        yield family
