"""Users' models see the CloudEvents SDK's own type, and may answer with it; written and read here with the SDK, too."""

from __future__ import annotations

import json
import sys
from datetime import UTC, datetime
from typing import Any

import pytest
from cloudevents.core.bindings.http import HTTPMessage, from_http_event, to_binary_event, to_structured_event
from cloudevents.core.v1.event import CloudEvent

from wakeful.serving import Context, InferRequest, Model

WHEN = datetime(2026, 1, 2, 3, 4, 5, 678901, UTC)
ASKED = {"id": "i-1", "source": "/s", "type": "t", "subject": "a", "time": WHEN, "correlationid": "c"}
OWN = {"id": "o-1", "source": "/own", "type": "com.example.answer", "time": WHEN, "color": "red"}
ANSWERS: dict[str, Any] = {
    "own": lambda: CloudEvent({**OWN, "subject": "seen"}, {"n": 1}),
    "text": lambda: CloudEvent({**OWN, "datacontenttype": "text/csv"}, "a,ü"),
    "bytes": lambda: CloudEvent(dict(OWN), b"\x00\xff"),
    "nothing": lambda: CloudEvent(dict(OWN)),
    "extension": lambda: CloudEvent({**OWN, "color": [1]}, {}),
    "name": lambda: CloudEvent({**OWN, "source": "no uri"}, {}),
    "data": lambda: CloudEvent(dict(OWN), {"x": object()}),
    "type": lambda: CloudEvent({**OWN, "datacontenttype": "text/csv"}, {"x": 1}),
}


class Answering(Model):
    def predict(self, payload: Any, context: Context) -> Any:
        event = context.event
        if not isinstance(payload, dict) or "do" not in payload:
            data = event.get_data() if event is not None else None
            same = {"is_payload": isinstance(payload, InferRequest) or data == payload}
            seen = dict(event.get_attributes()) if event is not None else {}
            return {"predictions": [{name: str(value) for name, value in seen.items()} | same]}
        return ANSWERS[payload["do"]]()


async def ask(client: Any, event: CloudEvent, *, is_structured: bool = False) -> tuple[int, CloudEvent]:
    message = (to_structured_event if is_structured else to_binary_event)(event)
    headers = dict(message.headers)
    async with client.session.post("/v1/models/m:predict", data=message.body, headers=headers) as got:
        return got.status, from_http_event(HTTPMessage(dict(got.headers), await got.read()))


@pytest.fixture
async def client(start: Any) -> Any:
    return await start(Answering("m"))


@pytest.mark.parametrize("is_structured", [False, True])
async def test_a_model_sees_the_event_that_came(client: Any, is_structured: bool) -> None:
    asked = CloudEvent({**ASKED, "datacontenttype": "application/json"}, {"instances": [1]})
    status, answer = await ask(client, asked, is_structured=is_structured)
    (seen,) = answer.get_data()["predictions"]
    wanted = {**ASKED, "specversion": "1.0", "datacontenttype": "application/json", "time": str(WHEN)}
    assert (status, seen) == (200, wanted | {"is_payload": True})


@pytest.mark.parametrize("time", [None, "2016-12-31T23:59:60Z"])
async def test_a_time_that_is_not_there_or_no_datetime_is_not_made_up(client: Any, time: str | None) -> None:
    headers = {"ce-specversion": "1.0", "ce-id": "1", "ce-source": "/s", "ce-type": "t"}
    headers |= {"Content-Type": "application/json"} | ({"ce-time": time} if time else {})
    _, found, _ = await client.ask("POST", "/", data=b'{"instances": [1]}', headers=headers)
    assert "time" not in found["predictions"][0]


async def test_other_requests_have_no_event(client: Any) -> None:
    _, found, _ = await client.ask("POST", "/v1/models/m:predict", json={"instances": [1]})
    assert found == {"predictions": [{"is_payload": False}]}


@pytest.mark.parametrize("is_structured", [False, True])
async def test_an_event_of_the_models_own_is_the_answer(client: Any, is_structured: bool) -> None:
    status, answer = await ask(client, CloudEvent(dict(ASKED), {"do": "own"}), is_structured=is_structured)
    own = {**OWN, "specversion": "1.0", "subject": "seen", "datacontenttype": "application/json"}
    ties = {"causationid": "i-1", "causationsource": "/s", "correlationid": "c"}
    assert (status, answer.get_attributes(), answer.get_data()) == (200, own | ties, {"n": 1})


async def test_data_is_sent_as_what_it_is(client: Any) -> None:
    found = {}
    for name in ("text", "bytes", "nothing"):
        _, answer = await ask(client, CloudEvent(dict(ASKED), {"do": name}))
        found[name] = answer.get_datacontenttype(), answer.get_data()
    assert found["text"] == ("text/csv", "a,ü")
    assert found["bytes"] == ("application/octet-stream", b"\x00\xff")
    assert found["nothing"][1] in (None, b"", "")


async def test_a_plain_request_is_answered_by_an_event_in_binary_mode(client: Any) -> None:
    status, found, response = await client.ask("POST", "/v1/models/m:predict", json={"do": "own"})
    assert (status, found, response.headers["ce-type"]) == (200, {"n": 1}, "com.example.answer")
    assert "ce-causationid" not in response.headers


@pytest.mark.parametrize(
    ("name", "words"),
    {
        "extension": "the model answered with an invalid CloudEvent: extension color is a list",
        "name": "the model answered with an invalid CloudEvent: attribute source is 'no uri'",
        "data": "the data of the model's event has no JSON form: object",
        "type": "its data is dict and its datacontenttype text/csv: return bytes or text",
    }.items(),
)
async def test_what_is_no_event_is_told_so(client: Any, name: str, words: str) -> None:
    status, found, _ = await client.ask("POST", "/v1/models/m:predict", json={"do": name})
    assert status == 500 and words in found["error"]


async def test_a_missing_sdk_is_named(client: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    headers = {"ce-specversion": "1.0", "ce-id": "1", "ce-source": "/s", "ce-type": "t"}
    monkeypatch.setitem(sys.modules, "cloudevents.core.v1.event", None)
    status, found, _ = await client.ask("POST", "/", json={"instances": [1]}, headers=headers)
    assert status == 500 and "needs the package cloudevents" in found["error"]


async def test_each_event_of_a_batch_is_seen(client: Any) -> None:
    batch = [
        {"specversion": "1.0", "id": str(n), "source": "/s", "type": "t", "data": {"instances": [n]}}
        for n in (1, 2)
    ]
    headers = {"Content-Type": "application/cloudevents-batch+json"}
    _, found, _ = await client.ask("POST", "/", data=json.dumps(batch), headers=headers)
    assert [event["data"]["predictions"][0]["id"] for event in json.loads(found)] == ["1", "2"]
