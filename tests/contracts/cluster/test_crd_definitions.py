"""CustomResourceDefinitions: acceptance, names, conditions, discovery, versions, their end."""

from __future__ import annotations

import copy
import secrets
from collections.abc import Callable
from typing import Any

import pytest
from cluster_api import Api, eventually
from cluster_objects import SCHEMA, definition, version, widget, widgets

PATH = "/apis/apiextensions.k8s.io/v1/customresourcedefinitions"
Define = Callable[..., dict[str, Any]]


def _group() -> str:
    return f"c{secrets.token_hex(4)}.example.com"


def _conditions(found: dict[str, Any]) -> dict[str, str]:
    return {item["type"]: item["status"] for item in found["status"]["conditions"]}


def test_established_definition(api: Api, define: Define) -> None:
    crd = define(shortNames=["wd"], categories=["all"])
    assert _conditions(crd)["Established"] == "True"
    assert _conditions(crd)["NamesAccepted"] == "True"
    accepted = crd["status"]["acceptedNames"]
    assert accepted["kind"] == "Widget"
    assert accepted["listKind"] == "WidgetList"
    assert accepted["shortNames"] == ["wd"]
    assert crd["status"]["storedVersions"] == ["v1"]
    assert crd["spec"]["names"]["listKind"] == "WidgetList"
    assert crd["spec"]["conversion"] == {"strategy": "None"}


def test_discovery_follows(api: Api, define: Define) -> None:
    crd = define(shortNames=["wd"], categories=["all"])
    group = crd["spec"]["group"]
    found = api.get(f"/apis/{group}/v1").ok()
    by_name = {item["name"]: item for item in found["resources"]}
    assert by_name["widgets"]["kind"] == "Widget"
    assert by_name["widgets"]["singularName"] == "widget"
    assert by_name["widgets"]["shortNames"] == ["wd"]
    assert by_name["widgets"]["categories"] == ["all"]
    assert set(by_name["widgets"]["verbs"]) >= {"create", "delete", "deletecollection", "get", "list"}
    assert set(by_name["widgets/status"]["verbs"]) == {"get", "patch", "update"}
    assert api.get(f"/apis/{group}").ok()["preferredVersion"]["version"] == "v1"


def test_openapi_follows(api: Api, define: Define) -> None:
    group = define()["spec"]["group"]

    def described() -> Any:
        answer = api.get(f"/openapi/v3/apis/{group}/v1")
        schemas = answer.body["components"]["schemas"] if answer.status == 200 else {}
        return next((value for key, value in schemas.items() if key.endswith(".Widget")), None)

    found = eventually(described, "no OpenAPI document")
    assert found["properties"]["spec"]["properties"]["size"]["maximum"] == 10
    assert found["x-kubernetes-group-version-kind"] == [{"group": group, "kind": "Widget", "version": "v1"}]


def test_definition_is_refused_with_the_field(api: Api) -> None:
    good = definition(_group())
    cases: list[tuple[str, Callable[[dict[str, Any]], object]]] = [
        ("metadata.name", lambda body: body["metadata"].update(name="wrong.example.com")),
        ("spec.group", lambda body: body["spec"].update(group="")),
        ("spec.scope", lambda body: body["spec"].update(scope="Everywhere")),
        ("spec.names.plural", lambda body: body["spec"]["names"].update(plural="Bad Name")),
        ("spec.versions", lambda body: body["spec"]["versions"][0].update(storage=False)),
        ("spec.versions[0].schema.openAPIV3Schema", lambda body: body["spec"]["versions"][0].pop("schema")),
    ]
    for field, spoil in cases:
        body = copy.deepcopy(good)
        spoil(body)
        answer = api.post(PATH, body).fails(422, "Invalid")
        assert any(name.startswith(field) for name in answer.causes()), (field, answer.causes())


