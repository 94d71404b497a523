"""From the ingress to subscribers: what they see, retries, dead letters, replies (reference sections 4.5 to 4.8)."""

from __future__ import annotations

import asyncio
import base64
import json
from typing import Any

import pytest
from aiohttp import web
from eventing_rig import Rig, Subscriber
from waiting_rig import until

RETRY = {"retry": 2, "backoffPolicy": "linear", "backoffDelay": "PT0.01S"}


def answering(*statuses: int, body: bytes = b"", **headers: str) -> Any:
    """Answers with each status in turn, then with the last."""
    left = list(statuses)

    async def answer(_: web.Request, __: bytes) -> web.StreamResponse:
        status = left.pop(0) if len(left) > 1 else left[0]
        return web.Response(
            status=status, body=body, headers={key.replace("_", "-"): value for key, value in headers.items()}
        )

    return answer


async def test_what_a_subscriber_sees(rig: Rig) -> None:
    subscriber = await rig.start_subscriber()
    rig.add_broker()
    rig.add_trigger("t", subscriber.url)
    body = b'{"specversion":"1.0","id":"1","source":"/s","type":"t","n":5,"subject":"caf\xc3\xa9","data":{"a":1}}'
    status, _ = await rig.post(
        body=body, content_type="application/cloudevents+json", authorization="Bearer x", x_request_id="r1"
    )
    assert status == 202
    (got,) = await subscriber.wait(1)
    assert got.body == b'{"a":1}'
    assert got.headers["content-type"] == "application/json"
    assert got.headers["ce-subject"] == "caf%C3%A9"
    assert (got.headers["ce-n"], got.headers["prefer"], got.headers["kn-namespace"]) == ("5", "reply", "ns")
    assert got.headers["x-request-id"] == "r1"
    assert "ce-knativearrivaltime" in got.headers
    assert "ce-knativebrokerttl" not in got.headers
    assert "authorization" not in got.headers


async def test_format_json_sends_structured_events(rig: Rig) -> None:
    subscriber = await rig.start_subscriber()
    rig.add_broker()
    rig.add_trigger("t", subscriber.url, delivery={"format": "json"})
    await rig.post(body=b"hi", content_type="text/plain")
    (got,) = await subscriber.wait(1)
    assert got.headers["content-type"].startswith("application/cloudevents+json")
    assert json.loads(got.body)["data"] == "hi"


async def test_each_matching_trigger_gets_the_event(rig: Rig) -> None:
    first, second, third = [await rig.start_subscriber() for _ in range(3)]
    rig.add_broker()
    rig.add_trigger("a", first.url, filter={"attributes": {"type": "com.example"}})
    rig.add_trigger("b", second.url, filters=[{"cesql": "type LIKE 'com.%'"}])
    rig.add_trigger("c", third.url, filter={"attributes": {"type": "other"}})
    await rig.post()
    await first.wait(1)
    await second.wait(1)
    await until(lambda: rig.broker.depth("ns/default").deliveries == 0)
    assert third.got == []


async def test_retries_until_it_works(rig: Rig) -> None:
    subscriber = await rig.start_subscriber()
    subscriber.answer = answering(500, 429, 202)
    rig.add_broker(delivery=RETRY)
    rig.add_trigger("t", subscriber.url)
    await rig.post()
    await until(lambda: rig.outcome("t", "delivered") == 1)
    assert len(subscriber.got) == 3


@pytest.mark.parametrize(("status", "tries"), [(503, 3), (404, 3), (400, 1), (302, 1)])
async def test_dead_letter(rig: Rig, status: int, tries: int) -> None:
    subscriber, sink = await rig.start_subscriber(), await rig.start_subscriber()
    subscriber.answer = answering(status, body=b"e" * 5_000, location=sink.url)
    rig.add_broker(delivery=RETRY)
    rig.add_trigger("t", subscriber.url, dead_letter=sink.url)
    await rig.post(body=b"payload")
    (got,) = await sink.wait(1)
    assert len(subscriber.got) == tries
    assert got.body == b"payload"
    assert got.headers["ce-knativeerrorcode"] == str(status)
    assert got.headers["ce-knativeerrordest"] == subscriber.url
    assert base64.b64decode(got.headers["ce-knativeerrordata"]) == b"e" * 768
    assert got.headers["ce-id"] == "1"
    assert got.headers["ce-knativebrokerttl"] == "255"
    assert "prefer" not in got.headers
    await until(lambda: rig.outcome("t", "dead_lettered") == 1)


