"""What is refused for its content: built-in kinds, custom resources by schema, field validation, immutable fields."""

from __future__ import annotations

from typing import Any

import pytest
from cluster_api import Api, Define, Obj
from cluster_objects import config_map, deployment, pod, version, widget, widgets

PROPERTIES: Obj = {
    "text": {"type": "string", "minLength": 2, "maxLength": 4, "pattern": "^[a-z]+$"},
    "count": {"type": "integer", "format": "int32", "minimum": 1, "maximum": 9},
    "ratio": {"type": "number", "exclusiveMinimum": True, "minimum": 0, "multipleOf": 0.5},
    "port": {"x-kubernetes-int-or-string": True},
    "color": {"type": "string", "enum": ["red", "green"]},
    "tags": {"type": "array", "maxItems": 2, "items": {"type": "string"}, "x-kubernetes-list-type": "set"},
    "parts": {
        "type": "array",
        "x-kubernetes-list-type": "map",
        "x-kubernetes-list-map-keys": ["name"],
        "items": {
            "type": "object",
            "required": ["name"],
            "properties": {"name": {"type": "string"}, "size": {"type": "integer", "default": 5}},
        },
    },
    "labels": {"type": "object", "additionalProperties": {"type": "string"}, "maxProperties": 2},
    "when": {"type": "string", "format": "date-time"},
    "maybe": {"type": "string", "nullable": True},
    "one": {"type": "object", "properties": {"a": {"type": "string"}, "b": {"type": "string"}},
            "oneOf": [{"required": ["a"]}, {"required": ["b"]}]},
    "level": {"type": "string", "default": "low"},
    "needed": {"type": "string"},
}  # fmt: skip
SCHEMA: Obj = {
    "type": "object",
    "properties": {"spec": {"type": "object", "required": ["needed"], "properties": PROPERTIES}},
}


@pytest.fixture
def things(api: Api, namespace: str, define: Define) -> tuple[Obj, str]:
    crd = define(versions=[{**version("v1"), "schema": {"openAPIV3Schema": SCHEMA}}])
    return crd, widgets(crd, namespace)


def thing(crd: Obj, **spec: Any) -> Obj:
    body = widget(crd, "w")
    body["spec"] = {"needed": "x", **spec}
    return body


BAD: list[tuple[Obj, str, str]] = [
    ({"text": 1}, "spec.text", "FieldValueTypeInvalid"),
    ({"text": "a"}, "spec.text", "FieldValueInvalid"),
    ({"text": "AB"}, "spec.text", "FieldValueInvalid"),
    ({"text": "abcde"}, "spec.text", "FieldValueTooLong"),
    ({"count": "1"}, "spec.count", "FieldValueTypeInvalid"),
    ({"count": 1.5}, "spec.count", "FieldValueTypeInvalid"),
    ({"count": 0}, "spec.count", "FieldValueInvalid"),
    ({"count": 10}, "spec.count", "FieldValueInvalid"),
    ({"ratio": 0}, "spec.ratio", "FieldValueInvalid"),
    ({"ratio": 0.7}, "spec.ratio", "FieldValueInvalid"),
    ({"port": True}, "spec.port", "FieldValueTypeInvalid"),
    ({"color": "blue"}, "spec.color", "FieldValueNotSupported"),
    ({"tags": ["a", "a"]}, "spec.tags[1]", "FieldValueDuplicate"),
    ({"tags": ["a", "b", "c"]}, "spec.tags", "FieldValueTooMany"),
    ({"tags": "a"}, "spec.tags", "FieldValueTypeInvalid"),
    ({"parts": [{"name": "a"}, {"name": "a"}]}, "spec.parts[1]", "FieldValueDuplicate"),
    ({"parts": [{}]}, "spec.parts[0].name", "FieldValueRequired"),
    ({"labels": {"a": 1}}, "spec.labels.a", "FieldValueTypeInvalid"),
    ({"when": "yesterday"}, "spec.when", "FieldValueTypeInvalid"),
    ({"one": {"a": "x", "b": "y"}}, "<nil>", "FieldValueInvalid"),
    ({"needed": None}, "spec.needed", "FieldValueRequired"),
]