@pytest.mark.parametrize(
    "schema",
    [
        {"type": "object", "properties": {"a": {}}},
        {"type": "object", "properties": {"a": {"type": "strange"}}},
        {"type": "object", "properties": {"a": {"type": "array"}}},
        {"type": "string"},
        {"type": "object", "properties": {"a": {"type": "string", "pattern": "["}}},
        {"type": "object", "properties": {"a": {"type": "integer", "default": "text"}}},
    ],
    ids=["untyped", "unknown-type", "no-items", "not-object", "pattern", "wrong-default"],
)
def test_schema_that_is_not_structural_is_refused(api: Api, schema: dict[str, Any]) -> None:
    body = definition(_group(), versions=[version("v1", schema={"openAPIV3Schema": schema})])
    answer = api.post(PATH, body)
    if answer.status == 201:  # Kubernetes accepts some and says so in a condition
        api.delete(f"{PATH}/{body['metadata']['name']}")
    answer.fails(422, "Invalid")


def test_names_in_use_are_not_accepted(api: Api, define: Define) -> None:
    first = define(shortNames=["wd"])
    body = definition(first["spec"]["group"], plural="gadgets", singular="gadget", kind="Widget")
    body["metadata"]["name"] = f"gadgets.{first['spec']['group']}"
    path = f"{PATH}/{body['metadata']['name']}"
    api.post(PATH, body).ok()
    try:

        def refused() -> bool:
            found = api.get(path).ok()
            return (
                bool((found.get("status") or {}).get("conditions"))
                and _conditions(found).get("NamesAccepted") == "False"
            )

        eventually(refused, "the names were accepted")
        found = api.get(path).ok()
        assert _conditions(found)["Established"] == "False"
        reasons = {item["type"]: item for item in found["status"]["conditions"]}
        assert "is already in use" in reasons["NamesAccepted"]["message"]
        assert api.get(f"/apis/{first['spec']['group']}/v1/gadgets").status == 404
        api.delete(f"{PATH}/{first['metadata']['name']}").ok()
        eventually(lambda: _conditions(api.get(path).ok())["Established"] == "True", "still refused")
    finally:
        api.delete(path)


def test_group_and_scope_do_not_change(api: Api, define: Define) -> None:
    crd = define()
    answer = api.patch(f"{PATH}/{crd['metadata']['name']}", {"spec": {"scope": "Cluster"}})
    assert answer.fails(422, "Invalid").causes() == {"spec.scope": "FieldValueInvalid"}


def test_versions_convert_by_name_only(api: Api, namespace: str, define: Define) -> None:
    crd = define(versions=[version("v1"), version("v1beta1", storage=False)])
    api.post(widgets(crd, namespace, "v1beta1"), widget(crd, "a", "v1beta1", color="green")).ok()
    found = api.get(f"{widgets(crd, namespace)}/a").ok()
    assert found["apiVersion"] == f"{crd['spec']['group']}/v1"
    assert found["spec"] == {"size": 1, "color": "green"}
    old = api.get(f"{widgets(crd, namespace, 'v1beta1')}/a").ok()
    assert old["apiVersion"] == f"{crd['spec']['group']}/v1beta1"
    assert old["metadata"]["uid"] == found["metadata"]["uid"]
    items = api.get(widgets(crd, namespace, "v1beta1")).ok()["items"]
    assert [item["apiVersion"] for item in items] == [old["apiVersion"]]


def test_watch_converts_too(api: Api, namespace: str, define: Define) -> None:
    crd = define(versions=[version("v1"), version("v1beta1", storage=False)])
    with api.watch(widgets(crd, namespace, "v1beta1")) as watch:
        api.post(widgets(crd, namespace), widget(crd, "a")).ok()
        event = watch.next()
        assert event["object"]["apiVersion"] == f"{crd['spec']['group']}/v1beta1"


def test_deprecated_version_warns(api: Api, namespace: str, define: Define) -> None:
    old = version("v1alpha1", storage=False, deprecated=True, deprecationWarning="use v1 instead")
    crd = define(versions=[version("v1"), old])
    assert '299 - "use v1 instead"' in api.get(widgets(crd, namespace, "v1alpha1")).header("Warning")
    assert api.get(widgets(crd, namespace)).header("Warning") == ""


