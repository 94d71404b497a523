"""Label and field selectors: what they match and what they refuse, as Kubernetes does."""

import contextlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from standalone.apiserver import selectors
from standalone.apiserver.selectors import SelectorError

MATCHES = [
    ("", {}, True),
    ("a=b", {"a": "b"}, True),
    ("a==b", {"a": "b"}, True),
    ("a = b , c", {"a": "b", "c": ""}, True),
    ("a=b", {"a": "c"}, False),
    ("a=", {"a": ""}, True),
    ("a=,b=1", {"a": "", "b": "1"}, True),
    ("a=", {}, False),
    ("a!=b", {}, True),
    ("a!=b", {"a": "b"}, False),
    ("a", {"a": "x"}, True),
    ("a", {}, False),
    ("!a", {}, True),
    ("!a", {"a": ""}, False),
    ("! a", {}, True),
    ("a in (b,c)", {"a": "c"}, True),
    ("a in (b, c)", {}, False),
    ("a in (b,)", {"a": ""}, True),
    ("a notin (b,c)", {}, True),
    ("a notin (b,c)", {"a": "b"}, False),
    ("a>5", {"a": "6"}, True),
    ("a>5", {"a": "5"}, False),
    ("a<5", {"a": "-1"}, True),
    ("a<5", {"a": "x"}, False),
    ("a<5", {}, False),
    ("serving.kserve.io/inferenceservice=iris", {"serving.kserve.io/inferenceservice": "iris"}, True),
    ("a=b,c notin (d),!e", {"a": "b", "c": "x"}, True),
]


@pytest.mark.parametrize(("text", "labels", "expected"), MATCHES)
def test_a_label_selector_matches_as_kubernetes_does(text, labels, expected):
    assert selectors.parse_labels(text)(labels) is expected


@pytest.mark.parametrize(
    "text",
    [
        "a=b,",
        ",",
        "=b",
        "a in",
        "a in b",
        "a in (b",
        "a in (b c)",
        "a b",
        "a=b c",
        "a>x",
        "a!b",
        "-a=b",
        "a=-b",
        "a=" + "x" * 64,
        "x" * 64 + "=a",
        "UPPER.com/a=b",
        "/a=b",
        "a/b/c=d",
        "a==b==c",
        "!",
        "a()",
        "(",
        "a=" + "\x00",
    ],
)
def test_a_broken_label_selector_is_refused_with_a_sentence(text):
    with pytest.raises(SelectorError) as caught:
        selectors.parse_labels(text)
    assert caught.value.message.startswith(("unable to parse requirement", "found '"))


@given(st.text(max_size=40))
def test_any_text_is_parsed_or_refused(text):
    with contextlib.suppress(SelectorError):
        selectors.parse_labels(text)({"a": "b"})
    with contextlib.suppress(SelectorError):
        selectors.parse_fields(text)({"a": "b"})


POD = {"metadata": {"name": "p,1", "namespace": "n"}, "spec": {"nodeName": "w", "hostNetwork": True}}


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("", True),
        ("metadata.namespace=n", True),
        ("metadata.namespace==n,spec.nodeName=w", True),
        ("metadata.namespace!=n", False),
        (r"metadata.name=p\,1", True),
        ("spec.hostNetwork=true", True),
        ("status.phase=", True),
        ("status.phase!=Running", True),
        ("metadata.name!=x,metadata.namespace=n", True),
    ],
)
def test_a_field_selector_compares_text(text, expected):
    assert selectors.parse_fields(text)(POD) is expected


def test_an_event_is_selected_by_its_source_component():
    event = {"source": {"component": "node"}}
    assert selectors.parse_fields("source=node")(event)
    assert not selectors.parse_fields("source=x")(event)


@pytest.mark.parametrize("text", ["a", r"a=\x", "a=b=c", "a=b\\"])
def test_a_broken_field_selector_is_refused(text):
    with pytest.raises(SelectorError):
        selectors.parse_fields(text)


def test_an_unsupported_field_is_refused_by_name():
    supported = selectors.supported_fields("", "Pod")
    selectors.parse_fields("status.phase=Running", supported)
    with pytest.raises(SelectorError, match=r"field label not supported: spec\.foo"):
        selectors.parse_fields("spec.foo=1", supported)


def test_a_custom_resource_adds_its_selectable_fields():
    assert ".spec.color".removeprefix(".") in selectors.supported_fields("x.io", "Shirt", [".spec.color"])
    assert selectors.supported_fields("x.io", "Shirt") == {"metadata.name", "metadata.namespace"}
