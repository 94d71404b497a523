"""Garbage collection by owner references, by the policy of the owner's deletion."""

from __future__ import annotations

from typing import Any

import pytest
from cluster_api import Api, eventually
from cluster_objects import config_map

HOLD = "contract.example.com/hold"


def _owner(obj: dict[str, Any], blocks: bool = False) -> dict[str, Any]:
    metadata = obj["metadata"]
    reference = {"apiVersion": "v1", "kind": "ConfigMap", "name": metadata["name"], "uid": metadata["uid"]}
    return {**reference, "blockOwnerDeletion": True} if blocks else reference


def _add(api: Api, path: str, name: str, *owners: dict[str, Any], hold: bool = False) -> dict[str, Any]:
    body = config_map(name)
    if owners:
        body["metadata"]["ownerReferences"] = list(owners)
    if hold:
        body["metadata"]["finalizers"] = [HOLD]
    return api.post(path, body).ok()


def _release(api: Api, path: str) -> None:
    api.patch(path, {"metadata": {"finalizers": None}}).ok()


@pytest.mark.parametrize("options", [None, {"propagationPolicy": "Background"}, {"orphanDependents": False}])
def test_background_removes_dependents_afterwards(
    api: Api, configmaps: str, options: dict[str, Any] | None
) -> None:
    owner = _add(api, configmaps, "owner")
    child = _add(api, configmaps, "child", _owner(owner))
    _add(api, configmaps, "grandchild", _owner(child))
    api.delete(f"{configmaps}/owner", options).ok()
    api.get(f"{configmaps}/owner").fails(404, "NotFound")
    api.gone(f"{configmaps}/child")
    api.gone(f"{configmaps}/grandchild")


@pytest.mark.parametrize("options", [{"propagationPolicy": "Orphan"}, {"orphanDependents": True}])
def test_orphan_leaves_dependents_without_the_owner(
    api: Api, configmaps: str, options: dict[str, Any]
) -> None:
    owner = _add(api, configmaps, "owner")
    other = _add(api, configmaps, "other")
    _add(api, configmaps, "child", _owner(owner))
    _add(api, configmaps, "shared", _owner(owner), _owner(other))
    api.delete(f"{configmaps}/owner", options).ok()
    api.gone(f"{configmaps}/owner")
    assert "ownerReferences" not in api.get(f"{configmaps}/child").ok()["metadata"]
    shared = api.get(f"{configmaps}/shared").ok()["metadata"]["ownerReferences"]
    assert [item["name"] for item in shared] == ["other"]


def test_foreground_waits_for_dependents_that_block(api: Api, configmaps: str) -> None:
    owner = _add(api, configmaps, "owner")
    _add(api, configmaps, "blocking", _owner(owner, blocks=True), hold=True)
    _add(api, configmaps, "free", _owner(owner))
    api.delete(f"{configmaps}/owner", {"propagationPolicy": "Foreground"}).ok()
    waiting = api.get(f"{configmaps}/owner").ok()["metadata"]
    assert waiting["deletionTimestamp"]
    assert waiting["finalizers"] == ["foregroundDeletion"]
    api.gone(f"{configmaps}/free")
    child = f"{configmaps}/blocking"
    eventually(lambda: api.get(child).ok()["metadata"].get("deletionTimestamp"), "not deleted")
    api.get(f"{configmaps}/owner").ok()
    _release(api, child)
    api.gone(child)
    api.gone(f"{configmaps}/owner")


def test_foreground_without_dependents_is_quick(api: Api, configmaps: str) -> None:
    _add(api, configmaps, "owner")
    api.delete(f"{configmaps}/owner", propagationPolicy="Foreground").ok()
    api.gone(f"{configmaps}/owner")


def test_other_owner_keeps_the_dependent(api: Api, configmaps: str) -> None:
    first, second = _add(api, configmaps, "first"), _add(api, configmaps, "second")
    _add(api, configmaps, "child", _owner(first), _owner(second))
    api.delete(f"{configmaps}/first").ok()

    def only_second() -> bool:
        owners = api.get(f"{configmaps}/child").ok()["metadata"]["ownerReferences"]
        return [item["name"] for item in owners] == ["second"]

    eventually(only_second, "the reference to the missing owner stays")
    api.delete(f"{configmaps}/second").ok()
    api.gone(f"{configmaps}/child")


def test_owner_that_never_was_is_missing(api: Api, configmaps: str) -> None:
    nobody = {"metadata": {"name": "nobody", "uid": "11111111-1111-1111-1111-111111111111"}}
    _add(api, configmaps, "child", _owner(nobody))
    api.gone(f"{configmaps}/child")


def test_owner_of_another_namespace_does_not_count(api: Api, configmaps: str) -> None:
    foreign = api.post("/api/v1/namespaces/default/configmaps", {"metadata": {"generateName": "f-"}}).ok()
    _add(api, configmaps, "child", _owner(foreign))
    api.gone(f"{configmaps}/child")
    api.delete(f"/api/v1/namespaces/default/configmaps/{foreign['metadata']['name']}").ok()


def test_cluster_scoped_owner(api: Api, configmaps: str) -> None:
    path = "/apis/scheduling.k8s.io/v1/priorityclasses"
    owner = api.post(path, {"metadata": {"generateName": "contract-"}, "value": 1}).ok()
    name = owner["metadata"]["name"]
    reference = {**_owner(owner), "apiVersion": "scheduling.k8s.io/v1", "kind": "PriorityClass"}
    _add(api, configmaps, "child", reference)
    _add(api, configmaps, "witness")
    assert api.get(f"{configmaps}/child").status == 200
    api.delete(f"{path}/{name}").ok()
    api.gone(f"{configmaps}/child")


def test_dependent_with_a_finalizer_is_waited_for(api: Api, configmaps: str) -> None:
    owner = _add(api, configmaps, "owner")
    _add(api, configmaps, "child", _owner(owner), hold=True)
    api.delete(f"{configmaps}/owner").ok()
    child = f"{configmaps}/child"
    eventually(lambda: api.get(child).ok()["metadata"].get("deletionTimestamp"), "not deleted")
    _release(api, child)
    api.gone(child)


def test_cycle_is_collected_in_the_foreground(api: Api, configmaps: str) -> None:
    first = _add(api, configmaps, "first")
    second = _add(api, configmaps, "second", _owner(first, blocks=True))
    api.patch(f"{configmaps}/first", {"metadata": {"ownerReferences": [_owner(second, blocks=True)]}}).ok()
    api.delete(f"{configmaps}/first", {"propagationPolicy": "Foreground"}).ok()
    api.gone(f"{configmaps}/first")
    api.gone(f"{configmaps}/second")
