"""Server-side apply: ownership, conflicts and force, what goes when it is no longer applied, managedFields."""

from __future__ import annotations

import json
from typing import Any

import pytest
from cluster_api import Answer, Api, Define, Obj
from cluster_objects import deployment, widgets

APPLY = "application/apply-patch+yaml"


def apply(api: Api, path: str, body: Obj, manager: str, **query: str) -> Answer:
    return api.patch(path, body, APPLY, fieldManager=manager, **query)


def config(**data: str) -> Obj:
    return {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "c"}, "data": data}


def owned(found: Obj, manager: str, operation: str = "Apply") -> Obj:
    for entry in found["metadata"].get("managedFields", ()):
        if (entry["manager"], entry["operation"]) == (manager, operation):
            fields: Obj = entry["fieldsV1"]
            return fields
    return {}


@pytest.fixture
def path(configmaps: str) -> str:
    return f"{configmaps}/c"


def test_apply_creates_and_says_who_owns_what(api: Api, path: str) -> None:
    answer = apply(api, path, config(a="1"), "me")
    assert answer.status == 201
    assert owned(answer.ok(), "me") == {"f:data": {"f:a": {}}}
    assert apply(api, path, config(a="1"), "me").status == 200


def test_an_apply_that_changes_nothing_writes_nothing(api: Api, path: str) -> None:
    before = apply(api, path, config(a="1"), "me").ok()
    assert apply(api, path, config(a="1"), "me").ok() == before


def test_a_conflict_names_the_manager_and_the_field(api: Api, path: str) -> None:
    apply(api, path, config(a="1", b="1"), "one").ok()
    answer = apply(api, path, config(a="2"), "two").fails(409, "Conflict")
    assert answer.message == 'Apply failed with 1 conflict: conflict with "one": .data.a'
    [cause] = answer.body["details"]["causes"]
    assert cause == {"reason": "FieldManagerConflict", "message": 'conflict with "one"', "field": ".data.a"}
    assert api.get(path).ok()["data"] == {"a": "1", "b": "1"}


def test_several_conflicts_are_listed(api: Api, path: str) -> None:
    apply(api, path, config(a="1", b="1"), "one").ok()
    answer = apply(api, path, config(a="2", b="2"), "two").fails(409, "Conflict")
    assert answer.message.startswith("Apply failed with 2 conflicts: ")
    assert [cause["field"] for cause in answer.body["details"]["causes"]] == [".data.a", ".data.b"]


def test_force_takes_over(api: Api, path: str) -> None:
    apply(api, path, config(a="1", b="1"), "one").ok()
    found = apply(api, path, config(a="2"), "two", force="true").ok()
    assert found["data"] == {"a": "2", "b": "1"}
    assert owned(found, "one") == {"f:data": {"f:b": {}}} and owned(found, "two") == {"f:data": {"f:a": {}}}


def test_the_same_value_is_shared_and_stays_until_nobody_applies_it(api: Api, path: str) -> None:
    apply(api, path, config(a="1"), "one").ok()
    apply(api, path, config(a="1", b="2"), "two").ok()
    assert apply(api, path, config(b="2"), "two").ok()["data"] == {"a": "1", "b": "2"}
    found = apply(api, path, {k: v for k, v in config().items() if k != "data"}, "one").ok()
    assert found["data"] == {"b": "2"}
    assert owned(found, "one") == {}


def test_an_update_takes_ownership_of_what_it_changes(api: Api, path: str) -> None:
    apply(api, path, config(a="1", b="1"), "one").ok()
    found = api.patch(path, {"data": {"a": "9"}}, fieldManager="editor").ok()
    assert owned(found, "one") == {"f:data": {"f:b": {}}}
    assert owned(found, "editor", "Update") == {"f:data": {"f:a": {}}}
    answer = apply(api, path, config(a="1", b="1"), "one").fails(409, "Conflict")
    assert 'conflict with "editor" using v1' in answer.message


