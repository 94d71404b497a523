"""Server-side apply and ownership. The rules were also compared with structured-merge-diff 4.4.2 on 15,000 random
histories of applies and updates (docs/decisions/0021)."""

import copy
import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from standalone.apiserver.apply import managed
from standalone.apiserver.apply.managed import ApplyConflict, ApplyError
from standalone.apiserver.schema import core

SCHEMA = core.core_schema("apps", "v1", "Deployment")
T1, T2, T3 = "2026-01-01T00:00:01Z", "2026-01-01T00:00:02Z", "2026-01-01T00:00:03Z"


def config(spec=None, **metadata):
    obj = {"apiVersion": "apps/v1", "kind": "Deployment", "metadata": {"name": "d", **metadata}}
    return obj | ({"spec": spec} if spec is not None else {})


def apply(live, applied, manager="a", *, force=False, at=T1, subresource="", schema=SCHEMA):
    before = copy.deepcopy((live, applied))
    author = managed.Author(manager, "apps/v1", at, subresource)
    result = managed.server_side_apply(live, applied, author, force=force, schema=schema)
    assert (live, applied) == before
    return result


def update(live, new, manager="u", *, at=T2, subresource="", schema=SCHEMA):
    new = copy.deepcopy(new)
    author = managed.Author(manager, "apps/v1", at, subresource)
    new["metadata"]["managedFields"] = managed.track_write(live, new, author, schema)
    return new


def owners(obj):
    return {entry["manager"]: entry["fieldsV1"] for entry in obj["metadata"].get("managedFields", [])}


def pods(*containers):
    return {"template": {"spec": {"containers": list(containers)}}}


def containers(obj):
    return obj["spec"]["template"]["spec"]["containers"]


def test_an_applied_object_is_owned_by_its_applier():
    obj = apply(None, config({"replicas": 1}, labels={"x": "y"}))
    [entry] = obj["metadata"]["managedFields"]
    assert entry == {
        "manager": "a",
        "operation": "Apply",
        "apiVersion": "apps/v1",
        "time": T1,
        "fieldsType": "FieldsV1",
        "fieldsV1": {"f:metadata": {"f:labels": {"f:x": {}}}, "f:spec": {"f:replicas": {}}},
    }


def test_applying_the_same_twice_changes_nothing():
    once = apply(None, config({"replicas": 1, **pods({"name": "c", "image": "i"})}))
    assert apply(once, config({"replicas": 1, **pods({"name": "c", "image": "i"})}), at=T2) == once


def test_a_field_no_longer_applied_is_removed_unless_another_owns_it():
    obj = apply(None, config({"replicas": 1}, labels={"x": "1", "y": "1"}))
    obj = apply(obj, config(None, labels={"y": "1"}), "b")
    obj = apply(obj, config({"replicas": 1}), at=T2)
    assert obj["metadata"]["labels"] == {"y": "1"}
    obj = apply(obj, config(None), "b", at=T3)
    assert "labels" not in obj["metadata"]
    assert owners(obj) == {"a": {"f:spec": {"f:replicas": {}}}}


def test_changing_anothers_field_is_a_conflict_in_kubernetes_words():
    obj = apply(None, config({"replicas": 1, "paused": True}))
    with pytest.raises(ApplyConflict) as caught:
        apply(obj, config({"replicas": 2}), "b")
    assert str(caught.value) == 'Apply failed with 1 conflict: conflict with "a": .spec.replicas'
    assert caught.value.causes == [
        {"reason": "FieldManagerConflict", "message": 'conflict with "a"', "field": ".spec.replicas"}
    ]
    obj = update(obj, {**obj, "spec": {"replicas": 3, "paused": True}}, "kubectl-edit")
    with pytest.raises(ApplyConflict) as caught:
        apply(obj, config({"replicas": 2, "paused": False}), "b")
    assert str(caught.value) == (
        'Apply failed with 2 conflicts: conflicts with "a":\n- .spec.paused\n'
        'conflicts with "kubectl-edit" using apps/v1:\n- .spec.replicas'
    )


