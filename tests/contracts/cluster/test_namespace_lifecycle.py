"""Namespaces: what a new one has, what happens to one under deletion."""

from __future__ import annotations

import secrets

import pytest
from cluster_api import Api, eventually
from cluster_objects import config_map

HOLD = "contract.example.com/hold"


def test_new_namespace(api: Api, namespace: str) -> None:
    found = api.get(f"/api/v1/namespaces/{namespace}").ok()
    assert found["status"]["phase"] == "Active"
    assert found["spec"]["finalizers"] == ["kubernetes"]
    assert found["metadata"]["labels"]["kubernetes.io/metadata.name"] == namespace


def test_every_namespace_gets_account_and_authority(api: Api, namespace: str) -> None:
    path = f"/api/v1/namespaces/{namespace}"
    api.get(f"{path}/serviceaccounts/default").ok()
    authority = f"{path}/configmaps/kube-root-ca.crt"
    eventually(lambda: api.get(authority).status == 200, "no kube-root-ca.crt")
    assert "BEGIN CERTIFICATE" in api.get(authority).ok()["data"]["ca.crt"]
    api.delete(f"{path}/serviceaccounts/default").ok()
    eventually(lambda: api.get(f"{path}/serviceaccounts/default").status == 200, "not made again")


@pytest.mark.parametrize("name", ["a.b", "Upper", "x" * 64])
def test_name_is_a_label(api: Api, name: str) -> None:
    answer = api.post("/api/v1/namespaces", {"metadata": {"name": name}}).fails(422, "Invalid")
    assert answer.causes()["metadata.name"] == "FieldValueInvalid"


@pytest.mark.parametrize("name", ["default", "kube-system", "kube-public"])
def test_standard_namespaces_exist_and_stay(api: Api, name: str) -> None:
    api.get(f"/api/v1/namespaces/{name}").ok()
    api.delete(f"/api/v1/namespaces/{name}").fails(403, "Forbidden")


def test_deletion_empties_it(api: Api, namespace: str, configmaps: str) -> None:
    for index in range(20):
        api.post(configmaps, config_map(f"c-{index}")).ok()
    api.post(f"/api/v1/namespaces/{namespace}/secrets", {"metadata": {"name": "s"}}).ok()
    answered = api.delete(f"/api/v1/namespaces/{namespace}").ok()
    if "metadata" in answered and answered["kind"] == "Namespace":
        assert answered["status"]["phase"] == "Terminating"
    api.gone(f"/api/v1/namespaces/{namespace}")
    assert api.get(configmaps).ok()["items"] == []


def test_content_that_is_held_holds_the_namespace(api: Api, namespace: str, configmaps: str) -> None:
    path = f"/api/v1/namespaces/{namespace}"
    body = config_map("held")
    body["metadata"]["finalizers"] = [HOLD]
    api.post(configmaps, body).ok()
    api.delete(path).ok()

    def remaining() -> str:
        status = api.get(path).ok()["status"]
        assert status["phase"] == "Terminating"
        texts = {item["type"]: item for item in status.get("conditions") or ()}
        found = texts.get("NamespaceContentRemaining")
        return found["message"] if found and found["status"] == "True" else ""

    eventually(lambda: "configmaps. has 1 resource instances" in remaining(), "no condition")
    eventually(lambda: api.get(f"{configmaps}/held").ok()["metadata"].get("deletionTimestamp"), "alive")
    refused = api.post(configmaps, config_map("late")).fails(403, "Forbidden")
    assert "because it is being terminated" in refused.message
    assert refused.body["details"]["causes"][0]["reason"] == "NamespaceTerminating"
    api.patch(f"{configmaps}/held", {"data": {"still": "writable"}}).ok()
    api.patch(f"{configmaps}/held", {"metadata": {"finalizers": None}}).ok()
    api.gone(path)


def test_name_can_be_used_again_after_deletion(api: Api) -> None:
    name = f"contract-{secrets.token_hex(4)}"
    path = f"/api/v1/namespaces/{name}"
    uids = set()
    for _ in range(2):
        uids.add(api.post("/api/v1/namespaces", {"metadata": {"name": name}}).ok()["metadata"]["uid"])
        api.delete(path).ok()
        api.gone(path)
    assert len(uids) == 2


def test_finalize_subresource_sets_the_finalizers(api: Api) -> None:
    name = f"contract-{secrets.token_hex(4)}"
    path = f"/api/v1/namespaces/{name}"
    body = {"metadata": {"name": name}, "spec": {"finalizers": ["contract.example.com/hold"]}}
    assert set(api.post("/api/v1/namespaces", body).ok()["spec"]["finalizers"]) == {
        "contract.example.com/hold",
        "kubernetes",
    }
    api.delete(path).ok()
    held = eventually(
        lambda: next(
            (f for f in [api.get(path).ok()] if f["spec"].get("finalizers") == ["contract.example.com/hold"]),
            None,
        ),
        "the kubernetes finalizer stays",
    )
    held["spec"]["finalizers"] = []
    api.put(f"{path}/finalize", held).ok()
    api.gone(path)


def test_delete_of_all_namespaces_is_not_offered(api: Api) -> None:
    api.delete("/api/v1/namespaces").fails(405, "MethodNotAllowed")
