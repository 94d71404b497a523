"""Batches of CloudEvents on predict routes and on ``POST /``: an event for an event, in order, errors beside answers."""

from __future__ import annotations

import asyncio
import json
from typing import Any

import pytest

from wakeful.serving import Context, FailureError, FailureKind, InvalidError, Joining, Model
from wakeful.serving import http_event_batch as batches

BATCH = {"Content-Type": "application/cloudevents-batch+json"}
PATHS = ["/", "/v1/models/m:predict"]


def event(name: str, data: Any) -> dict[str, Any]:
    return {"specversion": "1.0", "id": name, "source": "/s", "type": "t", "data": data}


class Picky(Model):
    """Refuses odd numbers; knows how many calls ran at once."""

    def __init__(self, name: str) -> None:
        super().__init__(name)
        self.running = self.most = self.calls = 0

    async def predict(self, payload: Any, context: Context) -> Any:
        self.running += 1
        self.calls += 1
        self.most = max(self.most, self.running)
        await asyncio.sleep(0.001)
        self.running -= 1
        number = payload["instances"][0]
        if number == "crash":
            raise ZeroDivisionError("of the model")
        if number == "full":
            raise FailureError(FailureKind.OVERLOADED, "no room")
        if number % 2:
            raise InvalidError(f"{number} is odd")
        return {"predictions": [number, context.protocol]}

    async def explain(self, payload: Any, context: Context) -> Any:
        return {"explanations": payload["instances"]}


class Joined(Model):
    batching = Joining()

    def __init__(self, name: str) -> None:
        super().__init__(name)
        self.calls = 0

    def predict(self, payload: Any, context: Context) -> Any:
        self.calls += 1
        return {"predictions": payload["instances"]}


@pytest.mark.parametrize("path", PATHS)
async def test_each_event_is_answered_by_one_in_its_order(start: Any, path: str) -> None:
    client = await start(Picky("m"))
    sent = [event(str(n), {"instances": [2 * n]}) for n in range(100)]
    status, raw, response = await client.ask("POST", path, data=json.dumps(sent), headers=BATCH)
    answers = json.loads(raw)
    assert (status, response.content_type) == (200, BATCH["Content-Type"])
    assert [one["data"]["predictions"] for one in answers] == [[2 * n, "cloudevents"] for n in range(100)]
    assert [one["causationid"] for one in answers] == [str(n) for n in range(100)]
    assert {(one["type"], one["source"]) for one in answers} == {
        ("io.kserve.inference.response", "io.kserve.inference.m")
    }
    assert len({one["id"] for one in answers}) == 100


async def test_what_fails_is_an_event_of_its_own(start: Any) -> None:
    client = await start(Picky("m"))
    datas: list[Any] = [
        {"instances": [2]},
        {"instances": [3]},
        [1],
        {"instances": ["crash"]},
        {"instances": ["full"]},
    ]
    sent = json.dumps([event(str(place), data) for place, data in enumerate(datas)])
    status, raw, _ = await client.ask("POST", "/", data=sent, headers=BATCH)
    first, *failed = json.loads(raw)
    assert (status, first["data"]["predictions"][0]) == (200, 2)
    assert [(one["type"], one["causationid"]) for one in failed] == [
        ("io.kserve.inference.error", str(place)) for place in (1, 2, 3, 4)
    ]
    assert [one["data"]["status"] for one in failed] == [400, 400, 500, 503]
    assert "3 is odd" in failed[0]["data"]["error"] and "is an array" in failed[1]["data"]["error"]
    assert failed[2]["data"]["error"] == "ZeroDivisionError : of the model"


async def test_a_batch_of_which_nothing_could_be_answered_fails_as_its_first_event(start: Any) -> None:
    client = await start(Picky("m"))
    sent = json.dumps([event("a", {"instances": ["full"]}), event("b", {"instances": [1]})])
    status, found, response = await client.ask("POST", "/", data=sent, headers=BATCH)
    assert (status, found) == (503, {"error": "no room"})
    assert response.headers["Retry-After"]


@pytest.mark.parametrize(
    ("body", "words"),
    [
        (b"", "must be a JSON array"),
        (b"{}", "must be a JSON array"),
        (b"[1]", "must be a JSON object"),
        (json.dumps([event("a", {"instances": [2]}), {"id": "b"}]).encode(), "event 1 of the batch: "),
        (json.dumps([event("a", {})] * (batches.MAX_EVENTS + 1)).encode(), "more than 1000 events"),
        (json.dumps([event("a", {})]).encode()[:-1], "expected ',' or ']'"),
    ],
    ids=["empty", "object", "number", "invalid", "many", "cut"],
)
async def test_a_wrong_batch_is_refused_before_anything_is_asked(start: Any, body: bytes, words: str) -> None:
    model = Picky("m")
    client = await start(model)
    status, found, _ = await client.ask("POST", "/", data=body, headers=BATCH)
    assert (status, words in found["error"], model.calls) == (400, True, 0), found


async def test_no_events_are_answered_by_none(start: Any) -> None:
    client = await start(Picky("m"))
    status, raw, _ = await client.ask("POST", "/", data=b"[]", headers=BATCH)
    assert (status, raw) == (200, b"[]")


async def test_events_of_a_batch_are_joined_for_models_that_batch(start: Any) -> None:
    model = Joined("m")
    client = await start(model)
    sent = json.dumps([event(str(n), {"instances": [n]}) for n in range(256)])
    status, raw, _ = await client.ask("POST", "/", data=sent, headers=BATCH)
    assert [one["data"]["predictions"] for one in json.loads(raw)] == [[n] for n in range(256)]
    assert (status, model.calls < 64) == (200, True), model.calls


@pytest.mark.parametrize(("limit", "most"), [(0, batches.AT_ONCE), (2, 2)])
async def test_calls_at_once_are_bounded(start: Any, limit: int, most: int) -> None:
    model = Picky("m")
    client = await start(model, max_concurrency=limit)
    sent = json.dumps([event(str(n), {"instances": [2]}) for n in range(200)])
    assert (await client.ask("POST", "/", data=sent, headers=BATCH))[0] == 200
    assert 1 < model.most <= most


async def test_v2_requests_and_explanations_too(start: Any, models: Any) -> None:
    client = await start(models["echo"]("e"), Picky("m"))
    tensor = {"inputs": [{"name": "x", "shape": [1], "datatype": "INT32", "data": [7]}]}
    _, raw, _ = await client.ask(
        "POST", "/v1/models/e:predict", data=json.dumps([event("a", tensor)]), headers=BATCH
    )
    assert json.loads(raw)[0]["data"]["outputs"][0]["data"] == [7]
    _, raw, _ = await client.ask(
        "POST", "/v1/models/m:explain", data=json.dumps([event("a", {"instances": [1]})]), headers=BATCH
    )
    assert json.loads(raw)[0]["data"] == {"explanations": [1]}


async def test_the_deadline_is_that_of_the_request(start: Any, models: Any) -> None:
    client = await start(models["sleepy"]("m"))
    sent = json.dumps([event(str(n), {}) for n in range(3)])
    headers = {**BATCH, "X-Request-Timeout": "0.1"}
    assert (await client.ask("POST", "/", data=sent, headers=headers))[0] == 504
