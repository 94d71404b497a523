"""Reading an object into its types: what gives a 400 before anything else; quantities in their stored form."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from standalone.apiserver.schema import core, decoding, quantities, structural


def mistyped(obj, kind="Pod"):
    return decoding.mistyped(core.core_schema("", "v1", kind), obj)


@pytest.mark.parametrize(
    ("spec", "text"),
    [
        ({"containers": {"name": "a"}}, "spec.containers: must be a list, not an object"),
        ({"hostNetwork": "yes"}, 'spec.hostNetwork: must be true or false, not "yes" (string)'),
        ({"priority": "1"}, 'spec.priority: must be a whole number, not "1" (string)'),
        ({"priority": 1.5}, "spec.priority: must be a whole number, not 1.5 (number)"),
        ({"nodeSelector": {"a": 1}}, "spec.nodeSelector.a: must be text (put it in quotes), not 1 (integer)"),
        (
            {"overhead": {"cpu": "abc"}},
            'spec.overhead.cpu: must be a quantity such as 500m or 1Gi, not "abc"',
        ),
        ({"overhead": {"cpu": True}}, "spec.overhead.cpu: must be a quantity, not true (boolean)"),
        ({"containers": ["a"]}, 'spec.containers[0]: must be an object, not "a" (string)'),
    ],
)
def test_a_wrong_type_is_named_with_its_place(spec, text):
    assert mistyped({"spec": spec}) == [text]


@pytest.mark.parametrize("spec", [None, {"containers": None}, {"priority": 1.0}, {"overhead": {"cpu": 0.5}}])
def test_nulls_and_whole_floats_are_read(spec):
    assert mistyped({"spec": spec}) == []


def test_base64_and_times_are_read():
    assert mistyped({"data": {"a": "YQ=="}}, "Secret") == []
    [sentence] = mistyped({"data": {"a": "not base64!"}}, "Secret")
    assert sentence.startswith("data.a: must be base64 (in a Secret, plain text goes into stringData)")
    assert mistyped({"metadata": {"deletionTimestamp": "yesterday"}})


def test_of_custom_resources_only_metadata_is_read():
    schema = {"type": "object", "properties": {"spec": {"type": "object"}}}
    obj = {"metadata": {"labels": {"a": 1}}, "spec": 1}
    assert decoding.mistyped(schema, obj, metadata_only=True) == [
        "metadata.labels.a: must be text (put it in quotes), not 1 (integer)"
    ]


def test_a_wrong_type_is_not_taken_for_unknown_fields():
    obj = {"spec": {"containers": {"name": "a"}}}
    assert structural.prune(core.core_schema("", "v1", "Pod"), obj) == []


def test_the_number_of_sentences_is_bounded():
    assert len(mistyped({"spec": {"containers": ["a"] * 1000}})) == decoding.MAX_ERRORS


@pytest.mark.parametrize(
    ("given", "stored"),
    [
        ("0.5", "500m"), (0.5, "500m"), (2, "2"), ("1000m", "1"), ("1000", "1k"), ("1500", "1500"),
        ("1024Mi", "1Gi"), ("1.5Gi", "1536Mi"), ("1.5Ki", "1536"), ("512", "512"), ("0Gi", "0"), ("-1Gi", "-1Gi"),
        ("0.0005", "500u"), ("0.1n", "1n"), ("1e3", "1e3"), ("100e-3", "100e-3"), ("1E", "1E"), (".5", "500m"),
        ("100000Ei", "9223372036854775807"), ("abc", "abc"), ("", ""), (1000.0, "1k"),
    ],
)  # fmt: skip
def test_quantities_are_stored_as_kubernetes_does(given, stored):
    assert quantities.canonical(given) == stored


@given(st.from_regex(core.QUANTITY_PATTERN, fullmatch=True))
def test_a_canonical_quantity_stays(text):
    once = quantities.canonical(text)
    assert quantities.canonical(once) == once


@given(st.integers(0, 10**9), st.sampled_from(["n", "u", "m", "", "k", "Ki", "Mi"]))
def test_the_stored_form_is_the_same_number(amount, suffix):
    text = f"{amount}{suffix}"
    assert quantities.number(quantities.canonical(text)) == quantities.number(text)
