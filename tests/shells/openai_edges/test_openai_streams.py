"""Streams that fail, stall, are too many, or whose readers leave; what is counted; what a drain waits for."""

from __future__ import annotations

import asyncio
import json
from typing import Any

import aiohttp
import openai
import pytest
from tiny_engine_rig import TinyEngine, TinyModel
from waiting_rig import until

from tests.shells.openai_edges.conftest import Place, Start
from wakeful.serving import openai_edge

DEADLINE_S = 10.0


def asked(text: str, **members: Any) -> dict[str, Any]:
    return {"model": "tiny", "messages": [{"role": "user", "content": text}], "stream": True, **members}


async def opened(place: Place, text: str = "WAIT") -> aiohttp.ClientResponse:
    response = await place.session.post("/v1/chat/completions", json=asked(text))
    assert response.status == 200
    assert response.headers["Content-Type"].startswith("text/event-stream")
    return response


async def test_a_reader_that_leaves_ends_the_generation(start: Start) -> None:
    place = await start()
    response = await opened(place)
    await until(lambda: place.model.text.generated == 3)
    response.close()
    await until(lambda: place.model.text.running == 0)
    assert place.model.text.generated == 3
    await until(lambda: place.server.edge.flights.count == 0)
    async with place.session.get("/metrics") as answer:
        text = await answer.text()
    assert 'wakeful_openai_cancelled_total{model_name="tiny"} 1.0' in text
    assert "wakeful_openai_streams 0.0" in text


async def test_a_caller_that_leaves_ends_a_whole_answer(start: Start) -> None:
    place = await start()
    body = asked("WAIT", stream=False)
    asking = asyncio.create_task(place.session.post("/v1/chat/completions", json=body))
    await until(lambda: place.model.text.generated == 3)
    asking.cancel()
    await until(lambda: place.model.text.running == 0)
    await until(lambda: place.server.edge.flights.count == 0)


async def test_a_failure_in_the_middle_is_an_event(start: Start) -> None:
    place = await start()
    stream = await place.client.chat.completions.create(**asked("FAIL"))
    with pytest.raises(openai.APIError, match="the tiny engine failed"):
        async for _ in stream:
            pass
    response = await opened(place, "FAIL")
    lines = [line async for line in response.content if line.strip()]
    assert json.loads(lines[-2][6:])["error"]["code"] == "engine_unavailable"
    assert lines[-1] == b"data: [DONE]\n"
    assert place.server.edge.flights.count == 0


async def test_streams_are_bounded_and_say_when_to_come_back(start: Start) -> None:
    place = await start()
    place.server.edge._openai.limits = openai_edge.Limits(streams=2)
    held = [await opened(place) for _ in range(2)]
    async with place.session.post("/v1/chat/completions", json=asked("abc")) as response:
        assert response.status == 503
        assert response.headers["Retry-After"] == "1"
        assert (await response.json())["error"]["code"] == "overloaded"
    async with place.session.get("/metrics") as page:
        assert 'wakeful_serving_rejected_total{reason="streams"} 1.0' in await page.text()
    held[0].close()
    await until(lambda: place.model.text.running == 1)
    async with place.session.post("/v1/chat/completions", json=asked("abc", max_tokens=2)) as response:
        assert response.status == 200
    held[1].close()


async def test_an_engine_that_stalls_is_told_so(start: Start) -> None:
    place = await start()
    place.server.edge._openai.limits = openai_edge.Limits(stall_s=0.05)
    response = await opened(place)
    text = await response.text()
    assert '"code":"timeout"' in text and text.endswith("data: [DONE]\n\n")
    assert place.model.text.running == 0


@pytest.mark.parametrize("stream", [True, False], ids=["stream", "whole"])
async def test_a_caller_may_set_a_deadline(start: Start, stream: bool) -> None:
    place = await start()
    headers = {"X-Request-Timeout": "0.2"}
    async with place.session.post(
        "/v1/chat/completions", json=asked("WAIT", stream=stream), headers=headers
    ) as response:
        assert response.status == (200 if stream else 504)
        assert "deadline" in await response.text()
    await until(lambda: place.model.text.running == 0)
    headers = {"X-Request-Timeout": "soon"}
    async with place.session.post("/v1/chat/completions", json=asked("abc"), headers=headers) as response:
        assert response.status == 400


async def test_a_drain_waits_for_open_streams(start: Start) -> None:
    place = await start()
    response = await opened(place)
    draining = asyncio.create_task(place.server.drain())
    async with asyncio.timeout(DEADLINE_S):
        while (await place.session.get("/v2/health/ready")).status != 503:
            pass
    assert not draining.done()
    place.model.text.gate.set()
    text = await response.text()
    assert text.endswith("data: [DONE]\n\n")
    assert await draining


async def test_tokens_and_their_times_are_counted(start: Start) -> None:
    place = await start()
    async with place.session.post("/v1/chat/completions", json=asked("abc", max_tokens=5)) as response:
        await response.read()
    async with place.session.get("/metrics") as response:
        text = await response.text()
    assert 'wakeful_openai_tokens_total{kind="generation",model_name="tiny"} 5.0' in text
    assert 'wakeful_openai_tokens_total{kind="prompt",model_name="tiny"} 3.0' in text
    assert 'wakeful_openai_time_to_first_token_seconds_count{model_name="tiny"} 1.0' in text
    assert 'wakeful_openai_inter_token_seconds_count{model_name="tiny"} 5.0' in text
    assert 'wakeful_serving_requests_total{code="200",model_name="tiny",protocol="openai"} 1.0' in text


async def test_many_streams_at_once_get_their_own_text(start: Start) -> None:
    place = await start(TinyModel("tiny", text=TinyEngine(1024)))

    async def one(number: int) -> bool:
        word = f"{number:04d}"
        stream = await place.client.chat.completions.create(**asked(word, max_tokens=200))
        text = "".join([event.choices[0].delta.content or "" async for event in stream])
        return text == word[::-1] * 50

    assert all(await asyncio.gather(*map(one, range(40))))
