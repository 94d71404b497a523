"""Metrics of several worker processes as one page: what a scrape of any of them answers.

Workers send ``report`` of their registry to the supervisor, which ``merge``s them; the worker that was asked shows the
result through ``Merged``. Counters and histograms add up, also those of workers that died (as last reported), so that no
counter goes back; gauges add up but for the few in ``_NOT_ADDED``. Left out: transport (``workers``).

Invariant: a counter on the page is never below what an earlier page of the same supervisor said.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from typing import Any

from prometheus_client import CollectorRegistry
from prometheus_client.core import Metric
from prometheus_client.registry import Collector

Family = list[Any]
"""[name, type, help, [[sample name, [[label, value], ...], number], ...]]: as JSON carries it."""
LASTING = frozenset({"counter", "histogram", "summary"})
_NOT_ADDED = {
    "process_start_time_seconds": min,
    "process_max_fds": max,
    "wakeful_serving_import_seconds": max,
    "wakeful_serving_load_seconds": max,
    "python_info": max,
}


def report(registry: CollectorRegistry) -> list[Family]:
    """What this process has counted. ``_created`` samples are left out: they mean nothing once added."""
    return [
        [
            family.name,
            family.type,
            family.documentation,
            [
                [sample.name, sorted(sample.labels.items()), sample.value]
                for sample in family.samples
                if not sample.name.endswith("_created")
            ],
        ]
        for family in registry.collect()
    ]


def lasting(families: Iterable[Family]) -> list[Family]:
    """What remains of a worker that has died: its counters."""
    return [family for family in families if family[1] in LASTING]


def merge(reports: Sequence[Iterable[Family]]) -> list[Family]:
    """One page of several, families and samples in the order in which they were first seen."""
    heads: dict[str, Family] = {}
    samples: dict[str, dict[tuple[str, tuple[tuple[str, str], ...]], float]] = {}
    for families in reports:
        for name, kind, text, found in families:
            heads.setdefault(name, [name, kind, text])
            sums = samples.setdefault(name, {})
            combine = _NOT_ADDED.get(name)
            for sample, labels, value in found:
                key = (sample, tuple((str(label), str(of)) for label, of in labels))
                if key not in sums:
                    sums[key] = value
                else:
                    sums[key] = combine(sums[key], value) if combine else sums[key] + value
    return [
        [
            *head,
            [
                [sample, [list(pair) for pair in labels], value]
                for (sample, labels), value in samples[name].items()
            ],
        ]
        for name, head in heads.items()
    ]


class Merged(Collector):
    """A merged page in the form that exposition encodes."""

    def __init__(self, families: Sequence[Family]) -> None:
        self._families = families

    def collect(self) -> Iterator[Metric]:
        for name, kind, text, found in self._families:
            metric = Metric(name, text, kind)
            for sample, labels, value in found:
                metric.add_sample(sample, dict(labels), value)
            yield metric

    def registry(self) -> CollectorRegistry:
        """A registry with this page and nothing else."""
        made = CollectorRegistry(auto_describe=False)
        made.register(self)
        return made
