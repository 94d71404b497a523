"""Models that answer in parts: generators of every kind, from ``predict`` and from ``stream``."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from typing import Any

import aiohttp
import pytest
from waiting_rig import until

from wakeful import Context, Model

Start = Callable[..., Awaitable[str]]


class SyncGenerator(Model):
    def __init__(self, name: str) -> None:
        super().__init__(name)
        self.closed = threading.Event()
        self.threads: set[str] = set()

    def predict(self, payload: Any, context: Context) -> Iterator[str]:  # type: ignore[override]
        try:
            for number in range(payload["count"]):
                self.threads.add(threading.current_thread().name)
                yield f"{number} "
        finally:
            self.closed.set()


class AsyncGenerator(Model):
    async def predict(self, payload: Any, context: Context) -> AsyncIterator[Any]:  # type: ignore[override]
        for number in range(3):
            await asyncio.sleep(0)
            yield {"token": number}


class Both(Model):
    """Answers whole or in parts, as the caller asks."""

    def predict(self, payload: Any, context: Context) -> Any:
        return {"predictions": ["whole"]}

    def stream(self, payload: Any, context: Context) -> Iterator[dict[str, str]]:
        yield {"part": "one"}
        yield {"part": "two"}


class BothAsync(Both):
    async def predict(self, payload: Any, context: Context) -> Any:
        return {"predictions": ["whole"]}


async def post(url: str, json: Any, **headers: str) -> tuple[int, str, str]:
    async with aiohttp.ClientSession() as session, session.post(url, json=json, headers=headers) as response:
        return response.status, response.headers["Content-Type"], await response.text()


async def test_a_sync_generator_is_stepped_in_threads(start: Start) -> None:
    model = SyncGenerator("m")
    base = await start(model)
    status, kind, text = await post(f"{base}/v1/models/m:predict", {"count": 4})
    assert (status, text) == (200, "0 1 2 3 ")
    assert kind.startswith("text/event-stream")
    assert all(name.startswith("model-") for name in model.threads)
    assert model.closed.is_set()


async def test_parts_with_a_json_form_are_events(start: Start) -> None:
    base = await start(AsyncGenerator("m"))
    _, _, text = await post(f"{base}/v1/models/m:predict", {})
    assert text == 'data: {"token":0}\n\ndata: {"token":1}\n\ndata: {"token":2}\n\n'


@pytest.mark.parametrize("kind", [Both, BothAsync])
async def test_the_caller_chooses_between_whole_and_parts(start: Start, kind: type[Model]) -> None:
    url = f"{await start(kind('m'))}/v1/models/m:predict"
    assert (await post(url, {}))[2] == '{"predictions":["whole"]}'
    streamed = 'data: {"part":"one"}\n\ndata: {"part":"two"}\n\n'
    assert (await post(url, {"stream": True}))[2] == streamed
    assert (await post(url, {}, Accept="text/event-stream"))[2] == streamed


class Endless(Model):
    """Parts without end, after a wait; says when it was closed."""

    def __init__(self, name: str) -> None:
        super().__init__(name)
        self.closed = threading.Event()

    async def stream(self, payload: Any, context: Context) -> AsyncIterator[str]:
        try:
            await asyncio.sleep(payload.get("wait", 0))
            while True:
                yield "part "
                await asyncio.sleep(0.01)
        finally:
            self.closed.set()


async def test_a_stream_ends_at_the_deadline(start: Start) -> None:
    for model in (Endless("m"), SyncGenerator("m")):
        url = f"{await start(model)}/v1/models/m:predict"
        with pytest.raises(
            aiohttp.ClientPayloadError
        ):  # the status is sent: only a cut says that this is not the end
            await post(url, {"stream": True, "count": 10**9}, **{"X-Request-Timeout": "0.3"})
        await until(model.closed.is_set, 5, "the generator to be closed")
    model = Endless("m")
    url = f"{await start(model)}/v1/models/m:predict"
    status, _, text = await post(url, {"stream": True, "wait": 60}, **{"X-Request-Timeout": "0.2"})
    assert status == 504 and "deadline" in text and model.closed.is_set()


async def test_a_reader_that_leaves_ends_the_generator(start: Start) -> None:
    model = SyncGenerator("m")
    base = await start(model)
    async with aiohttp.ClientSession() as session:
        response = await session.post(f"{base}/v1/models/m:predict", json={"count": 10**9})
        assert await response.content.readexactly(4) == b"0 1 "
        response.close()
        await until(model.closed.is_set, 5, "the generator to be closed")
