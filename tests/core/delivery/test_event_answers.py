"""What subscribers' answers mean, and inference as events (reference section 4.5)."""

from __future__ import annotations

import pytest

from wakeful.core.delivery import answers, inference
from wakeful.core.delivery.answers import Answer, Delivered
from wakeful.core.delivery.retry import Failure, is_retryable
from wakeful.core.protocol.cloudevents import Event

CE = (("ce-specversion", "1.0"), ("ce-id", "9"), ("ce-source", "/r"), ("ce-type", "reply"))
STRUCTURED = (("content-type", "application/cloudevents+json"),)
EVENT = Event(
    "1",
    "/s",
    "t",
    data=b'{"instances": [[1]]}',
    datacontenttype="application/json",
    extensions={"traceparent": "00-a", "secret": "x"},
)


@pytest.mark.parametrize("status", [200, 202, 204])
def test_empty_answer_is_delivered(status: int) -> None:
    headers = (("content-type", "application/json"),)
    assert answers.read_answer(Answer(status, headers, b""), "u") == Delivered(None)


def test_event_answers_are_replies() -> None:
    binary = answers.read_answer(Answer(202, CE, b""), "u")
    structured = answers.read_answer(
        Answer(200, STRUCTURED, b'{"specversion":"1.0","id":"9","source":"/r","type":"reply"}'), "u"
    )
    assert binary == structured == Delivered(Event("9", "/r", "reply"))


@pytest.mark.parametrize(
    "answer",
    [
        Answer(200, (("content-type", "application/json"),), b'{"status":"ok"}'),
        Answer(200, CE[:2], b""),
        Answer(200, STRUCTURED, b"{"),
        Answer(200, (("content-type", "application/cloudevents-batch+json"),), b"[]"),
        Answer(200, (), b"x", is_cut=True),
    ],
)
def test_what_is_no_event_fails_as_502(answer: Answer) -> None:
    outcome = answers.read_answer(answer, "u")
    assert isinstance(outcome, Failure)
    assert outcome.status == 502
    assert outcome.error


@pytest.mark.parametrize("status", [302, 400, 410])
def test_other_statuses_fail_at_once(status: int) -> None:
    outcome = answers.read_answer(Answer(status, CE, b"body"), "u")
    assert isinstance(outcome, Failure)
    assert (outcome.status, outcome.body, is_retryable(outcome.status)) == (status, b"body", False)


def answered(answer: Answer) -> Delivered | Failure:
    return inference.read_answer(EVENT, answer, "u", "iris", "uid", "2026-01-01T00:00:00Z")


def test_a_prediction_becomes_an_event() -> None:
    outcome = answered(Answer(200, (("content-type", "application/json"),), b'{"predictions": [0]}'))
    assert isinstance(outcome, Delivered)
    reply = outcome.reply
    assert reply is not None
    assert (reply.type, reply.source) == ("io.kserve.inference.response", "io.kserve.inference.iris")
    assert (reply.data, reply.datacontenttype) == (b'{"predictions": [0]}', "application/json")
    assert dict(reply.extensions) == {"traceparent": "00-a", "causationid": "1", "causationsource": "/s"}


def test_reply_ids_are_deterministic_and_injective() -> None:
    assert inference.reply_id(EVENT, "u") == inference.reply_id(EVENT, "u")
    ids = {
        inference.reply_id(Event(a, b, "t"), c)
        for a, b, c in [
            ("1", "/s", "u"),
            ("1", "/s", "v"),
            ("2", "/s", "u"),
            ("1/s", "x", "u"),
            ("1", "/sx", "u"),
        ]
    }
    assert len(ids) == 5


def test_a_model_that_answers_with_an_event_is_taken_at_its_word() -> None:
    assert answered(Answer(200, CE, b"")) == Delivered(Event("9", "/r", "reply"))
    bad = answered(Answer(200, CE[:2], b"x"))
    assert isinstance(bad, Failure)


@pytest.mark.parametrize("answer", [Answer(500, (), b"boom"), Answer(200, (), b"x", is_cut=True)])
def test_failed_inference(answer: Answer) -> None:
    assert isinstance(answered(answer), Failure)


def test_odd_content_types() -> None:
    outcome = answered(Answer(200, (("content-type", "???"),), b"x"))
    assert isinstance(outcome, Delivered)
    assert outcome.reply is not None
    assert outcome.reply.datacontenttype == "application/octet-stream"


def data(raw: bytes | None, content_type: str | None = "application/json") -> Event:
    return Event("1", "/s", "t", data=raw, datacontenttype=content_type)


def test_request_bodies() -> None:
    v1, v2 = "/v1/models/m:predict", "/v2/models/m/infer"
    assert inference.request_body(data(b'{"instances":[1]}'), v1) == b'{"instances":[1]}'
    assert inference.request_body(data(b"[[1.10]]"), v1) == b'{"instances":[[1.10]]}'
    assert inference.request_body(data(b"{}", None), v2) == b"{}"
    for event in (data(None), data(b"x"), data(b"1"), data(b"{}", "text/plain")):
        with pytest.raises(inference.NotAnInferenceError):
            inference.request_body(event, v1)
    with pytest.raises(inference.NotAnInferenceError):
        inference.request_body(data(b"[1]"), v2)