@pytest.mark.parametrize(("spec", "path", "reason"), BAD, ids=lambda value: str(value)[:40])
def test_a_custom_resource_is_held_to_its_schema(
    api: Api, things: tuple[Obj, str], spec: Obj, path: str, reason: str
) -> None:
    crd, collection = things
    answer = api.post(collection, thing(crd, **spec)).fails(422, "Invalid")
    assert answer.causes()[path] == reason
    assert answer.body["details"]["name"] == "w" and answer.body["details"]["kind"] == "Widget"


def test_all_mistakes_are_reported_at_once(api: Api, things: tuple[Obj, str]) -> None:
    crd, collection = things
    answer = api.post(collection, thing(crd, text=1, count=0, color="blue")).fails(422, "Invalid")
    assert {"spec.text", "spec.count", "spec.color"} <= answer.causes().keys()


def test_defaults_nulls_and_unknown_fields(api: Api, things: tuple[Obj, str]) -> None:
    crd, collection = things
    body = thing(
        crd, maybe=None, level=None, parts=[{"name": "a"}], port="http", bogus=1, one={"a": "x", "z": 1}
    )
    answer = api.post(collection, body)
    assert answer.ok()["spec"] == {
        "needed": "x", "maybe": None, "level": "low", "parts": [{"name": "a", "size": 5}], "port": "http", "one": {"a": "x"},
    }  # fmt: skip
    warning = answer.header("warning").replace("\\", "")
    assert 'unknown field "spec.bogus"' in warning and 'unknown field "spec.one.z"' in warning


def test_strict_validation_refuses_unknown_fields(api: Api, things: tuple[Obj, str]) -> None:
    crd, collection = things
    answer = api.post(collection, thing(crd, bogus=1, one={"a": "x", "z": 1}), fieldValidation="Strict")
    answer.fails(400, "BadRequest")
    assert 'unknown field "spec.bogus"' in answer.message and 'unknown field "spec.one.z"' in answer.message
    assert api.post(collection, thing(crd, bogus=1), fieldValidation="Ignore").header("warning") == ""


def test_metadata_of_every_object_is_typed(api: Api, things: tuple[Obj, str], configmaps: str) -> None:
    crd, collection = things
    body = thing(crd)
    body["metadata"]["labels"] = {"a": 1}
    api.post(collection, body).fails(400, "BadRequest")
    api.post(configmaps, {"metadata": {"name": "c", "annotations": {"a": True}}}).fails(400, "BadRequest")


@pytest.mark.parametrize(
    "spec",
    [
        {"containers": {"name": "a"}},
        {"hostNetwork": "yes"},
        {"activeDeadlineSeconds": "1"},
        {"containers": [{"name": "a", "image": "i", "resources": {"limits": {"cpu": "abc"}}}]},
    ],
    ids=str,
)
def test_a_built_in_object_that_cannot_be_read_is_400(api: Api, namespace: str, spec: Obj) -> None:
    answer = api.post(f"/api/v1/namespaces/{namespace}/pods", pod("p", **spec)).fails(400, "BadRequest")
    assert answer.message.startswith('Pod in version "v1" cannot be handled as a Pod: ')


def test_a_pods_mistakes_are_reported_at_once(api: Api, namespace: str) -> None:
    container = {
        "name": "A_b",
        "image": "",
        "imagePullPolicy": "Sometimes",
        "ports": [{"containerPort": 99999}],
        "env": [{"name": "A=B"}],
        "volumeMounts": [{"name": "nope", "mountPath": "/a"}],
        "resources": {"limits": {"cpu": "-1"}},
        "livenessProbe": {"httpGet": {"port": 99999}},
    }
    body = pod("Bad", containers=[container, {"name": "A_b", "image": "i"}], restartPolicy="Maybe")
    answer = api.post(f"/api/v1/namespaces/{namespace}/pods", body).fails(422, "Invalid")
    first = "spec.containers[0]"
    assert {
        "metadata.name", "spec.restartPolicy", f"{first}.name", f"{first}.image", f"{first}.imagePullPolicy",
        f"{first}.ports[0].containerPort", f"{first}.env[0].name", f"{first}.volumeMounts[0].name",
        f"{first}.resources.limits[cpu]", f"{first}.livenessProbe.httpGet.port", "spec.containers[1].name",
    } <= answer.causes().keys()  # fmt: skip


