"""OpenAPI as clients find it: the v3 index and documents with hashes and ETags, v2 as JSON and protobuf."""

from __future__ import annotations

import urllib.parse
from typing import Any

import pytest
from cluster_api import Api, Define, Obj, eventually

PROTOBUF = "application/com.github.proto-openapi.spec.v2@v1.0+protobuf"


def references(value: Any) -> set[str]:
    if isinstance(value, dict):
        own = {value["$ref"]} if isinstance(value.get("$ref"), str) else set()
        return own.union(*(references(child) for child in value.values()))
    return set().union(*(references(child) for child in value)) if isinstance(value, list) else set()


def document(api: Api, path: str) -> Obj:
    """A document; that of a new kind appears a moment after the kind."""
    answer = eventually(lambda: (one := api.get(f"/openapi/v3/{path}")).status == 200 and one, f"no {path}")
    assert not isinstance(answer, bool)
    return answer.ok()


def schema_of(found: Obj, group: str, kind: str) -> Obj:
    for schema in found["components"]["schemas"].values():
        for gvk in schema.get("x-kubernetes-group-version-kind", ()):
            if (gvk["group"], gvk["kind"]) == (group, kind):
                return dict(schema)
    raise AssertionError(f"no schema of {kind}")


def split(url: str) -> tuple[str, dict[str, str]]:
    parts = urllib.parse.urlsplit(url)
    return parts.path, dict(urllib.parse.parse_qsl(parts.query))


def test_the_index_lists_every_group_version_that_discovery_lists(api: Api) -> None:
    index = api.get("/openapi/v3").ok()["paths"]
    groups = api.get("/apis").ok()["groups"]
    listed = {f"apis/{version['groupVersion']}" for group in groups for version in group["versions"]}
    assert listed | {"api/v1"} <= index.keys()


@pytest.mark.parametrize("path", ["api/v1", "apis/apps/v1", "apis/apiextensions.k8s.io/v1"])
def test_a_document_stands_alone(api: Api, path: str) -> None:
    found = document(api, path)
    names = {f"#/components/schemas/{name}" for name in found["components"]["schemas"]}
    assert found["openapi"].startswith("3.0") and references(found) <= names


def test_a_document_asked_for_by_its_hash_may_be_kept(api: Api) -> None:
    url = api.get("/openapi/v3").ok()["paths"]["apis/apps/v1"]["serverRelativeURL"]
    path, query = split(url)
    answer = api.get(path, **query)
    assert answer.status == 200 and "immutable" in answer.header("cache-control")
    tag = answer.header("etag")
    assert tag
    again = api.get(path, headers={"If-None-Match": tag})
    assert (again.status, again.raw) == (304, b"")
    assert api.get(path).status == 200  # the connection still works


def test_another_hash_leads_to_the_present_one(api: Api) -> None:
    answer = api.get("/openapi/v3/apis/apps/v1", hash="0" * 64)
    assert answer.status == 301
    location = answer.header("location")
    assert location == api.get("/openapi/v3").ok()["paths"]["apis/apps/v1"]["serverRelativeURL"]


def test_an_unknown_group_version_is_404(api: Api) -> None:
    assert api.get("/openapi/v3/apis/nothing.example.com/v1").status == 404


def test_the_patch_operation_says_how_to_patch_and_that_fields_are_validated(
    api: Api, define: Define
) -> None:
    deployments = document(api, "apis/apps/v1")["paths"][
        "/apis/apps/v1/namespaces/{namespace}/deployments/{name}"
    ]
    media = deployments["patch"]["requestBody"]["content"]
    assert "application/strategic-merge-patch+json" in media and "application/apply-patch+yaml" in media
    parameters = {one.get("name") for one in deployments["patch"]["parameters"]}
    assert {"fieldValidation", "force", "fieldManager", "dryRun"} <= parameters
    crd = define()
    group = crd["spec"]["group"]
    found = document(api, f"apis/{group}/v1")
    media = found["paths"][f"/apis/{group}/v1/namespaces/{{namespace}}/widgets/{{name}}"]["patch"][
        "requestBody"
    ]
    assert "application/strategic-merge-patch+json" not in media["content"]


def test_lists_say_how_they_merge(api: Api) -> None:
    schemas = document(api, "apis/apps/v1")["components"]["schemas"]
    containers = schemas["io.k8s.api.core.v1.PodSpec"]["properties"]["containers"]
    assert containers["x-kubernetes-patch-merge-key"] == "name"
    assert containers["x-kubernetes-patch-strategy"] == "merge"
    assert containers["x-kubernetes-list-map-keys"] == ["name"]
    assert containers["description"]


def test_a_custom_resource_has_its_schema_and_metadata(api: Api, define: Define) -> None:
    crd = define()
    group = crd["spec"]["group"]
    schema = schema_of(document(api, f"apis/{group}/v1"), group, "Widget")
    before = api.get("/openapi/v3").ok()["paths"][f"apis/{group}/v1"]["serverRelativeURL"]
    assert schema["properties"]["spec"]["properties"]["color"]["enum"] == ["red", "green"]
    assert {"apiVersion", "kind", "metadata", "status"} <= schema["properties"].keys()
    assert "hash=" in before


def test_v2_is_served_as_json_and_as_protobuf(api: Api, define: Define) -> None:
    crd = define()
    name = ".".join(reversed(crd["spec"]["group"].split("."))) + ".v1.Widget"
    eventually(lambda: name in api.get("/openapi/v2").ok()["definitions"], f"no {name}")
    plain = api.get("/openapi/v2").ok()
    assert plain["swagger"] == "2.0"
    named = {one for one in references(plain) if one.startswith("#/definitions/")}
    assert named <= {f"#/definitions/{one}" for one in plain["definitions"]}
    packed = api.get("/openapi/v2", headers={"Accept": PROTOBUF})
    assert packed.status == 200 and "protobuf" in packed.header("content-type")
    assert name.encode() in packed.raw and not packed.raw.startswith(b"{")


def test_a_form_that_is_not_served_is_406(api: Api) -> None:
    assert api.get("/openapi/v2", headers={"Accept": "application/x-nothing"}).status == 406