async def test_no_answer_dead_letters_as_500(rig: Rig) -> None:
    sink = await rig.start_subscriber()
    rig.add_broker()
    rig.add_trigger("t", "http://127.0.0.1:1/", dead_letter=sink.url)
    await rig.post()
    (got,) = await sink.wait(1)
    assert got.headers["ce-knativeerrorcode"] == "500"
    assert base64.b64decode(got.headers["ce-knativeerrordata"]).startswith(b"dispatch error: ")


async def test_the_dead_letter_sink_is_retried_then_the_event_is_lost(rig: Rig) -> None:
    subscriber, sink = await rig.start_subscriber(), await rig.start_subscriber()
    subscriber.answer, sink.answer = answering(400), answering(500)
    rig.add_broker(delivery=RETRY)
    rig.add_trigger("t", subscriber.url, dead_letter=sink.url)
    await rig.post()
    await until(lambda: rig.outcome("t", "lost") == 1)
    assert (len(subscriber.got), len(sink.got)) == (1, 3)
    assert rig.broker.depth("ns/default").deliveries == 0


async def test_timeout_of_one_attempt(rig: Rig) -> None:
    subscriber, sink = await rig.start_subscriber(), await rig.start_subscriber()
    never = asyncio.Event()

    async def hang(_: web.Request, __: bytes) -> web.StreamResponse:
        await never.wait()
        return web.Response()

    subscriber.answer = hang
    rig.add_broker()
    rig.add_trigger("t", subscriber.url, dead_letter=sink.url, delivery={"timeout": "PT0.1S"})
    await rig.post()
    (got,) = await sink.wait(1)
    assert b"no answer within 0.1 s" in base64.b64decode(got.headers["ce-knativeerrordata"])
    never.set()


@pytest.mark.parametrize(
    ("body", "headers"),
    [
        (b'{"status":"ok"}', {"content_type": "application/json"}),
        (b"", {"ce_specversion": "1.0", "ce_id": "1"}),
        (b"x" * 300_000, {"ce_specversion": "1.0", "ce_id": "1", "ce_source": "/r", "ce_type": "r"}),
    ],
)
async def test_what_is_no_event_counts_as_502(rig: Rig, body: bytes, headers: dict[str, str]) -> None:
    subscriber, sink = await rig.start_subscriber(), await rig.start_subscriber()
    subscriber.answer = answering(200, body=body, **headers)
    rig.add_broker(delivery=RETRY)
    rig.add_trigger("t", subscriber.url, dead_letter=sink.url)
    await rig.post()
    (got,) = await sink.wait(1)
    assert (got.headers["ce-knativeerrorcode"], len(subscriber.got)) == ("502", 3)


async def test_replies_re_enter_with_one_hop_less(rig: Rig) -> None:
    subscriber, second = await rig.start_subscriber(), await rig.start_subscriber()
    subscriber.answer = answering(
        200, ce_specversion="1.0", ce_id="r", ce_source="/r", ce_type="reply", ce_knativebrokerttl="250"
    )
    rig.add_broker()
    rig.add_trigger("a", subscriber.url, filter={"attributes": {"type": "com.example"}})
    rig.add_trigger("b", second.url, dead_letter=second.url, filter={"attributes": {"type": "reply"}})
    second.answer = answering(400, 202)
    await rig.post(ce_knativebrokerttl="10")
    await second.wait(2)
    assert second.got[1].headers["ce-knativebrokerttl"] == "8"
    assert second.got[0].headers["ce-id"] == "r"


async def test_a_reply_loop_ends_in_the_dead_letter_sink(rig: Rig) -> None:
    subscriber, sink = await rig.start_subscriber(), await rig.start_subscriber()
    counter = iter(range(1000))

    async def echo(_: web.Request, __: bytes) -> web.StreamResponse:
        event = {"ce-specversion": "1.0", "ce-id": f"r{next(counter)}", "ce-source": "/r", "ce-type": "reply"}
        return web.Response(headers=event)

    subscriber.answer = echo
    rig.add_broker()
    rig.add_trigger("t", subscriber.url, dead_letter=sink.url)
    await rig.post(ce_knativebrokerttl="6")
    (got,) = await sink.wait(1)
    assert len(subscriber.got) == 5
    assert (got.headers["ce-knativeerrorcode"], got.headers["ce-knativeerrordest"]) == ("400", "ns/default")


