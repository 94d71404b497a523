"""Tables as ``kubectl get`` asks for them: columns, cells, what each row carries, custom columns, watch."""

from __future__ import annotations

import pytest
from cluster_api import Api, Define, Obj
from cluster_objects import config_map, deployment, version, widget, widgets

TABLE = {"Accept": "application/json;as=Table;v=v1;g=meta.k8s.io,application/json"}
COLUMNS = [
    {"name": "Size", "type": "integer", "jsonPath": ".spec.size"},
    {"name": "Color", "type": "string", "jsonPath": ".spec.color", "priority": 1, "description": "its color"},
    {"name": "Ready", "type": "string", "jsonPath": '.status.conditions[?(@.type=="Ready")].status'},
    {"name": "Age", "type": "date", "jsonPath": ".metadata.creationTimestamp"},
    {"name": "Bool", "type": "boolean", "jsonPath": ".spec.color"},
]


def names(table: Obj) -> list[str]:
    return [column["name"] for column in table["columnDefinitions"] or ()]


def test_a_list_comes_as_a_table(api: Api, configmaps: str) -> None:
    api.post(configmaps, config_map("one", a="1", b="2")).ok()
    table = api.get(configmaps, headers=TABLE, fieldSelector="metadata.name=one").ok()
    assert (table["kind"], table["apiVersion"]) == ("Table", "meta.k8s.io/v1")
    assert names(table) == ["Name", "Data", "Age"]
    assert table["metadata"]["resourceVersion"]
    [row] = table["rows"]
    assert row["cells"][:2] == ["one", 2] and row["cells"][2].endswith("s")
    assert row["object"]["kind"] == "PartialObjectMetadata" and row["object"]["metadata"]["name"] == "one"
    assert "data" not in row["object"]
    first = table["columnDefinitions"][0]
    assert (first["type"], first["format"], first["priority"]) == ("string", "name", 0)


@pytest.mark.parametrize(
    ("include", "kind"), [("Object", "ConfigMap"), ("None", ""), ("Metadata", "PartialObjectMetadata")]
)
def test_what_a_row_carries_is_chosen(api: Api, configmaps: str, include: str, kind: str) -> None:
    api.post(configmaps, config_map("one")).ok()
    table = api.get(f"{configmaps}/one", headers=TABLE, includeObject=include).ok()
    [row] = table["rows"]
    assert (row.get("object") or {}).get("kind", "") == kind


def test_one_object_comes_as_a_table(api: Api, namespace: str) -> None:
    path = f"/apis/apps/v1/namespaces/{namespace}/deployments"
    api.post(path, deployment("web")).ok()
    table = api.get(f"{path}/web", headers=TABLE).ok()
    assert names(table) == [
        "Name",
        "Ready",
        "Up-to-date",
        "Available",
        "Age",
        "Containers",
        "Images",
        "Selector",
    ]
    [row] = table["rows"]
    assert row["cells"][:2] == ["web", "0/0"] and row["cells"][5:] == [
        "main",
        "example.invalid/none:1",
        "app=web",
    ]
    assert [column["priority"] for column in table["columnDefinitions"]] == [0] * 5 + [1] * 3


def test_custom_columns(api: Api, namespace: str, define: Define) -> None:
    crd = define(versions=[version("v1", additionalPrinterColumns=COLUMNS)])
    collection = widgets(crd, namespace)
    api.post(collection, widget(crd, "w", size=3, color="green")).ok()
    table = api.get(collection, headers=TABLE).ok()
    assert names(table) == ["Name", "Size", "Color", "Ready", "Age", "Bool"]
    [row] = table["rows"]
    assert row["cells"][:4] == ["w", 3, "green", None] and row["cells"][5] is None
    assert table["columnDefinitions"][2]["description"] == "its color"
    assert table["columnDefinitions"][2]["priority"] == 1


def test_a_custom_kind_without_columns_shows_name_and_age(api: Api, namespace: str, define: Define) -> None:
    crd = define()
    assert names(api.get(widgets(crd, namespace), headers=TABLE).ok()) == ["Name", "Age"]


def test_an_empty_list_has_its_columns(api: Api, namespace: str) -> None:
    table = api.get(f"/api/v1/namespaces/{namespace}/pods", headers=TABLE).ok()
    assert table["rows"] == [] and names(table)[:3] == ["Name", "Ready", "Status"]


def test_a_watch_sends_tables_the_first_with_columns(api: Api, configmaps: str) -> None:
    with api.watch(configmaps, headers=TABLE) as watch:
        found = [watch.next()]
        api.post(configmaps, config_map("w1")).ok()
        while not any(row["cells"][0] == "w1" for event in found for row in event["object"]["rows"]):
            found.append(watch.next())
    assert all(event["object"]["kind"] == "Table" for event in found)
    assert names(found[0]["object"]) == ["Name", "Data", "Age"]
    # Kubernetes leaves the columns out of later events; sending them again is harmless.
    assert all(names(event["object"]) in ([], ["Name", "Data", "Age"]) for event in found[1:])


def test_metadata_only(api: Api, configmaps: str) -> None:
    api.post(configmaps, config_map("one", a="1")).ok()
    accept = "application/json;as=PartialObjectMetadataList;g=meta.k8s.io;v=v1"
    found = api.get(configmaps, headers={"Accept": accept}).ok()
    assert found["kind"] == "PartialObjectMetadataList"
    assert all(item.keys() <= {"kind", "apiVersion", "metadata"} for item in found["items"])


def test_pages_of_a_table(api: Api, configmaps: str) -> None:
    for name in ("a", "b", "c"):
        api.post(configmaps, config_map(name, {"page": "yes"})).ok()
    seen: list[str] = []
    query = {"limit": "2", "labelSelector": "page=yes"}
    while True:
        table = api.get(configmaps, headers=TABLE, **query).ok()
        seen += [row["cells"][0] for row in table["rows"]]
        if not table["metadata"].get("continue"):
            break
        query["continue"] = table["metadata"]["continue"]
    assert seen == ["a", "b", "c"]
