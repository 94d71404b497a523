"""update (PUT): versions, what an update cannot change, generation."""

from __future__ import annotations

from typing import Any

import pytest
from cluster_api import Api
from cluster_objects import config_map, deployment


@pytest.fixture
def present(api: Api, configmaps: str) -> dict[str, Any]:
    return api.post(configmaps, config_map("a", text="1")).ok()


def test_put_replaces(api: Api, configmaps: str, present: dict[str, Any]) -> None:
    present["data"] = {"other": "2"}
    found = api.put(f"{configmaps}/a", present).ok()
    assert found["data"] == {"other": "2"}
    assert int(found["metadata"]["resourceVersion"]) > int(present["metadata"]["resourceVersion"])
    assert found["metadata"]["uid"] == present["metadata"]["uid"]


def test_stale_version_is_a_conflict(api: Api, configmaps: str, present: dict[str, Any]) -> None:
    api.put(f"{configmaps}/a", {**present, "data": {"text": "2"}}).ok()
    answer = api.put(f"{configmaps}/a", {**present, "data": {"text": "3"}}).fails(409, "Conflict")
    assert answer.message == (
        'Operation cannot be fulfilled on configmaps "a": the object has been modified; '
        "please apply your changes to the latest version and try again"
    )
    assert api.get(f"{configmaps}/a").ok()["data"] == {"text": "2"}


def test_put_without_version_overwrites(api: Api, configmaps: str, present: dict[str, Any]) -> None:
    api.put(f"{configmaps}/a", {**present, "data": {"text": "2"}}).ok()
    assert api.put(f"{configmaps}/a", config_map("a", text="3")).ok()["data"] == {"text": "3"}


def test_custom_resource_needs_a_version(api: Api, namespace: str) -> None:
    lease = f"/apis/coordination.k8s.io/v1/namespaces/{namespace}/leases"
    api.post(lease, {"metadata": {"name": "a"}}).ok()
    answer = api.put(f"{lease}/a", {"metadata": {"name": "a"}}).fails(422, "Invalid")
    assert answer.causes() == {"metadata.resourceVersion": "FieldValueInvalid"}


def test_put_of_a_missing_object_is_not_found(api: Api, configmaps: str) -> None:
    api.put(f"{configmaps}/nobody", config_map("nobody")).fails(404, "NotFound")


def test_other_uid_is_a_conflict(api: Api, configmaps: str, present: dict[str, Any]) -> None:
    present["metadata"]["uid"] = "11111111-1111-1111-1111-111111111111"
    answer = api.put(f"{configmaps}/a", present).fails(409, "Conflict")
    assert "Precondition failed: UID in precondition" in answer.message


def test_names_of_body_and_path_must_agree(api: Api, configmaps: str, present: dict[str, Any]) -> None:
    present["metadata"]["name"] = "b"
    answer = api.put(f"{configmaps}/a", present).fails(400, "BadRequest")
    assert "does not match the name on the URL" in answer.message


def test_namespaces_of_body_and_path_must_agree(api: Api, configmaps: str, present: dict[str, Any]) -> None:
    present["metadata"]["namespace"] = "elsewhere"
    api.put(f"{configmaps}/a", present).fails(400, "BadRequest")


def test_nothing_changed_is_no_write(api: Api, configmaps: str, present: dict[str, Any]) -> None:
    found = api.put(f"{configmaps}/a", present).ok()
    assert found["metadata"]["resourceVersion"] == present["metadata"]["resourceVersion"]
    again = api.patch(f"{configmaps}/a", {"data": {"text": "1"}}).ok()
    assert again["metadata"]["resourceVersion"] == present["metadata"]["resourceVersion"]


