"""Structural schemas: messages as the API server words them, defaults, pruning, and the rules for CRDs."""

import copy

import pytest
from hypothesis import given
from hypothesis import strategies as st

from standalone.apiserver.schema import checks_crd, structural


def spec(**properties):
    return {"type": "object", "properties": {"spec": {"type": "object", "properties": properties}}}


def errors_of(schema, value):
    return [
        (error.path, error.reason, error.message)
        for error in structural.validate(spec(x=schema), {"spec": {"x": value}})
    ]


BODY = "spec.x in body"
INVALID = [
    ({"type": "integer"}, "a", "FieldValueTypeInvalid", f'Invalid value: "string": {BODY} must be of type integer: "string"'),
    ({"type": "integer"}, True, "FieldValueTypeInvalid", f'Invalid value: "boolean": {BODY} must be of type integer: "boolean"'),
    ({"type": "integer"}, 1.5, "FieldValueTypeInvalid", f'Invalid value: "number": {BODY} must be of type integer: "number"'),
    ({"type": "string"}, None, "FieldValueTypeInvalid", f'Invalid value: "null": {BODY} must be of type string: "null"'),
    ({"type": "object"}, [], "FieldValueTypeInvalid", f'Invalid value: "array": {BODY} must be of type object: "array"'),
    ({"type": "string", "enum": ["a", "b"]}, "c", "FieldValueNotSupported", 'Unsupported value: "c": supported values: "a", "b"'),
    ({"type": "string", "pattern": "^a$"}, "a\n", "FieldValueInvalid", f'Invalid value: "a\\n": {BODY} should match \'^a$\''),
    ({"type": "integer", "minimum": 1}, 0, "FieldValueInvalid", f"Invalid value: 0: {BODY} should be greater than or equal to 1"),
    ({"type": "integer", "maximum": 1}, 2, "FieldValueInvalid", f"Invalid value: 2: {BODY} should be less than or equal to 1"),
    ({"type": "number", "minimum": 1, "exclusiveMinimum": True}, 1, "FieldValueInvalid", f"Invalid value: 1: {BODY} should be greater than 1"),
    ({"type": "integer", "multipleOf": 5}, 6, "FieldValueInvalid", f"Invalid value: 6: {BODY} should be a multiple of 5"),
    ({"type": "string", "minLength": 2}, "a", "FieldValueInvalid", f'Invalid value: "a": {BODY} should be at least 2 chars long'),
    ({"type": "string", "maxLength": 2}, "abc", "FieldValueTooLong", "Too long: may not be more than 2 bytes"),
    ({"type": "array", "items": {"type": "integer"}, "maxItems": 1}, [1, 2], "FieldValueTooMany", "Too many: 2: must have at most 1 items"),
    ({"type": "array", "items": {"type": "integer"}, "minItems": 1}, [], "FieldValueInvalid", f"Invalid value: 0: {BODY} should have at least 1 items"),
    ({"type": "string", "format": "date-time"}, "x", "FieldValueTypeInvalid", f'Invalid value: "x": {BODY} must be of type date-time: "x"'),
]  # fmt: skip


@pytest.mark.parametrize(("schema", "value", "reason", "message"), INVALID)
def test_a_wrong_value_is_refused_in_kubernetes_words(schema, value, reason, message):
    assert errors_of(schema, value) == [("spec.x", reason, message)]


VALID = [
    ({"type": "integer"}, 3),
    ({"type": "integer"}, 3.0),
    ({"type": "number"}, 3),
    ({"type": "string", "nullable": True}, None),
    ({"x-kubernetes-int-or-string": True, "anyOf": [{"type": "integer"}, {"type": "string"}]}, "50%"),
    ({"x-kubernetes-preserve-unknown-fields": True}, [1, {"a": None}]),
    ({"type": "string", "pattern": "b"}, "abc"),
    ({"type": "string", "pattern": "^[[:alpha:]]+$"}, "abc"),
    ({"type": "integer", "enum": [1]}, 1),
    ({"type": "string", "format": "unheard-of"}, "x"),
]


@pytest.mark.parametrize(("schema", "value"), VALID)
def test_a_right_value_passes(schema, value):
    assert errors_of(schema, value) == []


