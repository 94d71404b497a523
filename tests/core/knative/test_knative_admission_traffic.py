"""Knative's webhooks: scaling annotations and traffic blocks."""

from typing import Any

import pytest
from knative_reviews import GROUP, SCALE, admit, refusal, service

NOTES = [
    ("min-scale", "-1", "expected 0 <= -1 <= 2147483647"),
    ("min-scale", "x", "invalid value: x"),
    ("initial-scale", "0", "invalid value: 0"),
    ("activation-scale", "1", "expected 2 <= 1 <= 2147483647"),
    ("target", "0.001", "target 0.001 should be at least 0.01"),
    ("target", "nan", "target nan should be at least 0.01"),
    ("target-utilization-percentage", "0", "expected 1 <= 0 <= 100"),
    ("window", "5s", "expected 6s <= 5s <= 1h0m0s"),
    ("window", "7500ms", "window=7500ms is not a whole number of seconds"),
    ("window", "long", "invalid value: long"),
    ("panic-threshold-percentage", "100", "expected 110 <= 100 <= 1000"),
    ("target-burst-capacity", "-2", "expected 0 <= -2 <= 2147483647"),
    ("metric", "cpu", "invalid value: cpu"),
    ("class", "x.autoscaling.knative.dev", "invalid value: x.autoscaling.knative.dev"),
    ("metric-aggregation-algorithm", "mean", "invalid value: mean"),
]


@pytest.mark.parametrize(("key", "value", "text"), NOTES)
def test_refused_scaling(key: str, value: str, text: str) -> None:
    found = refusal(service(notes={f"{SCALE}/{key}": value}))
    assert found.startswith(f"{text}: spec.template.metadata.annotations.{SCALE}/{key}")


def test_scaling_that_is_fine_or_ignored() -> None:
    admit(
        service(
            notes={f"{SCALE}/minscale": "x", f"{SCALE}/target-burst-capacity": "-1", f"{SCALE}/minScale": "2"}
        )
    )
    assert "max-scale=1 is less than min-scale=2" in refusal(
        service(notes={f"{SCALE}/min-scale": "2", f"{SCALE}/max-scale": "1"})
    )


def test_scaling_on_the_service_itself() -> None:
    obj = service()
    obj["metadata"]["annotations"] = {f"{SCALE}/min-scale": "1"}
    assert refusal(obj) == (
        'autoscaling annotations must be put under "spec.template.metadata.annotations" to work: '
        f'metadata.annotations["{SCALE}/min-scale"]'
    )


TRAFFIC: list[tuple[list[dict[str, Any]], str]] = [
    ([{"percent": 99}], "Traffic targets sum to 99, want 100: spec.traffic"),
    (
        [{"percent": 100, "revisionName": "svc-00001", "latestRevision": True}],
        'may not set revisionName "svc-00001" when latestRevision is true: spec.traffic[0].latestRevision',
    ),
    (
        [{"percent": 100, "configurationName": "svc"}],
        "must not set the field(s): spec.traffic[0].configurationName",
    ),
    (
        [{"percent": 50, "tag": "a"}, {"percent": 50, "tag": "a"}],
        'Multiple definitions for "a": spec.traffic[0].tag, spec.traffic[1].tag',
    ),
    ([{"percent": 100, "url": "x"}], "must not set the field(s): spec.traffic[0].url"),
    ([{"percent": 100, "tag": "A b"}], "invalid value: A b: spec.traffic[0].tag\nnot a DNS 1035 label"),
    (
        [{"percent": 101}, {"percent": -1}],
        "expected 0 <= 101 <= 100: spec.traffic[0].percent\nexpected 0 <= -1 <= 100: spec.traffic[1].percent",
    ),
]


@pytest.mark.parametrize(("traffic", "text"), TRAFFIC)
def test_refused_traffic(traffic: list[dict[str, Any]], text: str) -> None:
    obj = service()
    obj["spec"]["traffic"] = traffic
    assert refusal(obj) == text


def test_route_names_exactly_one() -> None:
    route = {
        "apiVersion": f"{GROUP}/v1",
        "kind": "Route",
        "metadata": {"name": "r", "namespace": "ns"},
        "spec": {"traffic": [{"percent": 100}]},
    }
    assert refusal(route).startswith("expected exactly one, got neither: spec.traffic[0].configurationName")