def test_force_takes_the_field_over():
    obj = apply(None, config({"replicas": 1, "paused": True}))
    obj = apply(obj, config({"replicas": 2}), "b", force=True)
    assert obj["spec"] == {"replicas": 2, "paused": True}
    assert owners(obj) == {"a": {"f:spec": {"f:paused": {}}}, "b": {"f:spec": {"f:replicas": {}}}}


def test_applying_the_same_value_shares_the_field():
    obj = apply(apply(None, config({"replicas": 1})), config({"replicas": 1}), "b")
    assert set(owners(obj)) == {"a", "b"}
    assert apply(obj, config({}), "b", at=T2)["spec"] == {"replicas": 1}


def test_keyed_lists_merge_and_give_back_items():
    obj = apply(None, config(pods({"name": "c", "image": "1"}, {"name": "d", "image": "1"})))
    sidecar = {"name": "side", "image": "s", "ports": [{"containerPort": 80}]}
    obj = apply(obj, config(pods(sidecar)), "b")
    assert [one["name"] for one in containers(obj)] == ["c", "d", "side"]
    assert 'k:{"containerPort":80,"protocol":"TCP"}' in json.dumps(owners(obj)["b"]).replace("\\", "")
    obj = apply(obj, config(pods({"name": "c", "image": "2"})), at=T2)
    assert [(one["name"], one["image"]) for one in containers(obj)] == [("c", "2"), ("side", "s")]


def test_an_update_takes_what_it_changes_and_an_applier_loses_it():
    obj = apply(None, config({"replicas": 1, "paused": True}))
    changed = update(obj, {**obj, "spec": {"replicas": 5, "paused": True}})
    assert owners(changed) == {"a": {"f:spec": {"f:paused": {}}}, "u": {"f:spec": {"f:replicas": {}}}}
    removed = update(changed, {**changed, "spec": {"replicas": 5}}, at=T3)
    assert owners(removed) == {"u": {"f:spec": {"f:replicas": {}}}}


def test_an_update_without_change_keeps_managers_and_times():
    obj = apply(None, config({"replicas": 1}))
    assert update(obj, obj, at=T3)["metadata"]["managedFields"] == obj["metadata"]["managedFields"]


def test_bookkeeping_is_never_owned():
    obj = config({"replicas": 1}, uid="u", resourceVersion="1", generation=2, creationTimestamp=T1)
    assert owners(update(None, obj)) == {"u": {"f:spec": {".": {}, "f:replicas": {}}}}


def test_a_status_apply_touches_only_the_status():
    obj = apply(None, config({"replicas": 1}))
    applied = {**config({"replicas": 9}), "status": {"replicas": 1}}
    obj = apply(obj, applied, "c", subresource="status")
    assert obj["spec"] == {"replicas": 1} and obj["status"] == {"replicas": 1}
    entry = next(one for one in obj["metadata"]["managedFields"] if one["manager"] == "c")
    assert entry["subresource"] == "status" and entry["fieldsV1"] == {"f:status": {"f:replicas": {}}}


def test_the_same_name_on_a_subresource_is_another_manager():
    obj = update(None, config({"replicas": 1}), "m")
    obj = update(obj, {**obj, "status": {"replicas": 1}}, "m", subresource="status")
    assert [(one["manager"], one.get("subresource", "")) for one in obj["metadata"]["managedFields"]] == [
        ("m", ""),
        ("m", "status"),
    ]


def test_a_client_may_clear_or_send_managed_fields():
    obj = apply(None, config({"replicas": 1}))
    cleared = {**obj, "metadata": {**obj["metadata"], "managedFields": [{}]}}
    assert update(obj, cleared)["metadata"]["managedFields"] == []
    emptied = {**obj, "metadata": {**obj["metadata"], "managedFields": []}}
    assert owners(update(obj, emptied)) == owners(obj)
    renamed = copy.deepcopy(obj)
    renamed["metadata"]["managedFields"][0]["manager"] = "z"
    assert set(owners(update(obj, renamed))) == {"z"}
    broken = {**obj, "metadata": {**obj["metadata"], "managedFields": ["x", {"manager": 1}]}}
    assert owners(update(obj, broken)) == owners(obj)