async def test_a_subscriber_that_gets_resolved_gets_its_retries(rig: Rig) -> None:
    subscriber = await rig.start_subscriber()
    rig.add_broker(delivery={"retry": 100, "backoffPolicy": "linear", "backoffDelay": "PT0.001S"})
    rig.add_trigger("t", None)
    await rig.post()
    await until(lambda: rig.broker.depth("ns/default").deliveries == 1)
    rig.add_trigger("t", subscriber.url)
    await subscriber.wait(1)


async def test_concurrency_is_bounded_and_a_slow_trigger_holds_nobody_up(rig: Rig) -> None:
    slow, fast = await rig.start_subscriber(), await rig.start_subscriber()
    release, running, most = asyncio.Event(), 0, 0

    async def hold(_: web.Request, __: bytes) -> web.StreamResponse:
        nonlocal running, most
        running += 1
        most = max(most, running)
        await release.wait()
        running -= 1
        return web.Response()

    slow.answer = hold
    rig.add_broker()
    rig.add_trigger("slow", slow.url)
    rig.add_trigger("fast", fast.url)
    for number in range(20):
        await rig.post(ce_id=str(number))
    await fast.wait(20)
    assert most == 4
    release.set()
    await slow.wait(20)
    assert most == 4


async def test_a_closed_kept_alive_connection_is_no_attempt(rig: Rig) -> None:
    seen: list[bytes] = []

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Answers one request as if it kept the connection, then closes it when the next one comes."""
        seen.append(await reader.readuntil(b"\r\n\r\n"))
        writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n")
        await reader.read(1)
        writer.close()

    server = await asyncio.start_server(serve, "127.0.0.1", 0)
    url = f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}/"
    rig.add_broker()
    rig.add_trigger("t", url)
    for number in range(3):
        await rig.post(ce_id=str(number))
        await until(lambda number=number: rig.outcome("t", "delivered") == number + 1)  # type: ignore[misc]
    assert rig.outcome("t", "lost") == 0
    server.close()


def predicting(subscriber: Subscriber) -> None:
    async def answer(request: web.Request, body: bytes) -> web.StreamResponse:
        instances = json.loads(body)["instances"]
        return web.json_response({"predictions": [sum(row) for row in instances]})

    subscriber.answer = answer


async def test_an_event_becomes_an_inference_and_the_answer_an_event(rig: Rig) -> None:
    model, sink = await rig.start_subscriber(), await rig.start_subscriber()
    predicting(model)
    ref = {"ref": {"apiVersion": "serving.kserve.io/v1beta1", "kind": "InferenceService", "name": "iris"}}
    rig.add_broker()
    rig.add_trigger("predict", model.url + "/v1/models/iris:predict", subscriber=ref)
    rig.add_trigger("result", sink.url, filter={"attributes": {"type": "io.kserve.inference.response"}})
    for _ in range(2):
        status, _ = await rig.post(
            body=b'{"instances": [[1, 2]]}', content_type="application/json", ce_traceparent="00-x"
        )
        assert status == 202
    await model.wait(2)
    got, again = await sink.wait(2)
    assert got.headers["ce-id"] == again.headers["ce-id"], "equal events give equal answers, ids included"
    await until(lambda: rig.broker.depth("ns/default").deliveries == 0)
    assert len(model.got) == 2, "the reply does not go to the Trigger it came from"
    assert model.got[0].headers["content-type"] == "application/json"
    assert "ce-id" not in model.got[0].headers
    assert json.loads(got.body) == {"predictions": [3]}
    assert got.headers["ce-source"] == "io.kserve.inference.iris"
    assert got.headers["ce-causationid"] == "1"
    assert got.headers["ce-traceparent"] == "00-x"


async def test_data_that_is_no_inference_is_dead_lettered_with_the_reason(rig: Rig) -> None:
    model, sink = await rig.start_subscriber(), await rig.start_subscriber()
    ref = {"ref": {"kind": "InferenceService", "name": "iris"}}
    rig.add_broker(delivery=RETRY)
    rig.add_trigger("predict", model.url, dead_letter=sink.url, subscriber=ref)
    await rig.post(body=b"not json", content_type="application/json")
    (got,) = await sink.wait(1)
    assert (got.headers["ce-knativeerrorcode"], model.got) == ("400", [])
    assert b"not JSON" in base64.b64decode(got.headers["ce-knativeerrordata"])
