"""Children of Knative's kinds, as a real Knative 0.48 was seen to make them (e2e, the comparison of the homes)."""

from __future__ import annotations

from typing import Any

import pytest

from standalone.knative import build_revision, build_service, eventing_status, route

SERVICE: dict[str, Any] = {
    "metadata": {"name": "s", "namespace": "n", "uid": "service-uid", "annotations": {}},
    "spec": {"template": {"spec": {"containers": [{"image": "x"}]}}, "traffic": []},
}


def revision(**annotations: str) -> dict[str, Any]:
    notes = {f"autoscaling.knative.dev/{key}": value for key, value in annotations.items()}
    metadata = {"name": "s-00001", "namespace": "n", "uid": "revision-uid", "annotations": notes}
    return {"metadata": metadata, "spec": {"containers": [{"image": "x"}]}}


def test_configuration_names_its_services_uid_and_route_does_not() -> None:
    configuration = build_service.build_configuration(SERVICE)["metadata"]["labels"]
    assert configuration == {
        "serving.knative.dev/service": "s",
        "serving.knative.dev/serviceUID": "service-uid",
    }
    assert build_service.build_route(SERVICE)["metadata"]["labels"] == {"serving.knative.dev/service": "s"}


@pytest.mark.parametrize(
    ("given", "metric"),
    [
        ({}, "concurrency"),
        ({"class": "kpa.autoscaling.knative.dev"}, "concurrency"),
        ({"metric": "rps"}, "rps"),
        ({"class": "hpa.autoscaling.knative.dev"}, None),
    ],
)
def test_autoscaler_is_told_its_metric(given: dict[str, str], metric: str | None) -> None:
    made = build_revision.build_autoscaler(revision(**given), "Reachable")
    assert made["metadata"]["annotations"].get("autoscaling.knative.dev/metric") == metric


def test_autoscaler_without_a_limit_does_not_name_one() -> None:
    made = revision()
    assert "containerConcurrency" not in build_revision.build_autoscaler(made, "Reachable")["spec"]
    made["spec"]["containerConcurrency"] = 3
    assert build_revision.build_autoscaler(made, "Reachable")["spec"]["containerConcurrency"] == 3


def test_words_about_certificates() -> None:
    assert route.NO_TLS.message == "external-domain-tls is not enabled"


def test_a_broker_without_a_dead_letter_sink_says_so_as_information() -> None:
    made = eventing_status.build_broker_status({"metadata": {"name": "b", "namespace": "n"}}, 80, None, "T")
    told = {entry["type"]: entry for entry in made["conditions"]}
    assert told["DeadLetterSinkResolved"]["severity"] == "Info"
    assert told["Ready"]["status"] == "True" and "severity" not in told["Ready"]
