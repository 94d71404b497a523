"""PATCH in its dialects: JSON patch, merge patch, strategic merge patch; what each refuses and how."""

from __future__ import annotations

import copy
from typing import Any

import pytest
from cluster_api import Api, Define, Obj
from cluster_objects import config_map, deployment, widget, widgets

JSON_PATCH = "application/json-patch+json"
MERGE = "application/merge-patch+json"
STRATEGIC = "application/strategic-merge-patch+json"


@pytest.fixture
def path(api: Api, configmaps: str) -> str:
    """A ConfigMap with two keys."""
    api.post(configmaps, config_map("c", a="1", b="2")).ok()
    return f"{configmaps}/c"


@pytest.fixture
def workload(api: Api, namespace: str) -> str:
    """A Deployment with two containers."""
    body = deployment("web")
    body["spec"]["template"]["spec"]["containers"] = [
        {"name": "a", "image": "i:1", "env": [{"name": "A", "value": "1"}, {"name": "B", "value": "2"}]},
        {"name": "b", "image": "i:2", "args": ["x", "y"]},
    ]
    collection = f"/apis/apps/v1/namespaces/{namespace}/deployments"
    api.post(collection, body).ok()
    return f"{collection}/web"


def containers(found: Obj) -> list[Any]:
    listed: list[Any] = found["spec"]["template"]["spec"]["containers"]
    return listed


def pod_patch(**spec: Any) -> Obj:
    return {"spec": {"template": {"spec": spec}}}


OPERATIONS: list[tuple[list[Obj], dict[str, str]]] = [
    ([{"op": "add", "path": "/data/c", "value": "3"}], {"a": "1", "b": "2", "c": "3"}),
    ([{"op": "replace", "path": "/data/a", "value": "9"}], {"a": "9", "b": "2"}),
    ([{"op": "remove", "path": "/data/a"}], {"b": "2"}),
    ([{"op": "move", "from": "/data/a", "path": "/data/c"}], {"b": "2", "c": "1"}),
    ([{"op": "copy", "from": "/data/a", "path": "/data/b"}], {"a": "1", "b": "1"}),
    ([{"op": "test", "path": "/data/a", "value": "1"}, {"op": "remove", "path": "/data/b"}], {"a": "1"}),
]  # fmt: skip


@pytest.mark.parametrize(("patch", "data"), OPERATIONS, ids=lambda value: str(value)[:40])
def test_json_patch_operations(api: Api, path: str, patch: Any, data: Any) -> None:
    assert api.patch(path, patch, JSON_PATCH).ok()["data"] == data


def test_a_json_patch_is_all_or_nothing(api: Api, path: str) -> None:
    patch = [{"op": "remove", "path": "/data/a"}, {"op": "test", "path": "/data/b", "value": "x"}]
    api.patch(path, patch, JSON_PATCH).fails(422, "Invalid")
    assert api.get(path).ok()["data"] == {"a": "1", "b": "2"}


@pytest.mark.parametrize("patch", [{"op": "add"}, "x", [{"op": "nothing", "path": "/a"}]], ids=str)
def test_what_is_no_json_patch_is_refused(api: Api, path: str, patch: Any) -> None:
    answer = api.patch(path, patch, JSON_PATCH)
    assert answer.status in (400, 422) and answer.message


def test_a_missing_place_is_422(api: Api, path: str) -> None:
    answer = api.patch(path, [{"op": "remove", "path": "/data/nothing"}], JSON_PATCH)
    answer.fails(422, "Invalid")


def test_merge_patch_merges_maps_deletes_by_null_and_replaces_lists(api: Api, workload: str) -> None:
    found = api.patch(workload, {"metadata": {"labels": {"x": "y"}}, "spec": {"paused": True}}, MERGE).ok()
    assert found["metadata"]["labels"] == {"x": "y"} and found["spec"]["paused"] is True
    found = api.patch(workload, {"metadata": {"labels": {"x": None}}, "spec": {"paused": None}}, MERGE).ok()
    assert "paused" not in found["spec"] and not found["metadata"].get("labels")
    found = api.patch(workload, pod_patch(containers=[{"name": "c", "image": "i"}]), MERGE).ok()
    assert [one["name"] for one in containers(found)] == ["c"]


@pytest.mark.parametrize("media", [MERGE, STRATEGIC])
@pytest.mark.parametrize("patch", [[], "x", 1], ids=str)
def test_a_merge_patch_must_be_an_object(api: Api, path: str, media: str, patch: Any) -> None:
    api.patch(path, patch, media).fails(400, "BadRequest")


@pytest.mark.parametrize("media", [JSON_PATCH, MERGE, STRATEGIC])
def test_malformed_json_is_400(api: Api, path: str, media: str) -> None:
    api.patch(path, b"{", media).fails(400, "BadRequest")


def test_an_unknown_media_type_is_415(api: Api, path: str) -> None:
    api.patch(path, {}, "application/x-nothing").fails(415, "UnsupportedMediaType")


def test_strategic_merge_merges_lists_by_key(api: Api, workload: str) -> None:
    patch = pod_patch(containers=[{"name": "b", "image": "i:3"}, {"name": "c", "image": "i:4"}])
    found = containers(api.patch(workload, patch, STRATEGIC).ok())
    # Items of the patch come in its order; where it says nothing of "a", new ones go first.
    assert {one["name"]: one["image"] for one in found} == {"a": "i:1", "b": "i:3", "c": "i:4"}
    assert next(one for one in found if one["name"] == "b")["args"] == ["x", "y"]
    patch = pod_patch(containers=[{"name": "a", "env": [{"name": "B", "value": "9"}]}])
    found = containers(api.patch(workload, patch, STRATEGIC).ok())
    env = next(one for one in found if one["name"] == "a")["env"]
    assert {one["name"]: one["value"] for one in env} == {"A": "1", "B": "9"}


