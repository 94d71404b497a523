"""get and list: selectors, pages, forms of the answer."""

from __future__ import annotations

import pytest
from cluster_api import Api
from cluster_objects import config_map

TABLE = "application/json;as=Table;v=v1;g=meta.k8s.io,application/json"
METADATA = "application/json;as=PartialObjectMetadata;v=v1;g=meta.k8s.io"
METADATA_LIST = "application/json;as=PartialObjectMetadataList;v=v1;g=meta.k8s.io"


def _names(found: dict[str, object]) -> list[str]:
    items = found["items"]
    assert isinstance(items, list)
    return [item["metadata"]["name"] for item in items]


@pytest.fixture
def colored(api: Api, configmaps: str) -> str:
    """ConfigMaps a (red, size 1), b (red, size 2), c (green), d (no labels)."""
    for name, labels in (
        ("d", {}),
        ("a", {"color": "red", "size": "1"}),
        ("c", {"color": "green"}),
        ("b", {"color": "red", "size": "2"}),
    ):
        api.post(configmaps, config_map(name, {"contract": "yes", **labels})).ok()
    return configmaps


def test_missing_object_is_not_found(api: Api, configmaps: str) -> None:
    answer = api.get(f"{configmaps}/nobody").fails(404, "NotFound")
    assert answer.message == 'configmaps "nobody" not found'
    assert answer.body["details"] == {"name": "nobody", "kind": "configmaps"}


@pytest.mark.parametrize(
    "path",
    ["/api/v1/nothings", "/apis/no.group/v1/things", "/api/v2/pods", "/apis/apps/v9/deployments", "/nowhere"],
)
def test_unknown_path_is_not_found(api: Api, path: str) -> None:
    answer = api.get(path)
    assert answer.status == 404
    if answer.header("Content-Type").startswith("application/json"):
        assert answer.message == "the server could not find the requested resource"


def test_verb_that_the_path_does_not_have_is_405(api: Api, configmaps: str) -> None:
    for method, path in (("POST", f"{configmaps}/a"), ("PUT", configmaps), ("PATCH", configmaps)):
        answer = api.call(method, path, config_map("a")).fails(405, "MethodNotAllowed")
        assert answer.message == "the server does not allow this method on the requested resource"


def test_list_has_kind_version_and_order_by_name(api: Api, colored: str) -> None:
    found = api.get(colored, labelSelector="contract").ok()
    assert (found["kind"], found["apiVersion"]) == ("ConfigMapList", "v1")
    assert int(found["metadata"]["resourceVersion"]) > 0
    assert _names(found) == ["a", "b", "c", "d"]


def test_empty_list_has_items(api: Api, namespace: str) -> None:
    found = api.get(f"/api/v1/namespaces/{namespace}/secrets").ok()
    assert found["items"] == []


def test_list_of_a_missing_namespace_is_empty(api: Api) -> None:
    assert api.get("/api/v1/namespaces/no-such-place/configmaps").ok()["items"] == []


def test_list_over_all_namespaces(api: Api, colored: str, namespace: str) -> None:
    found = api.get("/api/v1/configmaps", fieldSelector=f"metadata.namespace={namespace}").ok()
    assert set("abcd") <= set(_names(found))


@pytest.mark.parametrize(
    ("selector", "names"),
    [
        ("color=red", "ab"),
        ("color==red", "ab"),
        ("color!=red", "cd"),
        ("color in (red,green)", "abc"),
        ("color notin (red)", "cd"),
        ("size", "ab"),
        ("!size", "cd"),
        ("size>1", "b"),
        ("size<2", "a"),
        ("color=red,size=2", "b"),
        ("color=", ""),
        ("color in ()", ""),
    ],
)
def test_label_selector(api: Api, colored: str, selector: str, names: str) -> None:
    found = api.get(colored, labelSelector=f"contract,{selector}").ok()
    assert _names(found) == list(names)


@pytest.mark.parametrize("selector", ["a in", "a=b=c", "a,,b", "-x=1", "a in (b", "=x", "a>z"])
def test_malformed_label_selector_is_refused(api: Api, configmaps: str, selector: str) -> None:
    answer = api.get(configmaps, labelSelector=selector).fails(400, "BadRequest")
    assert "unable to parse requirement" in answer.message or "found '" in answer.message


@pytest.mark.parametrize(
    ("selector", "names"),
    [
        ("metadata.name=a", "a"),
        ("metadata.name!=a,metadata.name!=b", "cd"),
        ("metadata.name=a,metadata.name=b", ""),
    ],
)
def test_field_selector(api: Api, colored: str, selector: str, names: str) -> None:
    assert _names(api.get(colored, fieldSelector=selector, labelSelector="contract").ok()) == list(names)


@pytest.mark.parametrize("selector", ["data.x=1", "metadata.uid=1", "nonsense"])
def test_other_fields_cannot_be_selected(api: Api, configmaps: str, selector: str) -> None:
    api.get(configmaps, fieldSelector=selector).fails(400, "BadRequest")


