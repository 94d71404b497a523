"""CloudEvents on predict routes and on ``POST /``: in either mode, answered in the mode of the request."""

from __future__ import annotations

import json
from typing import Any

import pytest

from wakeful.serving import http_events
from wakeful.serving.exchange import Headers

BINARY = {
    "ce-specversion": "1.0",
    "ce-id": "i-1",
    "ce-source": "/s",
    "ce-type": "t",
    "Content-Type": "application/json",
}
EVENT = {"specversion": "1.0", "id": "i-1", "source": "/s", "type": "t", "data": {"instances": [1]}}
STRUCTURED = {"Content-Type": "application/cloudevents+json"}


@pytest.mark.parametrize("path", ["/", "/v1/models/m:predict"])
async def test_binary_event_is_answered_as_binary_event(start: Any, path: str) -> None:
    client = await start()
    status, body, response = await client.ask("POST", path, data=b'{"instances": [1]}', headers=BINARY)
    assert (status, body) == (200, {"predictions": {"instances": [1]}})
    assert response.content_length == len('{"predictions": {"instances": [1]}}'), "KServe's separators"
    headers = response.headers
    assert headers["ce-type"] == "io.kserve.inference.response"
    assert headers["ce-source"] == "io.kserve.inference.m"
    assert headers["ce-specversion"] == "1.0"
    assert headers["ce-id"] not in ("", "i-1") and headers["ce-time"]
    assert headers["Content-Type"] == "application/json"


@pytest.mark.parametrize("path", ["/", "/v1/models/m:predict"])
async def test_structured_event_is_answered_as_structured_event(start: Any, path: str) -> None:
    client = await start()
    status, raw, response = await client.ask("POST", path, data=json.dumps(EVENT), headers=STRUCTURED)
    answer = json.loads(raw)
    assert (status, response.content_type) == (200, "application/cloudevents+json")
    assert answer["data"] == {"predictions": {"instances": [1]}}
    assert answer["id"] != "i-1" and answer["time"]


async def test_plain_json_with_every_member_is_an_event_answered_as_binary(start: Any) -> None:
    client = await start()
    body = {**EVENT, "time": "2026-01-01T00:00:00Z"}
    status, found, response = await client.ask("POST", "/v1/models/m:predict", json=body)
    assert (status, found) == (200, {"predictions": {"instances": [1]}})
    assert response.headers["ce-type"] == "io.kserve.inference.response"


async def test_instances_that_look_like_event_members_are_no_event(start: Any) -> None:
    client = await start()
    body = {"specversion": 1, "source": 2, "instances": []}
    status, found, response = await client.ask("POST", "/v1/models/m:predict", json=body)
    assert (status, found) == (200, {"predictions": body})
    assert "ce-id" not in response.headers


async def test_event_with_a_v2_request_is_answered_as_v2(start: Any) -> None:
    client = await start()
    data = {"inputs": [{"name": "x", "shape": [2], "datatype": "INT32", "data": [1, 2]}]}
    status, found, response = await client.ask("POST", "/", json=data, headers=BINARY)
    assert (status, found["outputs"][0]["data"], found["model_name"]) == (200, [1, 2], "m")
    assert response.headers["ce-id"]
    del data["inputs"][0]["data"]
    assert (await client.ask("POST", "/", json=data, headers=BINARY))[0] == 422


async def test_other_content_types_pass_as_bytes(start: Any) -> None:
    client = await start()
    headers = {**BINARY, "Content-Type": "application/avro"}
    assert (await client.ask("POST", "/", data=b"\x00\x01", headers=headers))[1] == {"predictions": 2}


@pytest.mark.parametrize("content_type", ["application/x-www-form-urlencoded", "text/plain", "text/json"])
async def test_an_object_that_the_client_gave_no_type_is_taken_for_what_it_is(
    start: Any, content_type: str
) -> None:
    client = await start()
    headers = {**BINARY, "Content-Type": content_type}
    structured = {**EVENT, "datacontenttype": content_type, "data": '{"instances": [1]}'}
    if content_type == "text/json":  # JSON to CloudEvents, whose data is no text then
        structured["data"] = EVENT["data"]
    for sent, body in ((headers, '{"instances": [1]}'), (STRUCTURED, json.dumps(structured))):
        status, found, _ = await client.ask("POST", "/", data=body, headers=sent)
        assert status == 200
        answer = found if sent is headers else json.loads(found)["data"]
        assert answer == {"predictions": {"instances": [1]}}
    assert (await client.ask("POST", "/", data=b"text", headers=headers))[1] == {"predictions": 4}