def test_creation_and_deletion_times_stay(api: Api, configmaps: str, present: dict[str, Any]) -> None:
    changed = {**present, "metadata": {**present["metadata"]}, "data": {"text": "2"}}
    changed["metadata"]["creationTimestamp"] = "2001-01-01T00:00:00Z"
    changed["metadata"]["deletionTimestamp"] = "2001-01-01T00:00:00Z"
    changed["metadata"]["deletionGracePeriodSeconds"] = 5
    answer = api.put(f"{configmaps}/a", changed).fails(422, "Invalid")
    assert answer.causes() == {
        "metadata.deletionTimestamp": "FieldValueInvalid",
        "metadata.deletionGracePeriodSeconds": "FieldValueInvalid",
    }
    del changed["metadata"]["deletionTimestamp"], changed["metadata"]["deletionGracePeriodSeconds"]
    metadata = api.put(f"{configmaps}/a", changed).ok()["metadata"]
    assert metadata["creationTimestamp"] == present["metadata"]["creationTimestamp"]


def test_dry_run_of_an_update(api: Api, configmaps: str, present: dict[str, Any]) -> None:
    found = api.put(f"{configmaps}/a", {**present, "data": {"text": "2"}}, dryRun="All").ok()
    assert found["data"] == {"text": "2"}
    assert api.get(f"{configmaps}/a").ok() == present


def test_generation_counts_changes_of_the_spec(api: Api, namespace: str) -> None:
    path = f"/apis/apps/v1/namespaces/{namespace}/deployments"
    assert api.post(path, deployment("a")).ok()["metadata"]["generation"] == 1
    labelled = api.patch(f"{path}/a", {"metadata": {"labels": {"x": "y"}}}).ok()
    assert labelled["metadata"]["generation"] == 1
    paused = api.patch(f"{path}/a", {"spec": {"paused": True}}).ok()
    assert paused["metadata"]["generation"] == 2


def test_kinds_without_generation(api: Api, present: dict[str, Any]) -> None:
    assert "generation" not in present["metadata"]


@pytest.mark.parametrize("plural", ["configmaps", "secrets"])
def test_immutable_data(api: Api, namespace: str, plural: str) -> None:
    path = f"/api/v1/namespaces/{namespace}/{plural}"
    api.post(path, {"metadata": {"name": "a"}, "data": {"x": "eA=="}, "immutable": True}).ok()
    api.patch(f"{path}/a", {"metadata": {"labels": {"x": "y"}}}).ok()
    answer = api.patch(f"{path}/a", {"data": {"x": "eQ=="}}).fails(422, "Invalid")
    assert answer.causes() == {"data": "FieldValueForbidden"}
    answer = api.patch(f"{path}/a", {"immutable": False}).fails(422, "Invalid")
    assert answer.causes() == {"immutable": "FieldValueForbidden"}


def test_main_resource_leaves_the_status(api: Api, namespace: str) -> None:
    path = f"/apis/apps/v1/namespaces/{namespace}/deployments"
    body = {**deployment("a"), "status": {"replicas": 7}}
    assert api.post(path, body).ok().get("status", {}).get("replicas", 0) == 0
    found = api.patch(f"{path}/a", {"status": {"replicas": 7}}).ok()
    assert found.get("status", {}).get("replicas", 0) == 0


def test_unknown_patch_type_is_refused(api: Api, configmaps: str, present: dict[str, Any]) -> None:
    answer = api.patch(f"{configmaps}/a", {}, media="application/json").fails(415, "UnsupportedMediaType")
    assert answer.message == "415: Unsupported Media Type"


def test_merge_patch_with_a_version_is_guarded(api: Api, configmaps: str, present: dict[str, Any]) -> None:
    api.patch(f"{configmaps}/a", {"data": {"text": "2"}}).ok()
    old = {"metadata": {"resourceVersion": present["metadata"]["resourceVersion"]}, "data": {"text": "3"}}
    api.patch(f"{configmaps}/a", old).fails(409, "Conflict")


def test_force_is_for_apply_only(api: Api, configmaps: str, present: dict[str, Any]) -> None:
    answer = api.patch(f"{configmaps}/a", {}, force="true").fails(422, "Invalid")
    assert list(answer.causes()) == ["force"]
