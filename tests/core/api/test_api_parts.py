"""The small parts under the kinds: storage URIs, merging of containers, conditions."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from storage import uri as initializer
from storage.errors import StorageError
from wakeful.core.api import conditions, inferenceservice, isvc_unsupported, podspec, storage_uri
from wakeful.core.api.conditions import Condition

Obj = dict[str, Any]
AT, LATER = "2026-01-01T00:00:00Z", "2026-01-02T00:00:00Z"


@pytest.mark.parametrize(
    ("uri", "claim", "path"),
    [("pvc://c", "c", ""), ("pvc://c/", "c", ""), ("pvc://my.c/a//b/./c/", "my.c", "a/b/c")],
)
def test_parts_of_a_pvc_uri(uri: str, claim: str, path: str) -> None:
    assert storage_uri.parse_pvc(uri) == storage_uri.PvcPath(claim, path)


@pytest.mark.parametrize(
    "uri", ["pvc://", "pvc:///x", "pvc://A/b", "pvc://c/../d", "", "ftp://x", "x/y", "oci://a"]
)
def test_unusable_uris(uri: str) -> None:
    with pytest.raises(storage_uri.StorageUriError):
        storage_uri.check(uri)


@pytest.mark.parametrize("uri", ["s3://b/x", "gs://b", "hf://a/b", "https://h/x", "/models/x", "file:///x"])
def test_usable_uris(uri: str) -> None:
    storage_uri.check(uri)


@pytest.mark.parametrize("prefix", [item for item in storage_uri.PREFIXES if item != "pvc://"])
def test_what_our_initializer_reads_is_said_as_it_is(prefix: str) -> None:
    parsed = inferenceservice.parse({"spec": {"predictor": {"model": {"storageUri": f"{prefix}/a/b"}}}})
    try:
        initializer.parse(f"{prefix}{'/' if prefix == 'file://' else ''}host/b/c")
        is_read = True
    except StorageError as error:
        is_read = "is not in this version" not in str(error)
    assert (isvc_unsupported.unread_sources(parsed) == []) is is_read


@given(st.text(max_size=30))
def test_a_sub_path_never_leaves_its_volume(path: str) -> None:
    try:
        found = storage_uri.parse_pvc(f"pvc://claim/{path}")
    except storage_uri.StorageUriError:
        return
    assert ".." not in found.sub_path.split("/") and not found.sub_path.startswith("/")


def test_containers_merge_as_kserve_merges_them() -> None:
    base = {
        "name": "kserve-container",
        "image": "a:1",
        "args": ["--x"],
        "env": [{"name": "A", "value": "1"}, {"name": "B", "value": "2"}],
        "resources": {"limits": {"cpu": "1", "memory": "2Gi"}},
        "ports": [{"containerPort": 8080}],
    }
    user = {
        "name": "other",
        "args": ["--y"],
        "env": [{"name": "A", "valueFrom": {"fieldRef": {}}}, {"name": "C", "value": "3"}],
        "resources": {"limits": {"memory": "4Gi"}},
    }
    assert podspec.merge_containers(base, user) == {
        "name": "kserve-container",
        "image": "a:1",
        "args": ["--x", "--y"],
        "env": [
            {"name": "A", "valueFrom": {"fieldRef": {}}},
            {"name": "B", "value": "2"},
            {"name": "C", "value": "3"},
        ],
        "resources": {"limits": {"cpu": "1", "memory": "4Gi"}},
        "ports": [{"containerPort": 8080}],
    }
    assert podspec.merge_containers(base, {}) == base


@pytest.mark.parametrize(
    ("resources", "wants"),
    [
        ({}, False),
        ({"limits": {"nvidia.com/gpu": "1"}}, True),
        ({"limits": {"nvidia.com/gpu": 0}}, False),
        ({"requests": {"nvidia.com/mig-1g.5gb": 1}}, True),
        ({"limits": {"cpu": "4"}}, False),
    ],
)
def test_who_wants_a_gpu(resources: Obj, wants: bool) -> None:
    assert podspec.wants_gpu({"resources": resources}) is wants


STATUS = st.sampled_from(["True", "False", "Unknown"])


@given(st.lists(STATUS, min_size=1, max_size=5))
def test_conditions_roll_up(statuses: list[str]) -> None:
    parts = [Condition(f"C{index}", status, f"R{index}") for index, status in enumerate(statuses)]
    happy = conditions.roll_up("Ready", parts)
    assert happy.is_true == all(item == "True" for item in statuses)
    assert happy.is_false == ("False" in statuses)
    blamed = next((item for item in parts if item.status == happy.status), None)
    assert happy.is_true or (blamed is not None and blamed.reason == happy.reason)


def test_a_time_changes_only_with_the_status() -> None:
    first = conditions.merge(None, [Condition("Ready", "False", "A", "a")], AT)
    second = conditions.merge(first, [Condition("Ready", "False", "B", "b")], LATER)
    third = conditions.merge(second, [Condition("Ready", "True")], LATER)
    assert [item[0]["lastTransitionTime"] for item in (first, second, third)] == [AT, AT, LATER]
    assert "reason" not in third[0]
    assert conditions.merge(third, [Condition("Ready", "True")], AT) == third
