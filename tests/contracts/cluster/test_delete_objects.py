"""delete and deletecollection: answers, preconditions, finalizers, dry runs."""

from __future__ import annotations

from typing import Any

import pytest
from cluster_api import Api
from cluster_objects import config_map

HOLD = "contract.example.com/hold"


def _held(name: str) -> dict[str, Any]:
    body = config_map(name)
    body["metadata"]["finalizers"] = [HOLD]
    return body


def test_delete_answers_with_a_status(api: Api, configmaps: str) -> None:
    created = api.post(configmaps, config_map("a")).ok()
    found = api.delete(f"{configmaps}/a").ok()
    assert (found["kind"], found["apiVersion"], found["status"]) == ("Status", "v1", "Success")
    uid = created["metadata"]["uid"]
    assert found["details"] == {"name": "a", "kind": "configmaps", "uid": uid}
    api.get(f"{configmaps}/a").fails(404, "NotFound")


def test_delete_of_nothing_is_not_found(api: Api, configmaps: str) -> None:
    api.delete(f"{configmaps}/nobody").fails(404, "NotFound")


@pytest.mark.parametrize("key", ["uid", "resourceVersion"])
def test_precondition(api: Api, configmaps: str, key: str) -> None:
    created = api.post(configmaps, config_map("a")).ok()
    wrong = {"uid": "11111111-1111-1111-1111-111111111111", "resourceVersion": "1"}[key]
    answer = api.delete(f"{configmaps}/a", {"preconditions": {key: wrong}}).fails(409, "Conflict")
    assert (
        f"the {'UID' if key == 'uid' else 'ResourceVersion'} in the precondition ({wrong})" in answer.message
    )
    api.delete(f"{configmaps}/a", {"preconditions": {key: created["metadata"][key]}}).ok()
    api.get(f"{configmaps}/a").fails(404, "NotFound")


def test_dry_run_deletes_nothing(api: Api, configmaps: str) -> None:
    api.post(configmaps, config_map("a")).ok()
    api.delete(f"{configmaps}/a", {"dryRun": ["All"]}).ok()
    api.delete(f"{configmaps}/a", dryRun="All").ok()
    api.get(f"{configmaps}/a").ok()


@pytest.mark.parametrize(
    "options",
    [
        {"propagationPolicy": "Sideways"},
        {"dryRun": ["Some"]},
        {"propagationPolicy": "Orphan", "orphanDependents": True},
    ],
)
def test_malformed_options_are_invalid(api: Api, configmaps: str, options: dict[str, Any]) -> None:
    api.post(configmaps, config_map("a")).ok()
    api.delete(f"{configmaps}/a", options).fails(422, "Invalid")


def test_finalizer_holds_the_object(api: Api, configmaps: str) -> None:
    api.post(configmaps, _held("a")).ok()
    answered = api.delete(f"{configmaps}/a").ok()
    assert answered["metadata"]["deletionTimestamp"]
    held = api.get(f"{configmaps}/a").ok()
    assert held["metadata"]["deletionTimestamp"]
    assert held["metadata"]["deletionGracePeriodSeconds"] == 0
    assert held["metadata"]["finalizers"] == [HOLD]
    again = api.delete(f"{configmaps}/a").ok()
    assert again["metadata"]["resourceVersion"] == held["metadata"]["resourceVersion"]
    api.patch(f"{configmaps}/a", {"data": {"x": "still writable"}}).ok()
    api.patch(f"{configmaps}/a", {"metadata": {"finalizers": None}}).ok()
    api.get(f"{configmaps}/a").fails(404, "NotFound")


def test_no_finalizer_can_be_added_to_an_object_under_deletion(api: Api, configmaps: str) -> None:
    api.post(configmaps, _held("a")).ok()
    api.delete(f"{configmaps}/a").ok()
    more = {"metadata": {"finalizers": [HOLD, "contract.example.com/more"]}}
    answer = api.patch(f"{configmaps}/a", more).fails(422, "Invalid")
    assert answer.causes() == {"metadata.finalizers": "FieldValueForbidden"}
    api.patch(f"{configmaps}/a", {"metadata": {"finalizers": []}}).ok()


def test_name_can_be_used_again(api: Api, configmaps: str) -> None:
    first = api.post(configmaps, config_map("a")).ok()
    api.delete(f"{configmaps}/a").ok()
    second = api.post(configmaps, config_map("a")).ok()
    assert first["metadata"]["uid"] != second["metadata"]["uid"]


def test_name_under_deletion_is_taken(api: Api, configmaps: str) -> None:
    api.post(configmaps, _held("a")).ok()
    api.delete(f"{configmaps}/a").ok()
    answer = api.post(configmaps, config_map("a")).fails(409, "AlreadyExists")
    assert "a" in answer.message
    api.patch(f"{configmaps}/a", {"metadata": {"finalizers": None}}).ok()


def test_collection_by_selector(api: Api, configmaps: str) -> None:
    for name, color in (("a", "red"), ("b", "green"), ("c", "red")):
        api.post(configmaps, config_map(name, {"color": color})).ok()
    api.delete(configmaps, labelSelector="color=red").ok()
    left = [item["metadata"]["name"] for item in api.get(configmaps, labelSelector="color").ok()["items"]]
    assert left == ["b"]


def test_collection_of_a_namespace(api: Api, namespace: str) -> None:
    path = f"/api/v1/namespaces/{namespace}/secrets"
    for index in range(70):
        api.post(path, {"metadata": {"name": f"s-{index}"}}).ok()
    api.delete(path).ok()
    assert api.get(path).ok()["items"] == []


def test_dry_run_of_a_collection(api: Api, configmaps: str) -> None:
    api.post(configmaps, config_map("a", {"color": "red"})).ok()
    api.delete(configmaps, labelSelector="color", dryRun="All").ok()
    api.get(f"{configmaps}/a").ok()
