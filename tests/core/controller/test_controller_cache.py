"""What the controller's cache keeps of an object, and that it never goes back."""

from __future__ import annotations

from typing import Any

from controller.cache import INFERENCE_SERVICES, KNATIVE_SERVICES, SERVING_RUNTIMES, Cache
from wakeful.core.api import isvc_names as names

OURS = {"manager": "wakeful-controller", "operation": "Apply", "fieldsV1": {"f:spec": {}}}


def obj_of(version: str, uid: str = "u", namespace: str = "ns", **metadata: Any) -> dict[str, Any]:
    return {
        "metadata": {"namespace": namespace, "name": "m", "uid": uid, "resourceVersion": version, **metadata},
        "spec": {"version": version},
    }


def test_an_older_state_does_not_replace_a_newer_one() -> None:
    cache = Cache()
    for version in ("10", "9"):
        cache.put(INFERENCE_SERVICES, obj_of(version))
    assert cache.get(INFERENCE_SERVICES, "ns", "m") == obj_of("10")


def test_another_object_of_the_name_does() -> None:
    cache = Cache()
    cache.put(INFERENCE_SERVICES, obj_of("10"))
    cache.put(INFERENCE_SERVICES, obj_of("9", uid="v"))
    cache.drop(INFERENCE_SERVICES, obj_of("11", uid="u"))
    assert cache.get(INFERENCE_SERVICES, "ns", "m") == obj_of("9", uid="v")


def test_of_managed_fields_only_our_own_apply_is_kept() -> None:
    cache = Cache()
    others = [{**OURS, "manager": "kubectl"}, {**OURS, "operation": "Update"}]
    cache.put(KNATIVE_SERVICES, obj_of("1", managedFields=[*others, OURS]))
    cache.put(INFERENCE_SERVICES, obj_of("1", managedFields=others))
    kept = cache.get(KNATIVE_SERVICES, "ns", "m")
    assert kept is not None
    assert kept["metadata"]["managedFields"] == [OURS]
    assert cache.get(INFERENCE_SERVICES, "ns", "m") == obj_of("1")


def test_a_reader_that_changes_its_copy_changes_nothing() -> None:
    cache = Cache()
    cache.put(INFERENCE_SERVICES, obj_of("1"))
    for item in cache.items(INFERENCE_SERVICES):
        item["spec"]["version"] = "broken"
    assert cache.get(INFERENCE_SERVICES, "ns", "m") == obj_of("1")


def test_a_label_that_moves_to_another_service_moves_the_object() -> None:
    cache = Cache()
    for version, owner in (("1", "a"), ("2", "b")):
        cache.put(KNATIVE_SERVICES, obj_of(version, labels={names.ISVC_LABEL: owner}))
    assert cache.of_isvc(KNATIVE_SERVICES, ("ns", "a")) == []
    assert [item["metadata"]["resourceVersion"] for item in cache.of_isvc(KNATIVE_SERVICES, ("ns", "b"))] == [
        "2"
    ]


def test_items_of_one_namespace() -> None:
    cache = Cache()
    for namespace in ("ns", "other"):
        cache.put(SERVING_RUNTIMES, obj_of("1", namespace=namespace))
    assert list(cache.items(SERVING_RUNTIMES, "other")) == [obj_of("1", namespace="other")]
    assert cache.keys(SERVING_RUNTIMES) == [("ns", "m"), ("other", "m")]