def test_pages_show_one_consistent_list(api: Api, colored: str) -> None:
    first = api.get(colored, limit="2", labelSelector="contract").ok()
    api.post(colored, config_map("aa", {"contract": "yes"})).ok()
    api.delete(f"{colored}/c").ok()
    token = first["metadata"]["continue"]
    second = api.get(colored, limit="2", labelSelector="contract", **{"continue": token}).ok()
    assert _names(first) + _names(second) == ["a", "b", "c", "d"]
    assert second["metadata"]["resourceVersion"] == first["metadata"]["resourceVersion"]
    if token := second["metadata"].get("continue"):  # Kubernetes counts pages before it selects
        rest = api.get(colored, limit="2", labelSelector="contract", **{"continue": token}).ok()
        assert rest["items"] == [] and not rest["metadata"].get("continue")


def test_remaining_items_are_counted_without_a_selector(api: Api, colored: str) -> None:
    total = len(api.get(colored).ok()["items"])
    first = api.get(colored, limit="1").ok()
    assert first["metadata"]["remainingItemCount"] == total - 1
    selected = api.get(colored, limit="1", labelSelector="contract").ok()
    assert "remainingItemCount" not in selected["metadata"]


def test_limit_zero_is_no_limit(api: Api, colored: str) -> None:
    found = api.get(colored, limit="0").ok()
    assert not found["metadata"].get("continue")


def test_forged_continue_is_refused(api: Api, configmaps: str) -> None:
    answer = api.get(configmaps, limit="1", **{"continue": "nonsense"}).fails(400, "BadRequest")
    assert "continue key is not valid" in answer.message


@pytest.mark.parametrize("limit", ["x", "1.5", "99999999999999999999"])
def test_malformed_limit_is_refused(api: Api, configmaps: str, limit: str) -> None:
    api.get(configmaps, limit=limit).fails(400, "BadRequest")


def test_version_of_the_future_is_too_large(api: Api, configmaps: str) -> None:
    api.post(configmaps, config_map("a")).ok()
    for path in (configmaps, f"{configmaps}/a"):
        answer = api.get(path, resourceVersion="99999999999").fails(504, "Timeout")
        assert answer.body["details"]["causes"][0]["reason"] == "ResourceVersionTooLarge"


@pytest.mark.parametrize(
    "query",
    [
        {"resourceVersionMatch": "Exact"},
        {"resourceVersion": "1", "resourceVersionMatch": "Nearly"},
        {"resourceVersion": "0", "resourceVersionMatch": "Exact"},
        {"watch": "true", "resourceVersion": "1", "resourceVersionMatch": "Exact"},
        {"watch": "true", "sendInitialEvents": "true"},
    ],
    ids=["no-version", "unknown", "exact-zero", "watch", "initial-events"],
)
def test_resource_version_match_has_rules(api: Api, configmaps: str, query: dict[str, str]) -> None:
    api.get(configmaps, **query).fails(422, "Invalid")


def test_table_is_made_by_the_server(api: Api, colored: str) -> None:
    found = api.get(colored, headers={"Accept": TABLE}, labelSelector="contract").ok()
    assert (found["kind"], found["apiVersion"]) == ("Table", "meta.k8s.io/v1")
    assert [column["name"] for column in found["columnDefinitions"]][:2] == ["Name", "Data"]
    assert [row["cells"][0] for row in found["rows"]] == ["a", "b", "c", "d"]
    assert found["rows"][0]["object"]["kind"] == "PartialObjectMetadata"


def test_table_of_one_object(api: Api, colored: str) -> None:
    found = api.get(f"{colored}/a", headers={"Accept": TABLE}, includeObject="None").ok()
    assert len(found["rows"]) == 1
    assert found["rows"][0].get("object") is None


def test_only_metadata(api: Api, colored: str) -> None:
    one = api.get(f"{colored}/a", headers={"Accept": METADATA}).ok()
    assert (one["kind"], one["apiVersion"]) == ("PartialObjectMetadata", "meta.k8s.io/v1")
    assert one["metadata"]["name"] == "a"
    assert "data" not in one
    many = api.get(colored, headers={"Accept": METADATA_LIST}).ok()
    assert many["kind"] == "PartialObjectMetadataList"
    assert all(set(item) <= {"kind", "apiVersion", "metadata"} for item in many["items"])


def test_unserved_accept_is_not_acceptable(api: Api, configmaps: str) -> None:
    api.get(configmaps, headers={"Accept": "text/html"}).fails(406, "NotAcceptable")


def test_head_has_no_body(api: Api, configmaps: str) -> None:
    answer = api.call("HEAD", configmaps)
    assert answer.raw == b""
    assert answer.status in (200, 405)  # kube-apiserver has no HEAD on resources
