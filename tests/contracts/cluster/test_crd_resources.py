"""Custom resources: validation, defaults, pruning, strictness, the status and scale subresources."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from cluster_api import Api
from cluster_objects import definition, deployment, version, widget, widgets

Define = Callable[..., dict[str, Any]]
SCALE = {
    "specReplicasPath": ".spec.replicas",
    "statusReplicasPath": ".status.replicas",
    "labelSelectorPath": ".status.selector",
}


@pytest.fixture
def crd(define: Define) -> dict[str, Any]:
    return define()


def test_create_read_update_delete(api: Api, namespace: str, crd: dict[str, Any]) -> None:
    path = widgets(crd, namespace)
    created = api.post(path, widget(crd, "a")).ok()
    assert created["metadata"]["generation"] == 1
    created["spec"]["size"] = 2
    assert api.put(f"{path}/a", created).ok()["metadata"]["generation"] == 2
    found = api.get(path).ok()
    assert found["kind"] == "WidgetList"
    assert [(item["kind"], item["spec"]["size"]) for item in found["items"]] == [("Widget", 2)]
    assert api.delete(f"{path}/a").ok()["status"] == "Success"


@pytest.mark.parametrize(
    ("spec", "field", "reason"),
    [
        ({"size": 0}, "spec.size", "FieldValueInvalid"),
        ({"size": 11}, "spec.size", "FieldValueInvalid"),
        ({"size": "1"}, "spec.size", "FieldValueTypeInvalid"),
        ({"size": 1.5}, "spec.size", "FieldValueTypeInvalid"),
        ({"size": None}, "spec.size", "FieldValueRequired"),
        ({"color": "blue"}, "spec.color", "FieldValueNotSupported"),
    ],
)
def test_value_that_the_schema_refuses(
    api: Api, namespace: str, crd: dict[str, Any], spec: dict[str, Any], field: str, reason: str
) -> None:
    answer = api.post(widgets(crd, namespace), widget(crd, "a", **spec)).fails(422, "Invalid")
    assert answer.causes().get(field) == reason
    group = crd["spec"]["group"]
    assert answer.message.startswith(f'Widget.{group} "a" is invalid: ')


def test_required_field(api: Api, namespace: str, crd: dict[str, Any]) -> None:
    body = widget(crd, "a")
    del body["spec"]["size"]
    answer = api.post(widgets(crd, namespace), body).fails(422, "Invalid")
    assert answer.causes() == {"spec.size": "FieldValueRequired"}


def test_defaults_are_filled_in_and_stored(api: Api, namespace: str, crd: dict[str, Any]) -> None:
    created = api.post(widgets(crd, namespace), widget(crd, "a")).ok()
    assert created["spec"] == {"size": 1, "color": "red"}
    cleared = api.patch(f"{widgets(crd, namespace)}/a", {"spec": {"color": None}}).ok()
    assert cleared["spec"]["color"] == "red"


def test_unknown_fields_are_pruned(api: Api, namespace: str, crd: dict[str, Any]) -> None:
    body = widget(crd, "a", wrong="x", free={"any": {"thing": 1}})
    answer = api.post(widgets(crd, namespace), body)
    assert answer.ok()["spec"] == {"size": 1, "color": "red", "free": {"any": {"thing": 1}}}
    assert 'unknown field \\"spec.wrong\\"' in answer.header("Warning")


def test_unknown_fields_are_refused_when_strict(api: Api, namespace: str, crd: dict[str, Any]) -> None:
    path = widgets(crd, namespace)
    answer = api.post(path, widget(crd, "a", wrong="x"), fieldValidation="Strict").fails(400, "BadRequest")
    assert 'strict decoding error: unknown field "spec.wrong"' in answer.message
    api.post(path, widget(crd, "a")).ok()
    patch = {"spec": {"wrong": "x"}}
    answer = api.patch(f"{path}/a", patch, fieldValidation="Strict").fails(422, "Invalid")
    assert answer.causes() == {"patch": "FieldValueInvalid"}
    assert 'strict decoding error: unknown field "spec.wrong"' in answer.message


def test_status_is_written_by_its_subresource_only(api: Api, namespace: str, crd: dict[str, Any]) -> None:
    path = widgets(crd, namespace)
    created = api.post(path, {**widget(crd, "a"), "status": {"phase": "Early"}}).ok()
    assert "status" not in created
    api.patch(f"{path}/a", {"status": {"phase": "Wrong"}}).ok()
    assert "status" not in api.get(f"{path}/a").ok()
    found = api.patch(f"{path}/a/status", {"status": {"phase": "Good"}, "spec": {"size": 9}}).ok()
    assert found["status"] == {"phase": "Good"}
    assert found["spec"]["size"] == 1
    assert found["metadata"]["generation"] == 1
    labelled = {**found, "metadata": {**found["metadata"], "labels": {"x": "y"}}, "status": {"phase": "Put"}}
    put = api.put(f"{path}/a/status", labelled).ok()
    assert put["status"] == {"phase": "Put"}
    assert "labels" not in put["metadata"]
    assert api.get(f"{path}/a/status").ok() == put


def test_status_is_validated_and_guarded(api: Api, namespace: str, crd: dict[str, Any]) -> None:
    path = widgets(crd, namespace)
    created = api.post(path, widget(crd, "a")).ok()
    api.patch(f"{path}/a/status", {"status": {"phase": 5}}).fails(422, "Invalid")
    api.patch(f"{path}/a/status", {"status": {"phase": "Good"}}).ok()
    api.put(f"{path}/a/status", {**created, "status": {"phase": "Late"}}).fails(409, "Conflict")


def test_without_a_status_subresource_status_is_a_field(api: Api, namespace: str, define: Define) -> None:
    crd = define(versions=[version("v1", subresources={})])
    path = widgets(crd, namespace)
    created = api.post(path, {**widget(crd, "a"), "status": {"phase": "Mine"}}).ok()
    assert created["status"] == {"phase": "Mine"}
    assert api.get(f"{path}/a/status").status == 404


def test_scale_reads_and_writes_the_replicas(api: Api, namespace: str, define: Define) -> None:
    crd = define(versions=[version("v1", subresources={"status": {}, "scale": SCALE})])
    path = widgets(crd, namespace)
    created = api.post(path, widget(crd, "a", replicas=2)).ok()
    api.patch(f"{path}/a/status", {"status": {"replicas": 1, "selector": "app=a"}}).ok()
    scale = api.get(f"{path}/a/scale").ok()
    assert (scale["kind"], scale["apiVersion"]) == ("Scale", "autoscaling/v1")
    assert scale["metadata"]["uid"] == created["metadata"]["uid"]
    assert scale["spec"] == {"replicas": 2}
    assert scale["status"] == {"replicas": 1, "selector": "app=a"}
    scale["spec"]["replicas"] = 3
    assert api.put(f"{path}/a/scale", scale).ok()["spec"] == {"replicas": 3}
    api.put(f"{path}/a/scale", scale).fails(409, "Conflict")
    assert api.patch(f"{path}/a/scale", {"spec": {"replicas": 4}}).ok()["spec"] == {"replicas": 4}
    found = api.get(f"{path}/a").ok()
    assert found["spec"] == {"size": 1, "color": "red", "replicas": 4}
    assert found["metadata"]["generation"] == 3
    api.patch(f"{path}/a/scale", {"spec": {"replicas": -1}}).fails(422, "Invalid")


def test_scale_of_a_deployment(api: Api, namespace: str) -> None:
    path = f"/apis/apps/v1/namespaces/{namespace}/deployments"
    api.post(path, deployment("a")).ok()
    scale = api.get(f"{path}/a/scale").ok()
    assert scale["status"]["selector"] == "app=a"
    scale["spec"]["replicas"] = 0
    del scale["metadata"]["resourceVersion"]  # a controller may write its status meanwhile
    api.put(f"{path}/a/scale", scale).ok()


def test_scale_of_a_replication_controller(api: Api, namespace: str) -> None:
    path = f"/api/v1/namespaces/{namespace}/replicationcontrollers"
    template = deployment("a")["spec"]["template"]
    spec = {"replicas": 0, "selector": {"app": "a"}, "template": template}
    assert api.post(path, {"metadata": {"name": "a"}, "spec": spec}).ok()["metadata"]["generation"] == 1
    assert api.get(f"{path}/a/scale").ok()["status"]["selector"] == "app=a"


def test_kind_of_the_cluster_has_no_namespaces(api: Api, namespace: str, define: Define) -> None:
    crd = define(scope="Cluster")
    created = api.post(widgets(crd), widget(crd, "a")).ok()
    assert "namespace" not in created["metadata"]
    assert api.post(widgets(crd, namespace), widget(crd, "b")).status == 404


def test_strategic_patch_is_not_for_custom_resources(api: Api, namespace: str, crd: dict[str, Any]) -> None:
    api.post(widgets(crd, namespace), widget(crd, "a")).ok()
    media = "application/strategic-merge-patch+json"
    path = f"{widgets(crd, namespace)}/a"
    api.patch(path, {"spec": {"size": 2}}, media=media).fails(415, "UnsupportedMediaType")


def test_columns_of_the_definition_are_printed(api: Api, namespace: str, define: Define) -> None:
    columns = [
        {"name": "Size", "type": "integer", "jsonPath": ".spec.size"},
        {"name": "Wide", "type": "string", "jsonPath": ".spec.color", "priority": 1},
    ]
    crd = define(versions=[version("v1", additionalPrinterColumns=columns)])
    api.post(widgets(crd, namespace), widget(crd, "a")).ok()
    accept = "application/json;as=Table;v=v1;g=meta.k8s.io"
    table = api.get(widgets(crd, namespace), headers={"Accept": accept}).ok()
    assert [(item["name"], item["priority"]) for item in table["columnDefinitions"]] == [
        ("Name", 0),
        ("Size", 0),
        ("Wide", 1),
    ]
    assert table["rows"][0]["cells"] == ["a", 1, "red"]


def test_selectable_fields(api: Api, namespace: str, define: Define) -> None:
    crd = define(versions=[version("v1", selectableFields=[{"jsonPath": ".spec.color"}])])
    path = widgets(crd, namespace)
    api.post(path, widget(crd, "a")).ok()
    api.post(path, widget(crd, "b", color="green")).ok()
    found = api.get(path, fieldSelector="spec.color=green").ok()["items"]
    assert [item["metadata"]["name"] for item in found] == ["b"]
    api.get(path, fieldSelector="spec.size=1").fails(400, "BadRequest")


def test_rules_of_the_schema(api: Api, namespace: str, define: Define) -> None:
    """``x-kubernetes-validations`` (CEL): evaluated, or refused at the definition, never ignored in silence."""
    rule = {"rule": "self.size < 5", "message": "size is too much"}
    schema = {
        "type": "object",
        "properties": {
            "spec": {
                "type": "object",
                "properties": {"size": {"type": "integer"}},
                "x-kubernetes-validations": [rule],
            }
        },
    }
    versions = [version("v1", schema={"openAPIV3Schema": schema})]
    body = definition("rules.contract.example.com", versions=versions)
    path = "/apis/apiextensions.k8s.io/v1/customresourcedefinitions"
    answer = api.post(path, body)
    try:
        if answer.status == 201:
            assert answer.header("Warning") or _refuses(api, namespace, body)
        else:
            answer.fails(422, "Invalid")
    finally:
        api.delete(f"{path}/{body['metadata']['name']}")


def _refuses(api: Api, namespace: str, crd: dict[str, Any]) -> bool:
    from cluster_api import eventually

    path = widgets(crd, namespace)
    eventually(lambda: api.get(path).status == 200, "not served")
    answer = api.post(path, widget(crd, "a", size=9)).fails(422, "Invalid")
    return "size is too much" in answer.message
