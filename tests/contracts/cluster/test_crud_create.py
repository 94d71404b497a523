"""create: what is stored, what is refused, and how."""

from __future__ import annotations

import re

import pytest
from cluster_api import Answer, Api
from cluster_objects import config_map, deployment


def test_created_object_has_what_the_server_owns(api: Api, namespace: str, configmaps: str) -> None:
    answer = api.post(configmaps, config_map("a", text="1"), fieldManager="me")
    assert answer.status == 201
    found = answer.body
    metadata = found["metadata"]
    assert (found["kind"], found["apiVersion"], found["data"]) == ("ConfigMap", "v1", {"text": "1"})
    assert (metadata["name"], metadata["namespace"]) == ("a", namespace)
    assert re.fullmatch(r"[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}", metadata["uid"])
    assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ", metadata["creationTimestamp"])
    assert int(metadata["resourceVersion"]) > 0
    entry = metadata["managedFields"][0]
    assert (entry["manager"], entry["operation"], entry["fieldsType"]) == ("me", "Update", "FieldsV1")
    assert entry["fieldsV1"] == {"f:data": {".": {}, "f:text": {}}}
    assert api.get(f"{configmaps}/a").body == found


def test_what_a_client_may_not_set_is_replaced(api: Api, configmaps: str) -> None:
    body = config_map("a")
    wrong = {"uid": "11111111-1111-1111-1111-111111111111", "creationTimestamp": "2001-01-01T00:00:00Z"}
    body["metadata"].update(wrong, deletionTimestamp="2001-01-01T00:00:00Z", generation=7)
    metadata = api.post(configmaps, body).ok()["metadata"]
    assert metadata["uid"] != wrong["uid"]
    assert metadata["creationTimestamp"] != wrong["creationTimestamp"]
    assert "deletionTimestamp" not in metadata


def test_second_create_is_already_exists(api: Api, configmaps: str) -> None:
    api.post(configmaps, config_map("a")).ok()
    answer = api.post(configmaps, config_map("a")).fails(409, "AlreadyExists")
    assert answer.message == 'configmaps "a" already exists'
    assert answer.body["details"] == {"name": "a", "kind": "configmaps"}


def test_group_is_in_message_and_details(api: Api, namespace: str) -> None:
    path = f"/apis/apps/v1/namespaces/{namespace}/deployments"
    api.post(path, deployment("a")).ok()
    answer = api.post(path, deployment("a")).fails(409, "AlreadyExists")
    assert answer.message == 'deployments.apps "a" already exists'
    assert answer.body["details"] == {"name": "a", "group": "apps", "kind": "deployments"}


def test_namespace_must_exist(api: Api) -> None:
    answer = api.post("/api/v1/namespaces/no-such-place/configmaps", config_map("a")).fails(404, "NotFound")
    assert answer.message == 'namespaces "no-such-place" not found'


def test_generate_name_adds_five_characters(api: Api, configmaps: str) -> None:
    body = {"metadata": {"generateName": "job-"}}
    names = [api.post(configmaps, body).ok()["metadata"]["name"] for _ in range(3)]
    assert len(set(names)) == 3
    assert all(re.fullmatch(r"job-[bcdfghjklmnpqrstvwxz2456789]{5}", name) for name in names)


def test_name_wins_over_generate_name(api: Api, configmaps: str) -> None:
    found = api.post(configmaps, {"metadata": {"name": "given", "generateName": "x-"}}).ok()
    assert found["metadata"]["name"] == "given"


def test_long_generate_name_is_cut_to_63(api: Api, configmaps: str) -> None:
    found = api.post(configmaps, {"metadata": {"generateName": "x" * 80}}).ok()
    assert len(found["metadata"]["name"]) == 63


def test_a_name_is_required(api: Api, configmaps: str) -> None:
    answer = api.post(configmaps, {"data": {}}).fails(422, "Invalid")
    assert answer.causes() == {"metadata.name": "FieldValueRequired"}


@pytest.mark.parametrize("name", ["Upper", "a_b", "-a", "a-", "a..b", "x" * 254, "a/b", "ä", " "])
def test_malformed_name_is_invalid(api: Api, configmaps: str, name: str) -> None:
    answer = api.post(configmaps, config_map(name)).fails(422, "Invalid")
    assert answer.causes() == {"metadata.name": "FieldValueInvalid"}


@pytest.mark.parametrize(
    ("part", "value", "field"),
    [
        ("labels", {"-bad": "x"}, "metadata.labels"),
        ("labels", {"a": "has space"}, "metadata.labels"),
        ("labels", {"a": "x" * 64}, "metadata.labels"),
        ("labels", {"Not.A.Domain/a": "x"}, "metadata.labels"),
        ("annotations", {"a b": "x"}, "metadata.annotations"),
        ("annotations", {"a": "x" * 263_000}, "metadata.annotations"),
        ("finalizers", ["no good"], "metadata.finalizers"),
    ],
)
def test_malformed_metadata_is_invalid(
    api: Api, configmaps: str, part: str, value: object, field: str
) -> None:
    body = config_map("a")
    body["metadata"][part] = value
    found = api.post(configmaps, body).fails(422, "Invalid").causes()
    assert all(name.startswith(field) for name in found)
    assert found


