"""The official CloudEvents SDK at both ends: what it posts is taken, what a subscriber gets it can read."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

import pytest
from aiohttp import web
from cloudevents.core.bindings.http import HTTPMessage, from_http_event, to_binary_event, to_structured_event
from cloudevents.core.v1.event import CloudEvent
from eventing_world import EventProcess, Subscriber, World
from test_events_process import flow

pytestmark = pytest.mark.platform


def made(id_: str, **more: Any) -> CloudEvent:
    attributes = {
        "id": id_,
        "source": "https://example.com/sdk",
        "type": "com.example.sdk",
        "specversion": "1.0",
        "time": datetime(2026, 1, 31, 12, 0, 0, 123456, tzinfo=UTC),
        "subject": "café ☕ 100%",
        "datacontenttype": "application/json",
        **more,
    }
    return CloudEvent(attributes=attributes, data={"instances": [[1, 2.5]]})


@pytest.mark.parametrize("encode", [to_binary_event, to_structured_event], ids=["binary", "structured"])
@pytest.mark.parametrize("form", ["binary", "json"])
async def test_what_the_sdk_sends_it_reads_back(
    world: World, process: EventProcess, subscriber: Subscriber, encode: Any, form: str
) -> None:
    path = await flow(world, process, subscriber.url, format=form)
    await subscriber.wait(1)
    message = encode(made("sdk-1", myext="value"))
    status, text, _ = await process.send("POST", path, dict(message.headers), message.body)
    assert status == 202, text
    headers, body = (await subscriber.wait(2))[1]
    event = from_http_event(HTTPMessage(headers, body))
    assert (event.get_id(), event.get_type(), event.get_source()) == (
        "sdk-1",
        "com.example.sdk",
        "https://example.com/sdk",
    )
    assert event.get_subject() == "café ☕ 100%"
    assert event.get_time() == datetime(2026, 1, 31, 12, 0, 0, 123456, tzinfo=UTC)
    assert event.get_extension("myext") == "value"
    assert event.get_data() == {"instances": [[1, 2.5]]}


@pytest.mark.parametrize("encode", [to_binary_event, to_structured_event], ids=["binary", "structured"])
async def test_a_reply_made_by_the_sdk(
    world: World, process: EventProcess, subscriber: Subscriber, encode: Any
) -> None:
    def answer(headers: dict[str, str], _: bytes) -> web.Response:
        if headers["ce-type"] == "com.example.sdk":
            return web.Response(status=202)
        message = encode(made(f"re-{headers['ce-id']}"))
        return web.Response(body=message.body, headers=dict(message.headers))

    subscriber.answer = answer
    await flow(world, process, subscriber.url)
    got = await subscriber.wait(2)
    event = from_http_event(HTTPMessage(*got[1]))
    assert (event.get_id(), event.get_data()) == ("re-probe", {"instances": [[1, 2.5]]})
