"""The algebra of field sets, and how paths are printed."""

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from standalone.apiserver.apply import fieldset

ELEMENTS = st.sampled_from(["f:a", "f:b", 'k:{"name":"x"}', 'v:"y"'])


def _sets(depth: int):
    if depth == 0:
        return st.just({})
    return st.dictionaries(ELEMENTS, _node(depth - 1), max_size=3)


def _node(depth: int):
    return st.builds(
        lambda kids, own: {".": {}, **kids} if own and kids else kids, _sets(depth), st.booleans()
    )


SETS = _sets(3)


def members(fields):
    return frozenset(fieldset.paths(fields))


@given(SETS, SETS)
def test_the_operations_are_those_of_sets_of_paths(a, b):
    before = json.dumps([a, b])
    assert members(fieldset.union(a, b)) == members(a) | members(b)
    assert members(fieldset.difference(a, b)) == members(a) - members(b)
    assert members(fieldset.intersection(a, b)) == members(a) & members(b)
    assert json.dumps([a, b]) == before


@given(SETS)
def test_a_set_is_stored_and_read_as_it_is(a):
    fieldset.check(a)
    assert json.loads(json.dumps(a)) == a
    assert fieldset.union(a, a) == a
    assert fieldset.difference(a, a) == {}
    assert fieldset.intersection(a, a) == a


def test_paths_are_printed_as_kubernetes_does():
    fields = {
        "f:spec": {
            "f:containers": {
                'k:{"name":"a"}': {".": {}, "f:image": {}},
                'k:{"containerPort":80,"protocol":"TCP"}': {},
            },
            "f:finalizers": {'v:"x/y"': {}},
        }
    }
    assert list(fieldset.paths(fields)) == [
        '.spec.containers[containerPort=80,protocol="TCP"]',
        '.spec.containers[name="a"]',
        '.spec.containers[name="a"].image',
        '.spec.finalizers[="x/y"]',
    ]


@pytest.mark.parametrize("junk", [None, [], {"a": {}}, {"f:a": 1}, {"k:x": {}}, {"k:[]": {}}, {"v:{": {}}])
def test_what_is_no_field_set_is_refused(junk):
    with pytest.raises(fieldset.FieldSetError):
        fieldset.check(junk)