def test_required_fields_and_items_are_named_by_path():
    schema = spec(l={"type": "array", "items": {"type": "object", "required": ["name"], "properties": {}}})
    [error] = structural.validate(schema, {"spec": {"l": [{"name": 1}, {}]}})
    assert (error.path, error.reason, error.message) == (
        "spec.l[1].name",
        "FieldValueRequired",
        "Required value",
    )


def test_keyed_lists_refuse_duplicates():
    item = {
        "type": "object",
        "properties": {"name": {"type": "string"}, "p": {"type": "string", "default": "TCP"}},
    }
    keyed = {
        "type": "array",
        "x-kubernetes-list-type": "map",
        "x-kubernetes-list-map-keys": ["name", "p"],
        "items": item,
    }
    assert errors_of(keyed, [{"name": "a"}, {"name": "a", "p": "UDP"}]) == []
    found = errors_of(keyed, [{"name": "a"}, {"name": "a", "p": "TCP"}])
    assert found == [("spec.x[1]", "FieldValueDuplicate", 'Duplicate value: {"name":"a","p":"TCP"}')]
    values = {"type": "array", "x-kubernetes-list-type": "set", "items": {"type": "string"}}
    assert errors_of(values, ["a", "a"]) == [("spec.x[1]", "FieldValueDuplicate", 'Duplicate value: "a"')]


@pytest.mark.parametrize(
    ("junctor", "good", "bad", "words"),
    [
        ({"anyOf": [{"required": ["a"]}, {"required": ["b"]}]}, {"a": 1}, {}, "at least one schema (anyOf)"),
        ({"oneOf": [{"required": ["a"]}, {"required": ["b"]}]}, {"a": 1}, {"a": 1, "b": 1}, "Found 2 valid"),
        ({"allOf": [{"required": ["a"]}, {"required": ["b"]}]}, {"a": 1, "b": 1}, {"a": 1}, "(allOf)"),
        ({"not": {"required": ["a"]}}, {}, {"a": 1}, "must not validate the schema (not)"),
    ],
)
def test_junctors(junctor, good, bad, words):
    schema = {"type": "object", "x-kubernetes-preserve-unknown-fields": True, **junctor}
    assert errors_of(schema, good) == []
    assert words in errors_of(schema, bad)[0][2]


def test_metadata_is_checked_whatever_the_schema_says():
    [error] = structural.validate({"type": "object"}, {"metadata": {"labels": {"a": 1}}})
    assert error.path == "metadata.labels.a"
    assert structural.prune({"type": "object"}, {"metadata": {"foo": 1, "name": "a"}}) == ["metadata.foo"]


def test_errors_are_bounded():
    schema = spec(x={"type": "array", "items": {"type": "string"}})
    assert len(structural.validate(schema, {"spec": {"x": [1] * 10_000}})) == structural.MAX_ERRORS


CONTAINER = {
    "type": "object",
    "properties": {"name": {"type": "string"}, "protocol": {"type": "string", "default": "TCP"}},
}
RICH = spec(
    containers={"type": "array", "items": CONTAINER},
    free={"type": "object", "x-kubernetes-preserve-unknown-fields": True, "properties": {"c": CONTAINER}},
    labels={"type": "object", "additionalProperties": CONTAINER},
    mode={"type": "string", "default": "auto"},
    limits={"type": "object", "default": {"cpu": "1"}, "properties": {"cpu": {"type": "string"}, "m": {"default": 1, "type": "integer"}}},
    maybe={"type": "string", "nullable": True, "default": "x"},
    template={"type": "object", "x-kubernetes-embedded-resource": True, "properties": {"spec": {"type": "object"}}},
)  # fmt: skip


def test_unknown_fields_are_pruned_and_named():
    value = {
        "apiVersion": "a/v1",
        "kind": "K",
        "metadata": {"name": "n"},
        "foo": 1,
        "spec": {
            "bar": {"deep": 1},
            "containers": [{"name": "a", "imag": "x"}],
            "free": {"anything": {"goes": 1}, "c": {"no": 1}},
            "labels": {"k": {"name": "x", "z": 1}},
            "template": {
                "apiVersion": "v1",
                "kind": "Pod",
                "metadata": {"name": "p", "q": 1},
                "spec": {"a": 1},
            },
        },
    }
    removed = structural.prune(RICH, value)
    assert sorted(removed) == [
        "foo", "spec.bar", "spec.containers[0].imag", "spec.free.c.no", "spec.labels.k.z",
        "spec.template.metadata.q", "spec.template.spec.a",
    ]  # fmt: skip
    assert value["spec"]["free"] == {"anything": {"goes": 1}, "c": {}}
    assert value["metadata"] == {"name": "n"}
    assert structural.prune(RICH, value) == []