@pytest.mark.parametrize(
    ("body", "query", "status"),
    [
        (config(a="1"), {}, (400, 422)),
        ({**config(a="1"), "metadata": {"name": "d"}}, {"fieldManager": "me"}, (400,)),
        ({**config(a="1"), "kind": "Secret"}, {"fieldManager": "me"}, (400,)),
        ({**config(a="1"), "metadata": {"name": "c", "managedFields": [{"manager": "x"}]}}, {"fieldManager": "me"}, (400,)),
        (b"{not json", {"fieldManager": "me"}, (400,)),
        (b"[1]", {"fieldManager": "me"}, (400,)),
    ],
    ids=["no manager", "other name", "other kind", "managed fields", "no YAML", "no object"],
)  # fmt: skip
def test_what_cannot_be_applied(
    api: Api, path: str, body: Any, query: dict[str, str], status: tuple[int, ...]
) -> None:
    assert api.patch(path, body, APPLY, **query).status in status
    assert api.get(path).status == 404


def test_apply_takes_yaml(api: Api, path: str) -> None:
    body = b"apiVersion: v1\nkind: ConfigMap\nmetadata:\n  name: c\ndata:\n  a: 'yes'\n"
    assert api.patch(path, body, APPLY, fieldManager="me").ok()["data"] == {"a": "yes"}


def test_force_is_for_apply_only(api: Api, path: str) -> None:
    apply(api, path, config(a="1"), "me").ok()
    api.patch(path, {"data": {"a": "2"}}, force="true").fails(422, "Invalid")


def workload(*containers: Obj) -> Obj:
    body = deployment("web")
    body["spec"]["template"]["spec"]["containers"] = list(containers)
    return body


def names(found: Obj) -> list[str]:
    return [one["name"] for one in found["spec"]["template"]["spec"]["containers"]]


def test_keyed_lists_are_owned_by_item(api: Api, namespace: str) -> None:
    path = f"/apis/apps/v1/namespaces/{namespace}/deployments/web"
    first = {"name": "a", "image": "i:1", "ports": [{"containerPort": 80}]}
    apply(api, path, workload(first), "one").ok()
    partial = deployment("web")
    partial["spec"] = {"template": {"spec": {"containers": [{"name": "b", "image": "i:2"}]}}}
    found = apply(api, path, partial, "two").ok()
    assert sorted(names(found)) == ["a", "b"]
    fields = owned(found, "two")["f:spec"]["f:template"]["f:spec"]["f:containers"]
    assert fields == {'k:{"name":"b"}': {".": {}, "f:image": {}, "f:name": {}}}
    ports = owned(found, "one")["f:spec"]["f:template"]["f:spec"]["f:containers"]['k:{"name":"a"}']["f:ports"]
    [key] = [key for key in ports if key != "."]
    assert json.loads(key[2:]) == {"containerPort": 80, "protocol": "TCP"}
    partial["spec"]["template"]["spec"]["containers"] = [{"name": "c", "image": "i:3"}]
    assert sorted(names(apply(api, path, partial, "two").ok())) == ["a", "c"]
    answer = apply(api, path, workload({"name": "c", "image": "i:9"}), "three")
    answer.fails(409, "Conflict")
    assert 'containers[name="c"].image' in answer.message


def test_an_item_without_its_keys_is_refused(api: Api, namespace: str) -> None:
    path = f"/apis/apps/v1/namespaces/{namespace}/deployments/web"
    assert apply(api, path, workload({"image": "i"}), "one").status in (400, 422, 500)