def test_version_that_is_no_longer_served(api: Api, namespace: str, define: Define) -> None:
    crd = define(versions=[version("v1"), version("v1beta1", storage=False)])
    api.post(widgets(crd, namespace, "v1beta1"), widget(crd, "a", "v1beta1")).ok()
    versions = [version("v1"), {**version("v1beta1", storage=False), "served": False}]
    api.patch(f"{PATH}/{crd['metadata']['name']}", {"spec": {"versions": versions}}).ok()
    eventually(lambda: api.get(widgets(crd, namespace, "v1beta1")).status == 404, "still served")
    api.get(f"{widgets(crd, namespace)}/a").ok()


def test_storage_version_changes_and_is_remembered(api: Api, namespace: str, define: Define) -> None:
    crd = define(versions=[version("v1beta1"), version("v1", storage=False)])
    api.post(widgets(crd, namespace), widget(crd, "a")).ok()
    versions = [version("v1beta1", storage=False), version("v1")]
    path = f"{PATH}/{crd['metadata']['name']}"
    api.patch(path, {"spec": {"versions": versions}}).ok()
    eventually(
        lambda: set(api.get(path).ok()["status"]["storedVersions"]) == {"v1", "v1beta1"}, "not remembered"
    )
    api.patch(f"{widgets(crd, namespace)}/a", {"spec": {"size": 2}}).ok()
    assert api.get(f"{widgets(crd, namespace, 'v1')}/a").ok()["spec"]["size"] == 2


def test_stored_version_cannot_be_removed(api: Api, define: Define) -> None:
    crd = define(versions=[version("v1beta1"), version("v1", storage=False)])
    answer = api.patch(f"{PATH}/{crd['metadata']['name']}", {"spec": {"versions": [version("v1")]}})
    causes = answer.fails(422, "Invalid").causes()
    assert any(name.startswith("status.storedVersions") for name in causes)


def test_schema_changes_take_effect(api: Api, namespace: str, define: Define) -> None:
    crd = define()
    api.post(widgets(crd, namespace), widget(crd, "a", size=50)).fails(422, "Invalid")
    wider = copy.deepcopy(SCHEMA)
    wider["properties"]["spec"]["properties"]["size"]["maximum"] = 100
    versions = [version("v1", schema={"openAPIV3Schema": wider})]
    api.patch(f"{PATH}/{crd['metadata']['name']}", {"spec": {"versions": versions}}).ok()
    eventually(
        lambda: api.post(widgets(crd, namespace), widget(crd, "b", size=50)).status in (201, 409),
        "the old schema still holds",
    )


def test_deletion_removes_the_instances(api: Api, namespace: str, define: Define) -> None:
    crd = define()
    held = widget(crd, "held")
    held["metadata"]["finalizers"] = ["contract.example.com/hold"]
    api.post(widgets(crd, namespace), held).ok()
    api.post(widgets(crd, namespace), widget(crd, "free")).ok()
    path = f"{PATH}/{crd['metadata']['name']}"
    api.delete(path).ok()
    api.gone(f"{widgets(crd, namespace)}/free")
    eventually(lambda: _conditions(api.get(path).ok()).get("Terminating") == "True", "no condition")
    answer = api.post(widgets(crd, namespace), widget(crd, "late"))
    assert answer.status in (403, 404, 405)
    api.patch(f"{widgets(crd, namespace)}/held", {"metadata": {"finalizers": None}}).ok()
    api.gone(path)
    eventually(lambda: api.get(f"/apis/{crd['spec']['group']}/v1").status == 404, "still discovered")


def test_watch_ends_with_its_definition(api: Api, namespace: str, define: Define) -> None:
    crd = define()
    with api.watch(widgets(crd, namespace), within_s=20) as watch:
        api.post(widgets(crd, namespace), widget(crd, "a")).ok()
        assert watch.take(1) == [("ADDED", "a")]
        api.delete(f"{PATH}/{crd['metadata']['name']}").ok()
        assert watch.take(1) == [("DELETED", "a")]
        with pytest.raises(EOFError):
            watch.next()


def test_definition_comes_again(api: Api, namespace: str) -> None:
    body = definition(_group())
    path = f"{PATH}/{body['metadata']['name']}"
    for _ in range(2):
        api.post(PATH, body).ok()
        eventually(lambda: api.post(widgets(body, namespace), widget(body, "a")).status == 201, "not served")
        api.delete(path).ok()
        api.gone(path)