def test_strategic_directives(api: Api, workload: str) -> None:
    patch = pod_patch(containers=[{"$patch": "delete", "name": "a"}])
    assert [one["name"] for one in containers(api.patch(workload, patch, STRATEGIC).ok())] == ["b"]
    patch = pod_patch(containers=[{"$patch": "replace"}, {"name": "only", "image": "i"}])
    assert [one["name"] for one in containers(api.patch(workload, patch, STRATEGIC).ok())] == ["only"]
    patch = {"spec": {"strategy": {"$retainKeys": ["type"], "type": "Recreate"}}}
    assert api.patch(workload, patch, STRATEGIC).ok()["spec"]["strategy"] == {"type": "Recreate"}


def test_the_order_of_a_list_follows_set_element_order(api: Api, workload: str) -> None:
    order = [{"name": "b"}, {"name": "a"}]
    patch = pod_patch(**{"$setElementOrder/containers": order, "containers": [{"name": "a", "image": "i:9"}]})
    found = containers(api.patch(workload, patch, STRATEGIC).ok())
    assert [one["name"] for one in found] == ["b", "a"] and found[1]["image"] == "i:9"


def test_primitive_lists_delete_by_directive(api: Api, path: str) -> None:
    api.patch(path, {"metadata": {"finalizers": ["x.io/a", "x.io/b"]}}, MERGE).ok()
    patch = {"metadata": {"$deleteFromPrimitiveList/finalizers": ["x.io/a"]}}
    assert api.patch(path, patch, STRATEGIC).ok()["metadata"]["finalizers"] == ["x.io/b"]
    patch = {"metadata": {"finalizers": ["x.io/c"]}}
    assert set(api.patch(path, patch, STRATEGIC).ok()["metadata"]["finalizers"]) == {"x.io/b", "x.io/c"}
    api.patch(path, {"metadata": {"finalizers": None}}, MERGE).ok()


def test_an_item_without_its_merge_key_is_refused(api: Api, workload: str) -> None:
    answer = api.patch(workload, pod_patch(containers=[{"image": "x"}]), STRATEGIC)
    assert answer.status in (400, 422, 500) and "merge key" in answer.message


def test_custom_resources_have_no_strategic_merge(api: Api, namespace: str, define: Define) -> None:
    crd = define()
    collection = widgets(crd, namespace)
    api.post(collection, widget(crd, "w", free={"list": [1, 2]})).ok()
    api.patch(f"{collection}/w", {"spec": {"size": 2}}, STRATEGIC).fails(415, "UnsupportedMediaType")
    found = api.patch(f"{collection}/w", {"spec": {"size": 2, "free": {"list": [3]}}}, MERGE).ok()
    assert found["spec"]["free"] == {"list": [3]} and found["metadata"]["generation"] == 2
    found = api.patch(
        f"{collection}/w", [{"op": "replace", "path": "/spec/size", "value": 3}], JSON_PATCH
    ).ok()
    assert found["spec"]["size"] == 3
    api.patch(f"{collection}/w", {"spec": {"size": 11}}, MERGE).fails(422, "Invalid")


def test_a_patch_that_changes_nothing_writes_nothing(api: Api, path: str) -> None:
    before = api.get(path).ok()["metadata"]["resourceVersion"]
    for media in (MERGE, STRATEGIC):
        assert api.patch(path, {"data": {"a": "1"}}, media).ok()["metadata"]["resourceVersion"] == before


def test_a_patch_may_not_change_what_the_object_is(api: Api, path: str) -> None:
    before = api.get(path).ok()
    assert api.patch(path, {"metadata": {"name": "d"}}, MERGE).status == 400
    assert api.patch(path, {"kind": "Secret"}, MERGE).fails(422, "Invalid").causes() == {
        "patch": "FieldValueInvalid"
    }
    after = copy.deepcopy(api.get(path).ok())
    assert (after["metadata"]["name"], after["kind"]) == ("c", before["kind"])


def test_a_patch_with_a_stale_version_is_409(api: Api, path: str) -> None:
    old = api.get(path).ok()["metadata"]["resourceVersion"]
    api.patch(path, {"data": {"a": "9"}}, MERGE).ok()
    patch = {"metadata": {"resourceVersion": old}, "data": {"a": "8"}}
    api.patch(path, patch, MERGE).fails(409, "Conflict")


def test_unknown_fields_of_a_patch_are_treated_as_asked(api: Api, workload: str) -> None:
    patch = {"spec": {"bogus": 1}}
    warned = api.patch(workload, patch, MERGE, fieldValidation="Warn")
    assert warned.status == 200 and 'unknown field "spec.bogus"' in warned.header("warning").replace("\\", "")
    strict = api.patch(workload, patch, MERGE, fieldValidation="Strict")
    assert strict.status in (400, 422) and "spec.bogus" in strict.message
    assert not api.patch(workload, patch, MERGE, fieldValidation="Ignore").header("warning")


def test_a_dry_run_changes_nothing(api: Api, path: str) -> None:
    assert api.patch(path, {"data": {"a": "9"}}, MERGE, dryRun="All").ok()["data"]["a"] == "9"
    assert api.get(path).ok()["data"]["a"] == "1"