def test_quantities_are_stored_in_canonical_form(api: Api, namespace: str) -> None:
    resources = {"requests": {"cpu": 0.5, "memory": "1024Mi"}, "limits": {"cpu": "1000m", "memory": "1.5Gi"}}
    body = pod("p", containers=[{"name": "a", "image": "i", "resources": resources}])
    found = api.post(f"/api/v1/namespaces/{namespace}/pods", body, dryRun="All").ok()
    assert found["spec"]["containers"][0]["resources"] == {
        "requests": {"cpu": "500m", "memory": "1Gi"},
        "limits": {"cpu": "1", "memory": "1536Mi"},
    }


def test_keys_may_repeat_where_kubernetes_lets_them(api: Api, namespace: str) -> None:
    container = {
        "name": "a",
        "image": "i",
        "ports": [{"containerPort": 80}, {"containerPort": 80}],
        "env": [{"name": "A", "value": "1"}, {"name": "A", "value": "2"}],
    }
    api.post(f"/api/v1/namespaces/{namespace}/pods", pod("p", containers=[container]), dryRun="All").ok()


@pytest.mark.parametrize("kind", ["configmaps", "secrets", "services", "persistentvolumeclaims"])
def test_names_labels_and_keys(api: Api, namespace: str, kind: str) -> None:
    bodies: dict[str, tuple[Obj, str]] = {
        "configmaps": ({"data": {"a/b": ""}}, "data[a/b]"),
        "secrets": ({"data": {"a b": ""}}, "data[a b]"),
        "services": ({"spec": {"ports": [{"port": 0}]}}, "spec.ports[0].port"),
        "persistentvolumeclaims": ({"spec": {}}, "spec.accessModes"),
    }
    body, path = bodies[kind]
    body = {**body, "metadata": {"name": "Bad_Name", "labels": {"a b": "-"}}}
    answer = api.post(f"/api/v1/namespaces/{namespace}/{kind}", body).fails(422, "Invalid")
    assert {"metadata.name", "metadata.labels", path} <= answer.causes().keys()


def test_secret_data_must_be_base64(api: Api, namespace: str) -> None:
    body = {"metadata": {"name": "s"}, "data": {"a": "not base64!"}}
    api.post(f"/api/v1/namespaces/{namespace}/secrets", body).fails(400, "BadRequest")


def test_a_workload_must_select_its_pods(api: Api, namespace: str) -> None:
    collection = f"/apis/apps/v1/namespaces/{namespace}/deployments"
    body = deployment("web", replicas=-1)
    body["spec"]["selector"]["matchLabels"] = {"a": "other"}
    body["spec"]["template"]["spec"]["restartPolicy"] = "Never"
    answer = api.post(collection, body).fails(422, "Invalid")
    assert answer.causes() == {
        "spec.replicas": "FieldValueInvalid",
        "spec.template.metadata.labels": "FieldValueInvalid",
        "spec.template.spec.restartPolicy": "FieldValueNotSupported",
    }


def test_a_selector_is_immutable(api: Api, namespace: str) -> None:
    collection = f"/apis/apps/v1/namespaces/{namespace}/deployments"
    api.post(collection, deployment("web")).ok()
    labels = {"a": "b"}
    patch = {"spec": {"selector": {"matchLabels": {"app": None, **labels}}}}
    patch["spec"]["template"] = {"metadata": {"labels": labels}}
    answer = api.patch(f"{collection}/web", patch).fails(422, "Invalid")
    assert (
        answer.causes() == {"spec.selector": "FieldValueInvalid"} and "field is immutable" in answer.message
    )


def test_immutable_data(api: Api, configmaps: str) -> None:
    api.post(configmaps, {**config_map("c", a="1"), "immutable": True}).ok()
    answer = api.patch(f"{configmaps}/c", {"data": {"a": "2"}}).fails(422, "Invalid")
    assert answer.causes()["data"] == "FieldValueForbidden"
    api.patch(f"{configmaps}/c", {"metadata": {"labels": {"a": "b"}}}).ok()