def test_defaults_fill_what_is_absent_or_null():
    value = {"spec": {"containers": [{}], "mode": None, "maybe": None, "labels": {"a": {}, "b": None}}}
    structural.apply_defaults(RICH, value)
    assert value["spec"] == {
        "containers": [{"protocol": "TCP"}],
        "mode": "auto",
        "limits": {"cpu": "1", "m": 1},
        "maybe": None,
        "labels": {"a": {"protocol": "TCP"}},
    }


def test_defaults_are_not_shared_between_objects():
    one, two = {"spec": {}}, {"spec": {}}
    structural.apply_defaults(RICH, one)
    one["spec"]["limits"]["cpu"] = "9"
    structural.apply_defaults(RICH, two)
    assert two["spec"]["limits"]["cpu"] == "1"


KEYS = st.sampled_from(
    ["spec", "containers", "name", "free", "c", "labels", "mode", "limits", "metadata", "template", "z"]
)
VALUE = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=3),
    lambda x: st.lists(x, max_size=3) | st.dictionaries(KEYS, x, max_size=4),
    max_leaves=12,
)


@given(st.dictionaries(KEYS, VALUE))
def test_pruning_and_defaulting_are_idempotent_and_validation_changes_nothing(value):
    structural.prune(RICH, value)
    assert structural.prune(RICH, value) == []
    structural.apply_defaults(RICH, value)
    once = copy.deepcopy(value)
    structural.apply_defaults(RICH, value)
    structural.validate(RICH, value)
    assert value == once


NOT_STRUCTURAL = [
    ({"type": "string"}, "type"),
    ({"type": "object", "properties": {"a": {}}}, "properties[a].type"),
    ({"type": "object", "properties": {"a": {"type": "array"}}}, "properties[a].items"),
    ({"type": "object", "properties": {"a": {"type": "strin"}}}, "properties[a].type"),
    ({"type": "object", "$ref": "#/x"}, "$ref"),
    ({"type": "object", "properties": {"a": {"type": "string"}}, "additionalProperties": {"type": "string"}}, "additionalProperties"),
    ({"type": "object", "properties": {"a": {"type": "string", "pattern": "("}}}, "properties[a].pattern"),
    ({"type": "object", "properties": {"a": {"type": "string", "default": 1}}}, "properties[a].default"),
    ({"type": "object", "properties": {"a": {"type": "array", "items": {"type": "object"}, "x-kubernetes-list-type": "map"}}}, "properties[a].x-kubernetes-list-map-keys"),
    ({"type": "object", "properties": {"a": {"type": "array", "uniqueItems": True, "items": {"type": "string"}}}}, "properties[a].uniqueItems"),
    ({"type": "object", "anyOf": [{"type": "object"}]}, "anyOf[0].type"),
    ({"type": "object", "properties": {"a": {"type": "object", "x-kubernetes-embedded-resource": True}}}, "properties[a].properties"),
    ({"type": "object", "x-kubernetes-preserve-unknown-fields": False}, "x-kubernetes-preserve-unknown-fields"),
]  # fmt: skip


@pytest.mark.parametrize(("schema", "path"), NOT_STRUCTURAL)
def test_a_schema_that_is_not_structural_is_refused_by_path(schema, path):
    assert [error.path for error in checks_crd.check_structural(schema, "s")] == [f"s.{path}"]


def test_a_structural_schema_passes_its_check():
    assert checks_crd.check_structural(RICH) == []


@pytest.mark.parametrize(
    "schema", [None, [], "x", {"type": "object", "properties": []}, {"type": "object", "required": "a"}]
)
def test_what_is_no_schema_is_refused(schema):
    assert checks_crd.check_structural(schema)
