"""JSONPath as printer columns and kubectl use it."""

import contextlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from standalone.apiserver import jsonpath
from standalone.apiserver.jsonpath import JsonPathError

OBJ = {
    "spec": {"replicas": 3, "a.b": 1, "ports": [{"n": "x", "p": 1}, {"n": "y", "p": 2}, {"n": "z", "p": 3}]},
    "status": {"conditions": [{"type": "Ready", "status": "True"}, {"type": "Other", "status": "False"}]},
    "metadata": {"annotations": {"serving.kserve.io/mode": "s"}, "labels": {}},
}


@pytest.mark.parametrize(
    ("path", "expected"),
    [
        (".spec.replicas", [3]),
        ("spec.replicas", [3]),
        ("{.spec.replicas}", [3]),
        ("$.spec.replicas", [3]),
        (".spec.nothing.there", []),
        (r".spec.a\.b", [1]),
        (".spec['a.b']", [1]),
        ('.spec["a.b"]', [1]),
        (r".metadata.annotations.serving\.kserve\.io/mode", ["s"]),
        (".metadata.annotations['serving.kserve.io/mode']", ["s"]),
        (".spec.ports[0].n", ["x"]),
        (".spec.ports[-1].n", ["z"]),
        (".spec.ports[9].n", []),
        (".spec.ports[1:].n", ["y", "z"]),
        (".spec.ports[0:2].n", ["x", "y"]),
        (".spec.ports[::2].n", ["x", "z"]),
        (".spec.ports[*].p", [1, 2, 3]),
        (".spec.ports.*.p", [1, 2, 3]),
        (".status.conditions[?(@.type=='Ready')].status", ["True"]),
        ('.status.conditions[?(@.type == "Ready")].status', ["True"]),
        (".status.conditions[?(@.type!='Ready')].status", ["False"]),
        (".spec.ports[?(@.p>1)].n", ["y", "z"]),
        (".spec.ports[?(@.p<='x')].n", []),
        (".spec.ports[?(@.q)].n", []),
        (".spec.ports[?(@.p)]['n','p']", ["x", 1, "y", 2, "z", 3]),
        ("..status", [OBJ["status"], "True", "False"]),
        (".", [OBJ]),
    ],
)
def test_a_path_finds(path, expected):
    assert jsonpath.compiled(path)(OBJ) == expected


@pytest.mark.parametrize("path", [".a[", ".a[x]", ".a[?(@.b==c)]", ".a[::0]", ".a]b", "..a.}", ".a" * 3000])
def test_a_broken_path_is_refused(path):
    with pytest.raises(JsonPathError):
        jsonpath.compiled(path)


@given(st.text(alphabet=".[]*?(@)'\"ab=<>!:0-\\{}$", max_size=20))
def test_any_text_is_compiled_or_refused_and_evaluation_never_fails(text):
    with contextlib.suppress(JsonPathError):
        jsonpath.compiled(text)(OBJ)


def test_first_is_none_when_nothing_is_there():
    assert jsonpath.first(".x", OBJ) is None
    assert jsonpath.first(".spec.replicas", OBJ) == 3
