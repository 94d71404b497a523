"""The controller's own numbers, on the admin page: reconciles by outcome, and how long they take."""

from __future__ import annotations

import time
from collections.abc import Awaitable, Callable

from prometheus_client import CollectorRegistry, Counter, Histogram

Key = tuple[str, str]
Reconcile = Callable[[Key], Awaitable[float | None]]

BUCKETS_S = (0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1.0, 5.0)


class Metrics:
    """Counters of one process."""

    def __init__(self, registry: CollectorRegistry) -> None:
        self._total = Counter(
            "wakeful_reconcile_total",
            "Reconciles of InferenceServices by outcome",
            ["outcome"],
            registry=registry,
        )
        self._seconds = Histogram(
            "wakeful_reconcile_seconds", "Duration of a reconcile", buckets=BUCKETS_S, registry=registry
        )

    def timed(self, reconcile: Reconcile) -> Reconcile:
        """``reconcile``, counted and timed."""

        async def run(key: Key) -> float | None:
            started = time.perf_counter()
            try:
                again = await reconcile(key)
            except Exception:
                self._total.labels("error").inc()
                raise
            finally:
                self._seconds.observe(time.perf_counter() - started)
            self._total.labels("requeue" if again is not None else "done").inc()
            return again

        return run
