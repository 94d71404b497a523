"""The controller's own numbers, on the admin page: reconciles by outcome, how long they take, requests to the API.

kopf's own lists and watches are not among the requests; it never writes.
"""

from __future__ import annotations

import time
from collections.abc import Awaitable, Callable

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram

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
        self._requests = Counter(
            "wakeful_api_requests_total",
            "Requests to the API server by method, resource (with subresource) and status; code 0 is no answer",
            ["method", "resource", "code"],
            registry=registry,
        )
        self._leader = Gauge("wakeful_leader", "1 while this replica holds the Lease", registry=registry)
        self._certificate = Gauge(
            "wakeful_webhook_certificate_seconds", "Until the webhook certificate ends", registry=registry
        )
        self._seconds = Histogram(
            "wakeful_reconcile_seconds", "Duration of a reconcile", buckets=BUCKETS_S, registry=registry
        )

    def standing(self, is_leader: Callable[[], bool], certificate_s: Callable[[], float]) -> None:
        """Show whether this replica leads, and how long its webhook certificate is still valid."""
        self._leader.set_function(lambda: float(is_leader()))
        self._certificate.set_function(certificate_s)

    def answered(self, method: str, path: str, code: int) -> None:
        """Count one request; see ``Api``."""
        self._requests.labels(method, resource_of(path), str(code)).inc()

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


def resource_of(path: str) -> str:
    """``services.serving.knative.dev/status`` of an API path: names are left out, so the label has few values."""
    parts = path.partition("?")[0].strip("/").split("/")
    start, group = (3, f".{parts[1]}") if parts[0] == "apis" and len(parts) > 1 else (2, "")
    rest = parts[start:]
    if not rest or parts[0] not in ("api", "apis"):
        return "discovery"
    if rest[0] == "namespaces" and len(rest) > 2:
        rest = rest[2:]
    return "/".join([rest[0] + group, *rest[2:3]])