def test_custom_resources_without_list_types_own_whole_lists(
    api: Api, namespace: str, define: Define
) -> None:
    crd = define()
    path = f"{widgets(crd, namespace)}/w"
    body = {
        "apiVersion": f"{crd['spec']['group']}/v1",
        "kind": "Widget",
        "metadata": {"name": "w"},
        "spec": {"size": 1, "free": {"list": [1, 2], "map": {"a": 1}}},
    }
    found = apply(api, path, body, "one").ok()
    assert owned(found, "one")["f:spec"]["f:free"] == {
        "f:list": {},
        "f:map": {".": {}, "f:a": {}},
    }
    body["spec"] = {"free": {"list": [3]}}
    apply(api, path, body, "two").fails(409, "Conflict")
    body["spec"] = {"free": {"map": {"b": 2}}}
    assert apply(api, path, body, "two").ok()["spec"]["free"]["map"] == {"a": 1, "b": 2}


def test_status_is_applied_on_its_own(api: Api, namespace: str, define: Define) -> None:
    crd = define()
    path = f"{widgets(crd, namespace)}/w"
    body: Obj = {"apiVersion": f"{crd['spec']['group']}/v1", "kind": "Widget", "metadata": {"name": "w"}}
    apply(api, path, {**body, "spec": {"size": 1}}, "user").ok()
    found = apply(
        api, f"{path}/status", {**body, "spec": {"size": 9}, "status": {"phase": "Up"}}, "controller"
    ).ok()
    assert (found["spec"]["size"], found["status"]) == (1, {"phase": "Up"})
    [entry] = [one for one in found["metadata"]["managedFields"] if one["manager"] == "controller"]
    assert (entry["subresource"], entry["fieldsV1"]) == ("status", {"f:status": {"f:phase": {}}})


def test_applied_fields_are_validated_and_pruned(api: Api, namespace: str, define: Define) -> None:
    crd = define()
    path = f"{widgets(crd, namespace)}/w"
    body: Obj = {"apiVersion": f"{crd['spec']['group']}/v1", "kind": "Widget", "metadata": {"name": "w"}}
    apply(api, path, {**body, "spec": {"size": 11}}, "me").fails(422, "Invalid")
    for mode in ("Strict", "Warn"):  # what is applied has to be typed before it is merged
        bogus = apply(api, path, {**body, "spec": {"size": 1, "bogus": 1}}, "me", fieldValidation=mode)
        assert bogus.status == 500 and ".spec.bogus: field not declared in schema" in bogus.message


def test_a_dry_run_shows_what_would_be(api: Api, path: str) -> None:
    apply(api, path, config(a="1"), "one").ok()
    assert apply(api, path, config(a="2"), "one", dryRun="All").ok()["data"] == {"a": "2"}
    assert api.get(path).ok()["data"] == {"a": "1"}
    apply(api, path, config(a="2"), "two", dryRun="All").fails(409, "Conflict")


def test_a_version_makes_apply_conditional(api: Api, path: str) -> None:
    old = apply(api, path, config(a="1"), "me").ok()["metadata"]["resourceVersion"]
    apply(api, path, config(a="2"), "me").ok()
    body = config(a="3")
    body["metadata"]["resourceVersion"] = old
    apply(api, path, body, "me").fails(409, "Conflict")


def test_managed_fields_can_be_cleared(api: Api, path: str) -> None:
    apply(api, path, config(a="1"), "me").ok()
    found = api.patch(path, {"metadata": {"managedFields": [{}]}}).ok()
    assert not found["metadata"].get("managedFields")
    # Without managers the next applier conflicts with nobody it can name but those before it.
    assert apply(api, path, config(a="1"), "me").status == 200


def test_a_deleted_object_comes_back_by_apply(api: Api, path: str) -> None:
    first = apply(api, path, config(a="1"), "me").ok()["metadata"]["uid"]
    api.delete(path).ok()
    api.gone(path)
    again = apply(api, path, config(a="1"), "me")
    assert again.status == 201 and again.ok()["metadata"]["uid"] != first
    body = config(a="1")
    body["metadata"]["uid"] = first
    assert apply(api, path, body, "me").fails(422, "Invalid").causes() == {
        "metadata.uid": "FieldValueInvalid"
    }
    apply(api, f"{path}-none", {**body, "metadata": {**body["metadata"], "name": "c-none"}}, "me")
