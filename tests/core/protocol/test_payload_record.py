"""Records of the payload logger: events with KServe's names, rows, keys that stay inside, nothing secret."""

from __future__ import annotations

import base64
import json

import pytest

from wakeful.core.protocol import cloudevents, payload_record
from wakeful.core.protocol.payload_record import REDACTED, Identity, Kind, Record

AT = "2026-11-21T12:00:00.000000Z"
IDENTITY = Identity(
    "http://pod-1/", "iris", "default", "predictor", "default", "iris-00001", {"team": "fruit"}
)
REQUEST = Record(
    Kind.REQUEST,
    "id-1",
    AT,
    "/v1/models/iris:predict",
    "application/json",
    b'{"instances":[[1]]}',
    body_bytes=19,
    metadata={"X-User": "ann"},
)
RESPONSE = Record(
    Kind.RESPONSE, "id-1", AT, REQUEST.path, "application/json", b'{"error":"no"}', {}, 500, 1.25, 14
)


def test_both_events_have_kserves_types_one_id_and_name_the_service() -> None:
    asked, answered = (payload_record.as_event(record, IDENTITY) for record in (REQUEST, RESPONSE))
    assert asked.type == "org.kubeflow.serving.inference.request"
    assert answered.type == "org.kubeflow.serving.inference.response"
    assert asked.id == answered.id == "id-1"
    headers, body = cloudevents.encode_binary(asked)
    read = cloudevents.decode(list(headers.items()), body)
    assert read.extensions["inferenceservicename"] == "iris"
    assert read.extensions["namespace"] == "default"
    assert read.extensions["component"] == "predictor"
    assert json.loads(str(read.extensions["metadata"])) == {"X-User": "ann"}
    assert json.loads(str(read.extensions["annotations"])) == {"team": "fruit"}
    assert read.data == b'{"instances":[[1]]}'


def test_an_error_is_a_record_with_its_status_and_time() -> None:
    event = payload_record.as_event(RESPONSE, IDENTITY)
    assert (event.extensions["statuscode"], event.extensions["durationms"]) == ("500", "1.250")
    assert "statuscode" not in payload_record.as_event(REQUEST, IDENTITY).extensions


def test_a_row_has_json_as_json_and_the_rest_as_base64() -> None:
    assert payload_record.as_row(REQUEST, IDENTITY)["payload"] == {"instances": [[1]]}
    raw = Record(Kind.REQUEST, "x", AT, "/", "application/octet-stream", b"\x00\x01", body_bytes=2)
    row = payload_record.as_row(raw, IDENTITY)
    assert (row["payload"], row["bytes"]) == (None, "AAE=")


@pytest.mark.parametrize(
    ("body", "names", "expected"),
    [
        ({"instances": [{"ssn": "1", "age": 2}]}, {"ssn"}, {"instances": [{"ssn": REDACTED, "age": 2}]}),
        (
            {"inputs": [{"name": "ssn", "shape": [1], "data": ["1"]}, {"name": "age", "data": [2]}]},
            {"ssn"},
            {"inputs": [{"name": "ssn", "shape": [1], "data": REDACTED}, {"name": "age", "data": [2]}]},
        ),
        ({"a": {"b": [[{"key": 1}]]}}, {"key"}, {"a": {"b": [[{"key": REDACTED}]]}}),
        ({"instances": [1, None, {"key": 1}]}, {"key"}, {"instances": [1, None, {"key": REDACTED}]}),
        ({"a": ["x", [2, {"key": 1}]]}, {"key"}, {"a": ["x", [2, {"key": REDACTED}]]}),
        ({"SSN": 1, "Ssn": [2], "sSn": {"a": 3}}, {"ssn"}, dict.fromkeys(("SSN", "Ssn", "sSn"), REDACTED)),
        ({"straße": 1, "STRASSE": 2}, {"Straße"}, {"straße": REDACTED, "STRASSE": REDACTED}),
        ({"name": "SSN", "data": ["1"]}, {"Ssn"}, {"name": "SSN", "data": REDACTED}),
        ({"name": ["ssn"], "data": [1]}, {"ssn"}, {"name": ["ssn"], "data": [1]}),
    ],
    ids=[
        "member",
        "tensor",
        "deep",
        "after a number",
        "after text",
        "case",
        "letters",
        "tensor's case",
        "no name",
    ],
)
def test_named_values_are_taken_out(body: object, names: set[str], expected: object) -> None:
    found = payload_record.redact(json.dumps(body).encode(), "application/json", payload_record.fold(names))
    assert json.loads(found) == expected


@pytest.mark.parametrize(
    "kind", ["application/cloudevents+json", "Application/CloudEvents-batch+json; charset=utf-8"]
)
def test_data_of_events_that_nobody_can_read_is_taken_out(kind: str) -> None:
    """What is base64 in an event may hold any name."""
    event = {"id": "1", "data_base64": base64.b64encode(b'{"ssn": 1}').decode()}
    body = json.dumps([event] if "batch" in kind else event).encode()
    shown = json.loads(payload_record.redact(body, kind, frozenset({"ssn"})))
    assert shown in ({"id": "1", "data_base64": REDACTED}, [{"id": "1", "data_base64": REDACTED}])
    assert payload_record.redact(body, kind, frozenset()) == body


@pytest.mark.parametrize(
    ("body", "content_type"), [(b"\x00ssn", "application/octet-stream"), (b'{"ssn":', "application/json")]
)
def test_what_cannot_be_redacted_is_left_out(body: bytes, content_type: str) -> None:
    assert payload_record.redact(body, content_type, frozenset({"ssn"})) == b""
    assert payload_record.redact(body, content_type, frozenset()) == body


def test_secret_headers_are_never_shown() -> None:
    headers = {"authorization": "Bearer abc", "x-user": "ann"}
    assert payload_record.metadata(headers, ("Authorization", "X-User", "X-None")) == {
        "Authorization": REDACTED,
        "X-User": "ann",
    }


def test_headers_and_query_parameters_of_a_redacted_name_are_not_shown() -> None:
    shown = payload_record.metadata(
        {"x-user": "ann", "x-a": "1"}, ("X-User", "X-A"), payload_record.fold({"X-USER"})
    )
    assert shown == {"X-User": REDACTED, "X-A": "1"}
    target = "/v1/models/m:predict?a=1&SSN=123&s%73n=4&ssn&b=x=y"
    found = payload_record.redacted_target(target, frozenset({"ssn"}))
    assert found == f"/v1/models/m:predict?a=1&SSN={REDACTED}&s%73n={REDACTED}&ssn={REDACTED}&b=x=y"
    assert payload_record.redacted_target(target, frozenset()) == target


def test_a_body_left_out_for_its_size_says_so() -> None:
    record = Record(Kind.REQUEST, "x", AT, "/", "application/json", b"", body_bytes=9_000_000)
    assert payload_record.as_event(record, IDENTITY).extensions["omittedbytes"] == "9000000"


@pytest.mark.parametrize(
    ("path", "identifier", "expected"),
    [
        ("/v1/models/iris:predict", "a", "logs/default/iris/predictor/v1/models/iris:predict/a-request.json"),
        ("/v2/../../etc?x=1", "../b", "logs/default/iris/predictor/v2/_/_/etc/.._b-request.json"),
        ("/", "..", "logs/default/iris/predictor/_-request.json"),
    ],
)
def test_keys_stay_below_their_prefix(path: str, identifier: str, expected: str) -> None:
    record = Record(Kind.REQUEST, identifier, AT, path, "", b"")
    assert payload_record.object_key("/logs/", record, IDENTITY, "json") == expected
