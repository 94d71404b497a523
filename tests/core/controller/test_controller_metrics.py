"""What the controller counts of its requests: by kind, never by name."""

from __future__ import annotations

import pytest
from prometheus_client import CollectorRegistry

from controller.metrics import Metrics, resource_of

APPS = "/apis/serving.knative.dev/v1"


@pytest.mark.parametrize(
    ("path", "resource"),
    [
        ("/apis/serving.kserve.io/v1beta1/inferenceservices?limit=5", "inferenceservices.serving.kserve.io"),
        (f"{APPS}/namespaces/a/services/b", "services.serving.knative.dev"),
        (f"{APPS}/namespaces/a/services/b/status", "services.serving.knative.dev/status"),
        ("/api/v1/namespaces/a/services/b", "services"),
        ("/api/v1/namespaces/a/events", "events"),
        ("/api/v1/namespaces/a", "namespaces"),
        (APPS, "discovery"),
        ("/apis", "discovery"),
        ("/version", "discovery"),
    ],
)
def test_a_path_is_counted_by_its_resource(path: str, resource: str) -> None:
    assert resource_of(path) == resource


def test_requests_are_counted_by_method_resource_and_code() -> None:
    registry = CollectorRegistry()
    metrics = Metrics(registry)
    for code in (200, 200, 409):
        metrics.answered("PUT", f"{APPS}/namespaces/a/services/b", code)
    labels = {"method": "PUT", "resource": "services.serving.knative.dev", "code": "200"}
    assert registry.get_sample_value("wakeful_api_requests_total", labels) == 2
    assert registry.get_sample_value("wakeful_api_requests_total", {**labels, "code": "409"}) == 1
