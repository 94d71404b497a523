"""A server-side apply is spared only when the live object shows that it would change nothing."""

from __future__ import annotations

import copy
import json
from typing import Any

import pytest

from controller.applied import is_applied

DESIRED: dict[str, Any] = {
    "apiVersion": "serving.knative.dev/v1",
    "kind": "Service",
    "metadata": {"name": "m", "labels": {"a": "1"}},
    "spec": {
        "containers": [{"name": "main", "image": "i", "ports": [{"containerPort": 8080, "protocol": "TCP"}]}],
        "finalizers": ["x"],
        "traffic": [{"percent": 100}],
    },
}
PORT = json.dumps({"containerPort": 8080, "protocol": "TCP"})
OWNED: dict[str, Any] = {
    "f:metadata": {"f:labels": {".": {}, "f:a": {}}},
    "f:spec": {
        "f:containers": {
            'k:{"name":"main"}': {".": {}, "f:name": {}, "f:image": {}, "f:ports": {f"k:{PORT}": {}}}
        },
        "f:finalizers": {'v:"x"': {}},
        "f:traffic": {"i:0": {"f:percent": {}}},
    },
}


def live(owned: Any = None, **changes: Any) -> dict[str, Any]:
    """The object as the server shows it: defaults and a status beside what was applied."""
    entry = {"manager": "wakeful-controller", "operation": "Apply", "apiVersion": DESIRED["apiVersion"]}
    obj = copy.deepcopy(DESIRED)
    obj["metadata"] |= {
        "uid": "u",
        "managedFields": [{**entry, "fieldsV1": OWNED if owned is None else owned}],
    }
    obj["spec"] |= {"defaulted": True, **changes}
    return {**obj, "status": {"x": 1}}


def test_an_object_as_it_was_applied_needs_no_apply() -> None:
    assert is_applied(live(), DESIRED)


def owning(*path: str) -> dict[str, Any]:
    """``OWNED`` and one field more."""
    owned = copy.deepcopy(OWNED)
    place = owned
    for step in path:
        place = place.setdefault(step, {})
    return owned


@pytest.mark.parametrize(
    "path",
    [
        ("f:spec", "f:timeoutSeconds"),
        ("f:metadata", "f:labels", "f:b"),
        ("f:spec", "f:containers", 'k:{"name":"other"}'),
        ("f:spec", "f:containers", 'k:{"name":"main"}', "f:env"),
        ("f:spec", "f:finalizers", 'v:"y"'),
        ("f:spec", "f:traffic", "i:1"),
        ("f:spec", "f:traffic", "i:0", "f:tag", "f:deep"),
        ("f:kind", "k:{}"),
    ],
    ids="/".join,
)
def test_a_field_that_we_own_and_want_no_more_needs_an_apply(path: tuple[str, ...]) -> None:
    """Only an apply takes it away."""
    assert not is_applied(live(owning(*path)), DESIRED)


@pytest.mark.parametrize("changes", [{"traffic": [{"percent": 90}]}, {"finalizers": []}, {"containers": []}])
def test_a_field_that_somebody_changed_needs_an_apply(changes: dict[str, Any]) -> None:
    assert not is_applied(live(**changes), DESIRED)


def test_without_a_trace_of_our_apply_the_answer_is_no() -> None:
    for metadata in ({"managedFields": []}, {"managedFields": None}, {}):
        obj = live()
        obj["metadata"] = {"name": "m", "labels": {"a": "1"}, **metadata}
        assert not is_applied(obj, DESIRED)


def test_an_apply_in_another_version_is_not_compared() -> None:
    obj = live()
    obj["metadata"]["managedFields"][0]["apiVersion"] = "serving.knative.dev/v2"
    assert not is_applied(obj, DESIRED)