async def test_v2_infer_does_not_unwrap_events(start: Any) -> None:
    client = await start()
    body = {"inputs": [{"name": "x", "shape": [1], "datatype": "INT32", "data": [1]}]}
    status, found, response = await client.ask("POST", "/v2/models/m/infer", json=body, headers=BINARY)
    assert (status, found["outputs"][0]["data"]) == (200, [1])
    assert "ce-id" not in response.headers


@pytest.mark.parametrize("kind", ["application/cloudevents+json", "application/cloudevents-batch+json"])
async def test_v2_infer_says_where_events_go(start: Any, kind: str) -> None:
    client = await start()
    status, found, _ = await client.ask(
        "POST", "/v2/models/m/infer", json=EVENT, headers={"Content-Type": kind}
    )
    assert (status, "send events, with V2 data too, to /v1/models/NAME:predict" in found["error"]) == (
        400,
        True,
    )


@pytest.mark.parametrize(
    ("headers", "body", "words"),
    [
        ({k: v for k, v in BINARY.items() if k != "ce-id"}, b"{}", "but not ce-id"),
        ({**BINARY, "ce-specversion": "0.3"}, b"{}", "specversion"),
        ({**BINARY, "ce-id": ""}, b"{}", "id"),
        ({**BINARY, "ce-time": "yesterday"}, b"{}", "time"),
        (BINARY, b"{", "Failed to decode or parse binary json cloudevent"),
        (BINARY, b"", "no data"),
        (BINARY, b"[1]", "is an array"),
        (BINARY, b'{"instances": 1}', 'Expected "instances" to be a list'),
        (STRUCTURED, b"{}", "specversion"),
        (STRUCTURED, b"{", "not a JSON event"),
        (STRUCTURED, json.dumps({**EVENT, "data_base64": "AA=="}).encode(), "data"),
        ({"Content-Type": "application/cloudevents-batch+json"}, b"{}", "CloudEvents"),
        ({}, b'{"instances": [1]}', "POST / takes CloudEvents; to predict, POST /v1/models/m:predict"),
    ],
    ids=range(13),
)  # fmt: skip
async def test_wrong_events_get_a_clear_400(
    start: Any, headers: dict[str, str], body: bytes, words: str
) -> None:
    client = await start()
    status, found, _ = await client.ask("POST", "/", data=body, headers=headers)
    assert (status, words in found["error"]) == (400, True), found


async def test_numbers_that_json_lacks_are_null_in_events_too(start: Any, models: Any) -> None:
    client = await start(models["echo"]("m"))
    for headers, body in ((BINARY, {"do": "nan"}), (STRUCTURED, {**EVENT, "data": {"do": "nan"}})):
        status, found, _ = await client.ask("POST", "/", data=json.dumps(body), headers=headers)
        value = found if headers is BINARY else json.loads(found)["data"]
        assert (status, value) == (200, {"predictions": [None, 1.5, [1, 2], "x"]})


async def test_several_models_have_no_default(start: Any, models: Any) -> None:
    client = await start(models["echo"]("a"), models["echo"]("b"))
    status, found, _ = await client.ask("POST", "/", data=b"{}", headers=BINARY)
    assert (status, "several models" in found["error"]) == (400, True)
    assert (await client.ask("POST", "/v1/models/b:predict", data=b"{}", headers=BINARY))[0] == 200


async def test_streams_cannot_be_events(start: Any, models: Any) -> None:
    client = await start(models["stream"]("s"))
    assert (await client.ask("POST", "/", data=b"{}", headers=BINARY))[0] == 501


def as_headers(sent: dict[str, str]) -> Headers:
    return Headers([(name.lower(), value) for name, value in sent.items()])


def test_answers_are_named_by_the_environment() -> None:
    names = http_events.naming({"CE_TYPE": "my.type", "CE_SOURCE": "/mine", "CE_MERGE": "True"})
    headers = as_headers({**BINARY, "ce-tenant": "blue"})
    received = http_events.receive(headers, b"{}")
    assert received is not None
    answer = http_events.answer(received.event, "m", {}, names).attributes()
    assert (answer["type"], answer["source"], answer["tenant"]) == ("my.type", "/mine", "blue")
    plain = http_events.answer(received.event, "m", {}, http_events.naming({})).attributes()
    assert "tenant" not in plain


def test_answers_name_the_event_that_caused_them() -> None:
    """As the broker's own adapter does on one machine: e2e/test_events.py looks at both homes."""
    sent = {**BINARY, "ce-correlationid": "order-7", "ce-lab": "blue"}
    received = http_events.receive(as_headers(sent), b"{}")
    assert received is not None
    answer = http_events.answer(received.event, "m", {}, http_events.naming({})).attributes()
    assert (answer["causationid"], answer["causationsource"]) == (BINARY["ce-id"], BINARY["ce-source"])
    assert answer["correlationid"] == "order-7" and "lab" not in answer
