"""What a client finds before it knows anything: version, health, groups, resources, OpenAPI, identity."""

from __future__ import annotations

from typing import Any

import pytest
from cluster_api import Api

AGGREGATED = "application/json;g=apidiscovery.k8s.io;v=v2;as=APIGroupDiscoveryList"


def test_version(api: Api) -> None:
    found = api.get("/version").ok()
    assert found["major"] == "1"
    assert found["gitVersion"].startswith("v1.")


@pytest.mark.parametrize("path", ["/healthz", "/livez", "/readyz"])
def test_health(api: Api, path: str) -> None:
    answer = api.get(path)
    assert (answer.status, answer.raw) == (200, b"ok")


def test_core_versions(api: Api) -> None:
    found = api.get("/api").ok()
    assert (found["kind"], found["versions"]) == ("APIVersions", ["v1"])


def test_groups(api: Api) -> None:
    found = api.get("/apis").ok()
    assert found["kind"] == "APIGroupList"
    names = {group["name"] for group in found["groups"]}
    expected = {"apps", "autoscaling", "batch", "coordination.k8s.io", "apiextensions.k8s.io"}
    assert expected <= names
    for group in found["groups"]:
        assert group["preferredVersion"] in group["versions"]


def test_every_listed_resource_answers(api: Api) -> None:
    paths = ["/api/v1"]
    for group in api.get("/apis").ok()["groups"]:
        paths += [f"/apis/{version['groupVersion']}" for version in group["versions"]]
    for path in paths:
        found = api.get(path).ok()
        assert found["kind"] == "APIResourceList"
        for item in found["resources"]:
            if "list" in item["verbs"] and "/" not in item["name"]:
                assert api.get(f"{path}/{item['name']}", limit="1").status == 200, item["name"]


def test_resources_of_the_core_group(api: Api) -> None:
    resources = {item["name"]: item for item in api.get("/api/v1").ok()["resources"]}
    assert resources["pods"]["shortNames"] == ["po"]
    assert resources["pods"]["categories"] == ["all"]
    assert resources["pods"]["singularName"] == "pod"
    assert resources["namespaces"]["namespaced"] is False
    assert "deletecollection" not in resources["namespaces"]["verbs"]
    assert resources["pods/eviction"]["kind"] == "Eviction"
    assert resources["pods/eviction"]["group"] == "policy"
    assert set(resources["pods/status"]["verbs"]) == {"get", "patch", "update"}


@pytest.mark.parametrize("path", ["/api", "/apis"])
def test_aggregated_discovery(api: Api, path: str) -> None:
    answer = api.get(path, headers={"Accept": f"{AGGREGATED},application/json"})
    assert "as=APIGroupDiscoveryList" in answer.header("Content-Type").replace(" ", "")
    found = answer.ok()
    assert (found["kind"], found["apiVersion"]) == ("APIGroupDiscoveryList", "apidiscovery.k8s.io/v2")
    resources = [item for group in found["items"] for v in group["versions"] for item in v["resources"]]
    assert all(item["scope"] in ("Namespaced", "Cluster") for item in resources)
    assert {"pods", "deployments"} & {item["resource"] for item in resources}


def test_unknown_group_is_not_found(api: Api) -> None:
    for path in ("/apis/no.such.group", "/apis/no.such.group/v1", "/apis/apps/v99"):
        assert api.get(path).status == 404


def test_openapi_index_leads_to_documents(api: Api) -> None:
    paths = api.get("/openapi/v3").ok()["paths"]
    assert "api/v1" in paths
    url, _, query = paths["apis/apps/v1"]["serverRelativeURL"].partition("?")
    document = api.get(url, hash=query.partition("=")[2]).ok()
    assert document["openapi"].startswith("3.")
    schemas = document["components"]["schemas"]
    assert "io.k8s.api.apps.v1.Deployment" in schemas


def test_openapi_two(api: Api) -> None:
    document = api.get("/openapi/v2").ok()
    assert document["swagger"] == "2.0"
    assert "io.k8s.api.core.v1.Pod" in document["definitions"]


