"""Pods as objects: defaults, what may change, status, binding, eviction, graceful deletion, log errors."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
from cluster_api import Api, eventually
from cluster_objects import pod

NOW = {"gracePeriodSeconds": 0}


@pytest.fixture
def pods(api: Api, namespace: str) -> Iterator[str]:
    path = f"/api/v1/namespaces/{namespace}/pods"
    yield path
    api.delete(path, NOW)


def test_defaults(api: Api, pods: str) -> None:
    found = api.post(pods, pod("a")).ok()
    spec = found["spec"]
    assert spec["restartPolicy"] == "Always"
    assert spec["terminationGracePeriodSeconds"] == 30
    assert spec["dnsPolicy"] == "ClusterFirst"
    assert spec["schedulerName"] == "default-scheduler"
    assert spec["serviceAccountName"] == "default"
    assert spec["enableServiceLinks"] is True
    container = spec["containers"][0]
    assert container["imagePullPolicy"] == "IfNotPresent"
    assert container["terminationMessagePath"] == "/dev/termination-log"
    assert container["terminationMessagePolicy"] == "File"
    assert container["resources"] == {}
    assert found["status"]["phase"] == "Pending"
    assert found["status"]["qosClass"] == "BestEffort"


@pytest.mark.parametrize(
    ("spec", "field", "reason"),
    [
        ({"containers": []}, "spec.containers", "FieldValueRequired"),
        ({"containers": [{"image": "x"}]}, "spec.containers[0].name", "FieldValueRequired"),
        ({"containers": [{"name": "A_b", "image": "x"}]}, "spec.containers[0].name", "FieldValueInvalid"),
        ({"containers": [{"name": "a"}]}, "spec.containers[0].image", "FieldValueRequired"),
        (
            {"containers": [{"name": "a", "image": "x"}, {"name": "a", "image": "x"}]},
            "spec.containers[1].name",
            "FieldValueDuplicate",
        ),
        ({"restartPolicy": "Sometimes"}, "spec.restartPolicy", "FieldValueNotSupported"),
        (
            {
                "containers": [
                    {"name": "a", "image": "x", "volumeMounts": [{"name": "no", "mountPath": "/x"}]}
                ]
            },
            "spec.containers[0].volumeMounts[0].name",
            "FieldValueNotFound",
        ),
    ],
)
def test_malformed_pod(api: Api, pods: str, spec: dict[str, Any], field: str, reason: str) -> None:
    answer = api.post(pods, pod("a", **spec)).fails(422, "Invalid")
    assert answer.causes().get(field) == reason


def test_spec_is_fixed_but_for_a_few_fields(api: Api, pods: str) -> None:
    api.post(pods, pod("a")).ok()
    answer = api.patch(f"{pods}/a", {"spec": {"hostNetwork": True}}).fails(422, "Invalid")
    assert answer.causes() == {"spec": "FieldValueForbidden"}
    api.patch(f"{pods}/a", {"spec": {"activeDeadlineSeconds": 100}}).ok()
    image = [{"op": "replace", "path": "/spec/containers/0/image", "value": "example.invalid/none:2"}]
    api.patch(f"{pods}/a", image, media="application/json-patch+json").ok()
    api.patch(f"{pods}/a", {"metadata": {"labels": {"x": "y"}}}).ok()


def test_status_has_its_own_path(api: Api, pods: str) -> None:
    api.post(pods, pod("a")).ok()
    status = {"status": {"message": "by contract"}}
    api.patch(f"{pods}/a", status).ok()
    assert "message" not in api.get(f"{pods}/a").ok()["status"]
    found = api.patch(f"{pods}/a/status", {**status, "spec": {"nodeName": "other"}}).ok()
    assert found["status"]["message"] == "by contract"
    assert found["spec"].get("nodeName") != "other"


def test_fields_of_pods_can_be_selected(api: Api, pods: str) -> None:
    api.post(pods, pod("a")).ok()
    api.post(pods, pod("b")).ok()
    selectors = {
        "status.phase=Pending": 2,
        "status.phase!=Pending": 0,
        "spec.restartPolicy=Always,metadata.name=a": 1,
        "spec.nodeName=no-such-node": 0,
    }
    for selector, count in selectors.items():
        assert len(api.get(pods, fieldSelector=selector).ok()["items"]) == count, selector


def test_binding_of_a_bound_pod_is_a_conflict(api: Api, pods: str) -> None:
    api.post(pods, pod("a", nodeName="somewhere")).ok()
    body = {"metadata": {"name": "a"}, "target": {"kind": "Node", "name": "elsewhere"}}
    answer = api.post(f"{pods}/a/binding", body).fails(409, "Conflict")
    assert "already assigned to node" in answer.message


def test_eviction_deletes(api: Api, namespace: str, pods: str) -> None:
    api.post(pods, pod("a", nodeName="somewhere")).ok()
    body = {
        "apiVersion": "policy/v1",
        "kind": "Eviction",
        "metadata": {"name": "a", "namespace": namespace},
        "deleteOptions": NOW,
    }
    answer = api.post(f"{pods}/a/eviction", body)
    assert (answer.status, answer.body["status"]) == (201, "Success")
    api.gone(f"{pods}/a")
    api.post(f"{pods}/a/eviction", body).fails(404, "NotFound")


def test_graceful_deletion_waits_for_the_node(api: Api, pods: str) -> None:
    api.post(pods, pod("a", nodeName="somewhere", terminationGracePeriodSeconds=20)).ok()
    first = api.delete(f"{pods}/a").ok()["metadata"]
    assert first["deletionGracePeriodSeconds"] == 20
    assert first["deletionTimestamp"]
    sooner = api.delete(f"{pods}/a", {"gracePeriodSeconds": 5}).ok()["metadata"]
    assert sooner["deletionGracePeriodSeconds"] == 5
    later = api.delete(f"{pods}/a", {"gracePeriodSeconds": 50}).ok()["metadata"]
    assert later["deletionGracePeriodSeconds"] == 5
    api.delete(f"{pods}/a", NOW).ok()
    api.get(f"{pods}/a").fails(404, "NotFound")


def test_pod_that_has_ended_goes_at_once(api: Api, pods: str) -> None:
    api.post(pods, pod("a", nodeName="somewhere")).ok()
    api.patch(f"{pods}/a/status", {"status": {"phase": "Succeeded"}}).ok()
    api.delete(f"{pods}/a").ok()
    api.gone(f"{pods}/a")


def test_negative_grace_is_invalid(api: Api, pods: str) -> None:
    api.post(pods, pod("a", nodeName="somewhere")).ok()
    answer = api.delete(f"{pods}/a", {"gracePeriodSeconds": -5})
    assert answer.status in (200, 422)  # Kubernetes takes it as 1


def test_log_of_nobody(api: Api, pods: str) -> None:
    api.get(f"{pods}/nobody/log").fails(404, "NotFound")


def test_log_needs_a_container_that_is_there(api: Api, pods: str) -> None:
    two = [{"name": name, "image": "example.invalid/none:1"} for name in ("one", "two")]
    api.post(pods, pod("a", containers=two)).ok()
    answer = api.get(f"{pods}/a/log").fails(400, "BadRequest")
    assert "a container name must be specified for pod a, choose one of: [one two]" in answer.message
    answer = api.get(f"{pods}/a/log", container="three").fails(400, "BadRequest")
    assert "container three is not valid for pod a" in answer.message


def test_log_of_a_pod_that_waits(api: Api, pods: str) -> None:
    api.post(pods, pod("a")).ok()
    answer = eventually(lambda: api.get(f"{pods}/a/log"), "no answer")
    assert answer.status in (200, 204, 400)  # 204: no node was chosen yet
    if answer.status == 400:
        assert answer.reason == "BadRequest"


def test_secret_takes_text_and_shows_base64(api: Api, namespace: str) -> None:
    path = f"/api/v1/namespaces/{namespace}/secrets"
    found = api.post(path, {"metadata": {"name": "a"}, "stringData": {"key": "text"}}).ok()
    assert found["data"] == {"key": "dGV4dA=="}
    assert "stringData" not in found
    assert found["type"] == "Opaque"
    answer = api.post(path, {"metadata": {"name": "b"}, "data": {"key": "not base64!"}})
    assert answer.status in (400, 422)


def test_service_gets_defaults(api: Api, namespace: str) -> None:
    path = f"/api/v1/namespaces/{namespace}/services"
    found = api.post(path, {"metadata": {"name": "a"}, "spec": {"ports": [{"port": 80}]}}).ok()
    spec = found["spec"]
    assert spec["type"] == "ClusterIP"
    assert spec["ports"] == [{"port": 80, "targetPort": 80, "protocol": "TCP"}]
    assert spec["sessionAffinity"] == "None"
    assert api.is_embedded or spec["clusterIP"]  # one machine has no service network to take one from
    api.post(path, {"metadata": {"name": "1a"}, "spec": {"ports": [{"port": 80}]}}).fails(422, "Invalid")
    api.post(path, {"metadata": {"name": "b"}, "spec": {}}).fails(422, "Invalid")