def test_kubectl_takes_over_from_client_side_apply_without_force():
    was = config({"replicas": 1, "paused": True})
    note = {managed.LAST_APPLIED: json.dumps(was)}
    live = update(
        None, config({"replicas": 1, "paused": True}, annotations=note), "kubectl-client-side-apply"
    )
    moved = apply(live, config({"replicas": 2, "paused": True}), "kubectl", at=T3)
    assert moved["spec"]["replicas"] == 2
    assert json.loads(moved["metadata"]["annotations"][managed.LAST_APPLIED])["spec"]["replicas"] == 2
    with pytest.raises(ApplyConflict):
        apply(live, config({"replicas": 2}), "helm")


@pytest.mark.parametrize(
    ("applied", "message"),
    [
        (config({}, managedFields=[{"manager": "x"}]), "managedFields must be nil"),
        (config(pods({"image": "x"})), "omits all key fields 'name'"),
        (config(pods({"name": "a"}, {"name": "a"})), "duplicate entries"),
    ],
)
def test_what_cannot_be_applied_says_why(applied, message):
    live = apply(None, config(pods({"name": "a"})))
    with pytest.raises(ApplyError, match=message) as caught:
        apply(live, applied)
    assert caught.value.code == 400


def test_old_updaters_are_joined():
    obj = update(None, config({"replicas": 0}), "m0", at="2026-01-01T00:00:00Z")
    for number in range(1, 15):
        labels = {**obj["metadata"].get("labels", {}), f"l{number}": "x"}
        new = {**obj, "metadata": {**obj["metadata"], "labels": labels}}
        obj = update(obj, new, f"m{number}", at=f"2026-01-01T00:00:{number:02}Z")
    managers = [entry["manager"] for entry in obj["metadata"]["managedFields"]]
    assert len(managers) == 10 and managers[0] == "ancient-changes" and managers[-1] == "m14"


def test_a_custom_resource_without_a_schema_is_merged_by_key():
    obj = apply(None, config({"a": {"b": 1, "l": [1]}}), schema=None)
    obj = apply(obj, config({"a": {"c": 2}}), "b", schema=None)
    assert obj["spec"] == {"a": {"b": 1, "l": [1], "c": 2}}
    assert apply(obj, config({}), schema=None)["spec"] == {"a": {"c": 2}}


NAMES = st.lists(st.sampled_from("abcd"), unique=True, min_size=1, max_size=4)
CONFIGS = st.builds(
    lambda names, image, replicas, labels: config(
        pods(*({"name": name, "image": image} for name in names))
        | ({"replicas": replicas} if replicas else {}),
        labels=dict.fromkeys(labels, "1"),
    ),
    NAMES,
    st.sampled_from("xy"),
    st.integers(0, 2),
    NAMES,
)


@given(CONFIGS, CONFIGS, CONFIGS)
def test_any_apply_is_idempotent_and_contains_what_was_applied(first, second, third):
    live = apply(apply(None, first, "a"), second, "b", force=True)
    once = apply(live, third, "a", force=True, at=T2)
    assert apply(once, third, "a", at=T3) == once
    wanted = {one["name"]: one for one in containers(third)}
    found = {one["name"]: one for one in containers(once)}
    assert all(found[name] == one for name, one in wanted.items())
    assert {one["name"] for one in containers(second)} | set(wanted) == set(found)


@given(CONFIGS, CONFIGS)
def test_after_an_update_every_field_has_one_updater(first, second):
    live = update(None, first, "m")
    after = update(live, second, "n")
    shared = [owners(after).get("m", {}), owners(after).get("n", {})]
    assert not managed.fieldset.intersection(*shared)