def test_two_controlling_owners_are_invalid(api: Api, configmaps: str) -> None:
    body = config_map("a")
    body["metadata"]["ownerReferences"] = [
        {"apiVersion": "v1", "kind": "ConfigMap", "name": name, "uid": name, "controller": True}
        for name in "bc"
    ]
    answer = api.post(configmaps, body).fails(422, "Invalid")
    assert list(answer.causes()) == ["metadata.ownerReferences"]


def test_namespace_of_body_and_path_must_agree(api: Api, configmaps: str) -> None:
    body = config_map("a")
    body["metadata"]["namespace"] = "elsewhere"
    answer = api.post(configmaps, body).fails(400, "BadRequest")
    assert "the namespace of the provided object does not match" in answer.message


@pytest.mark.parametrize(("key", "value"), [("kind", "Secret"), ("apiVersion", "v2"), ("kind", "configmap")])
def test_kind_and_version_of_the_body_must_fit_the_path(
    api: Api, configmaps: str, key: str, value: str
) -> None:
    api.post(configmaps, {**config_map("a"), key: value}).fails(400, "BadRequest")


def test_resource_version_may_not_be_given(api: Api, configmaps: str) -> None:
    body = config_map("a")
    body["metadata"]["resourceVersion"] = "1"
    answer = api.post(configmaps, body)
    assert answer.status in (400, 500)  # Kubernetes answers 500 without a reason
    assert "resourceVersion should not be set on objects to be created" in answer.message


@pytest.mark.parametrize("body", [b"", b"{", b"[]", b'"text"', b"\xff\xfe", b"12"])
def test_malformed_body_is_a_bad_request(api: Api, configmaps: str, body: bytes) -> None:
    api.post(configmaps, body).fails(400, "BadRequest")


@pytest.mark.parametrize("metadata", ["text", [], 5])
def test_malformed_metadata_is_a_bad_request(api: Api, configmaps: str, metadata: object) -> None:
    api.post(configmaps, {"metadata": metadata}).fails(400, "BadRequest")


def test_unknown_media_type_is_refused(api: Api, configmaps: str) -> None:
    api.post(configmaps, config_map("a"), media="text/plain").fails(415, "UnsupportedMediaType")


def test_yaml_is_taken(api: Api, configmaps: str) -> None:
    text = b"apiVersion: v1\nkind: ConfigMap\nmetadata:\n  name: a\ndata:\n  text: 'yes'\n"
    assert api.post(configmaps, text, media="application/yaml").ok()["data"] == {"text": "yes"}


def test_body_over_the_limit_is_too_large(api: Api, configmaps: str) -> None:
    answer = api.post(configmaps, config_map("a", text="x" * 3_200_000))
    answer.fails(413, "RequestEntityTooLarge")
    assert "limit is 3145728" in answer.message


def test_dry_run_answers_as_if_and_stores_nothing(api: Api, configmaps: str) -> None:
    answer = api.post(configmaps, config_map("a"), dryRun="All")
    assert answer.status == 201
    assert answer.body["metadata"]["uid"]
    api.get(f"{configmaps}/a").fails(404, "NotFound")
    api.post(configmaps, config_map("a")).ok()
    api.post(configmaps, config_map("a"), dryRun="All").fails(409, "AlreadyExists")
    api.post(configmaps, {"data": {}}, dryRun="All").fails(422, "Invalid")


def test_dry_run_has_one_value(api: Api, configmaps: str) -> None:
    answer = api.post(configmaps, config_map("a"), dryRun="Some").fails(422, "Invalid")
    assert answer.causes() == {"dryRun": "FieldValueNotSupported"}


def _misspelt(api: Api, configmaps: str, **query: str) -> Answer:
    return api.post(configmaps, {**config_map("a"), "dat": {"a": "b"}}, **query)


def test_strict_validation_refuses_unknown_fields(api: Api, configmaps: str) -> None:
    answer = _misspelt(api, configmaps, fieldValidation="Strict").fails(400, "BadRequest")
    assert 'strict decoding error: unknown field "dat"' in answer.message


def test_warn_validation_warns_and_drops(api: Api, configmaps: str) -> None:
    answer = _misspelt(api, configmaps, fieldValidation="Warn")
    assert "dat" not in answer.ok()
    assert answer.header("Warning") == '299 - "unknown field \\"dat\\""'


def test_warn_is_the_default(api: Api, configmaps: str) -> None:
    assert "unknown field" in _misspelt(api, configmaps).header("Warning")


def test_ignore_validation_is_silent(api: Api, configmaps: str) -> None:
    answer = _misspelt(api, configmaps, fieldValidation="Ignore")
    assert "dat" not in answer.ok()
    assert answer.header("Warning") == ""


def test_duplicate_fields_are_refused_when_strict(api: Api, configmaps: str) -> None:
    text = b'{"metadata":{"name":"a"},"data":{"x":"1","x":"2"}}'
    answer = api.post(configmaps, text, fieldValidation="Strict").fails(400, "BadRequest")
    assert 'duplicate field "data.x"' in answer.message
    answer = api.post(configmaps, text, fieldValidation="Warn")
    assert answer.ok()["data"] == {"x": "2"}
    assert 'duplicate field \\"data.x\\"' in answer.header("Warning")


def test_validation_mode_is_checked(api: Api, configmaps: str) -> None:
    _misspelt(api, configmaps, fieldValidation="Maybe").fails(422, "Invalid")


def test_field_manager_is_bounded(api: Api, configmaps: str) -> None:
    answer = api.post(configmaps, config_map("a"), fieldManager="m" * 129).fails(422, "Invalid")
    assert list(answer.causes()) == ["fieldManager"]
