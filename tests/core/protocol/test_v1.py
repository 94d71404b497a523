"""V1 bodies: what is decoded, what is refused and with which words; and the error bodies all edges share."""

from __future__ import annotations

from typing import Any

import pytest

from wakeful.core.errors import FailureError, FailureKind, InvalidError
from wakeful.core.protocol import problem, v1


@pytest.mark.parametrize(
    "content_type",
    ["", "application/json", "application/json; charset=utf-8", "APPLICATION/JSON", "application/ld+json",
     "application/octet-stream", "application/vnd.x+json"],
)  # fmt: skip
def test_json_types_are_decoded(content_type: str) -> None:
    assert v1.decode(b'{"instances": [[1]]}', content_type) == {"instances": [[1]]}


@pytest.mark.parametrize("content_type", ["text/csv", "image/png", "application/avro", "text/plain"])
def test_other_types_stay_bytes(content_type: str) -> None:
    assert v1.decode(b"a,b", content_type) == b"a,b"


@pytest.mark.parametrize(
    "content_type", ["application/x-www-form-urlencoded", "text/plain;charset=UTF-8", "text/json"]
)
def test_an_object_under_the_type_of_an_untold_client_is_json(content_type: str) -> None:
    assert v1.decode(b' {"instances": [[1]]}', content_type) == {"instances": [[1]]}
    for body, words in ((b"", "empty"), (b'{"a":', "not valid JSON"), (b"[1]", "is an array")):
        with pytest.raises(InvalidError, match=words):
            v1.decode(body, content_type)


def test_the_type_alone_makes_other_bodies_opaque() -> None:
    assert v1.decode(b'{"instances": [[1]]}', "text/csv") == b'{"instances": [[1]]}'
    assert v1.decode_object(b'{"instances": [[1]]}') == {"instances": [[1]]}


@pytest.mark.parametrize(
    ("body", "words"),
    [
        (b"", "empty"),
        (b"{", "not valid JSON"),
        (b'{"a": NaN}', "not valid JSON"),
        (b'{"a": 1e400}', "not valid JSON"),
        (b"[" * 100_000, "not valid JSON"),
        (b'"\\ud800"', "not valid JSON"),
        (b"\xff", "not valid JSON"),
        (b"[1]", "is an array"),
        (b"null", "is null"),
        (b"3", "is a number"),
        (b'"x"', "is a string"),
        (b"true", "is a boolean"),
        (b'{"instances": 3}', 'Expected "instances" to be a list'),
        (b'{"inputs": {"a": 1}}', 'Expected "inputs" to be a list'),
    ],
    ids=lambda value: str(value)[:24],
)
def test_bad_bodies_are_refused_in_words(body: bytes, words: str) -> None:
    with pytest.raises(InvalidError) as caught:
        v1.decode(body, "application/json")
    assert words in str(caught.value)
    assert len(str(caught.value)) < 400


@pytest.mark.parametrize(
    ("payload", "rows"),
    [({"instances": [1]}, [1]), ({"inputs": [2]}, [2]), ({"instances": [1], "inputs": [2]}, [1])],
)
def test_rows_prefer_instances(payload: dict[str, Any], rows: list[int]) -> None:
    assert v1.rows(payload) == rows


@pytest.mark.parametrize(
    ("payload", "words"),
    [({}, "none"), ({"data": 1}, "data"), ({"instances": []}, "empty"), ({"instances": "x"}, "to be a list")],
)
def test_rows_say_what_is_missing(payload: dict[str, Any], words: str) -> None:
    with pytest.raises(InvalidError, match=words):
        v1.rows(payload)


@pytest.mark.parametrize("kind", FailureKind)
def test_problem_has_status_and_text(kind: FailureKind) -> None:
    rendered = problem.render(FailureError(kind, "why"))
    assert rendered.body == {"error": "why"}
    assert (rendered.retry_after_s is not None) == (rendered.status == 503)


def test_retry_after_is_whole_and_positive() -> None:
    assert problem.render(FailureError(FailureKind.OVERLOADED, "x", 0.2)).retry_after_s == 1
    assert problem.render(FailureError(FailureKind.DEADLINE, "x", 7.4)).retry_after_s == 7


def test_schema_error_lists_places() -> None:
    issues = [problem.SchemaIssue(("body", "inputs", 0, "shape"), "Field required", "missing")]
    error = problem.SchemaError([*issues, *issues])
    assert str(error) == "body.inputs.0.shape: Field required (and 1 more)"
    assert problem.render(error).status == 422 and problem.render(error).body["error"] == str(error)
    assert problem.render(error).body["detail"][0] == {
        "loc": ["body", "inputs", 0, "shape"], "msg": "Field required", "type": "missing"
    }  # fmt: skip


def test_shown_is_one_short_line() -> None:
    assert problem.shown("a\nb") == "'a\\nb'"
    assert len(problem.shown("x" * 1000)) == problem.SHOWN_CHARACTERS
    assert problem.type_name(object()) == "object"