@pytest.mark.parametrize("header", ["", "Bearer wrong", "Basic YTpi", "Bearer "])
def test_wrong_credentials_are_unauthorized(api: Api, header: str) -> None:
    nobody = api.without_identity()
    answer = nobody.get("/api/v1/namespaces", headers={"Authorization": header})
    nobody.close()
    if header == "Bearer wrong" or api.is_embedded:
        answer.fails(401, "Unauthorized")
    else:  # Kubernetes sees a request of system:anonymous, which may do nothing
        assert answer.status in (401, 403)


def test_who_am_i(api: Api) -> None:
    answer = api.post("/apis/authentication.k8s.io/v1/selfsubjectreviews", {})
    assert answer.status == 201
    user = answer.body["status"]["userInfo"]
    assert user["username"]
    assert "system:authenticated" in user["groups"]


def test_may_i(api: Api, namespace: str) -> None:
    attributes = {"namespace": namespace, "verb": "create", "resource": "pods"}
    found = api.post(
        "/apis/authorization.k8s.io/v1/selfsubjectaccessreviews",
        {"spec": {"resourceAttributes": attributes}},
    ).ok()
    assert found["status"]["allowed"] is True
    assert found["spec"]["resourceAttributes"] == attributes
    rules = api.post(
        "/apis/authorization.k8s.io/v1/selfsubjectrulesreviews", {"spec": {"namespace": namespace}}
    ).ok()
    assert rules["status"]["resourceRules"]


def test_reviews_are_only_created(api: Api) -> None:
    path = "/apis/authorization.k8s.io/v1/selfsubjectaccessreviews"
    api.get(path).fails(405, "MethodNotAllowed")


def test_access_review_needs_a_question(api: Api) -> None:
    path = "/apis/authorization.k8s.io/v1/selfsubjectaccessreviews"
    api.post(path, {"spec": {}}).fails(422, "Invalid")


def _token(api: Api, namespace: str, **spec: Any) -> dict[str, Any]:
    path = f"/api/v1/namespaces/{namespace}/serviceaccounts/default/token"
    answer = api.post(path, {"spec": spec})
    assert answer.status == 201, answer.raw
    found: dict[str, Any] = answer.body
    return found


def test_token_of_a_service_account(api: Api, namespace: str) -> None:
    issued = _token(api, namespace, expirationSeconds=600)
    assert issued["kind"] == "TokenRequest"
    assert issued["status"]["expirationTimestamp"]
    token = issued["status"]["token"]
    path = "/apis/authentication.k8s.io/v1/selfsubjectreviews"
    account = api.without_identity()
    found = account.post(path, {}, headers={"Authorization": f"Bearer {token}"}).ok()
    account.close()
    user = found["status"]["userInfo"]
    assert user["username"] == f"system:serviceaccount:{namespace}:default"
    assert f"system:serviceaccounts:{namespace}" in user["groups"]
    review = api.post("/apis/authentication.k8s.io/v1/tokenreviews", {"spec": {"token": token}}).ok()
    assert review["status"]["authenticated"] is True
    assert review["status"]["user"]["username"] == user["username"]


def test_token_review_of_nonsense(api: Api) -> None:
    found = api.post("/apis/authentication.k8s.io/v1/tokenreviews", {"spec": {"token": "nonsense"}}).ok()
    assert not found["status"].get("authenticated")
    assert found["status"]["error"]


def test_token_ends_with_its_account(api: Api, namespace: str) -> None:
    token = _token(api, namespace)["status"]["token"]
    headers = {"Authorization": f"Bearer {token}"}
    account = api.without_identity()
    assert account.get("/api", headers=headers).status == 200
    api.delete(f"/api/v1/namespaces/{namespace}/serviceaccounts/default").ok()
    from cluster_api import eventually

    eventually(lambda: account.get("/api", headers=headers).status == 401, "the token still works")
    account.close()


def test_token_has_a_shortest_life(api: Api, namespace: str) -> None:
    path = f"/api/v1/namespaces/{namespace}/serviceaccounts/default/token"
    answer = api.post(path, {"spec": {"expirationSeconds": 5}}).fails(422, "Invalid")
    assert answer.causes() == {"spec.expirationSeconds": "FieldValueInvalid"}


def test_token_of_nobody(api: Api, namespace: str) -> None:
    path = f"/api/v1/namespaces/{namespace}/serviceaccounts/nobody/token"
    api.post(path, {"spec": {}}).fails(404, "NotFound")
