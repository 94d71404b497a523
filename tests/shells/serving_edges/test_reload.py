"""Models that are loaded anew and unloaded by request while they are asked: nobody's request is lost or mixed up."""

from __future__ import annotations

import asyncio
import threading
import time
from collections.abc import AsyncIterator, Callable, Sequence
from functools import partial
from typing import Any

import pytest
from waiting_rig import until

from wakeful import kserve
from wakeful.kserve.model import Served
from wakeful.serving import Context, Model
from wakeful.serving.parts import Batching, Joining, Part

CALLERS = 16


class Versioned(Model):
    """Answers with the number of its load, which two attributes hold that have to agree; slow to load."""

    def __init__(self, name: str, batching: Batching | Joining | None = None) -> None:
        super().__init__(name)
        self.batching = batching
        self.loads = 0
        self.first = self.second = 0
        self.fails = False
        self.gate = threading.Event()
        self.gate.set()
        self.running = 0

    def load(self) -> None:
        self.loads += 1
        self.first = self.loads
        time.sleep(0.05)  # half loaded: whoever asks now gets a mixture
        if self.fails:
            raise ValueError("the new file is damaged")
        self.second = self.loads

    def predict(self, payload: Any, context: Context) -> Any:
        seen, rows = self.first, len(payload["instances"])
        self.running += 1
        self.gate.wait(10)
        self.running -= 1
        if seen != self.second:
            raise RuntimeError("two loads in one answer")
        return {"predictions": [seen] * rows}

    def unload(self) -> None:
        self.second = -1


class AtLoad(Versioned):
    """Its parts remember the load they were made for."""

    def __init__(self, name: str) -> None:
        super().__init__(name)
        self.batching = _Parts(self)


class _Parts:
    max_batch_size = 8
    max_latency_s = 0.0
    is_brief = True

    def __init__(self, model: Versioned) -> None:
        self._model = model

    def part(self, payload: Any, context: Context) -> Part:
        return Part(payload, self._model.loads, 1, "one")

    def answer(self, parts: Sequence[Part]) -> list[Any]:
        time.sleep(0.002)
        if {part.value for part in parts} != {self._model.second}:
            raise RuntimeError("taken apart for another load")
        return [{"predictions": [part.value]} for part in parts]


class Streaming(Model):
    def __init__(self, name: str) -> None:
        super().__init__(name)
        self.goes_on = asyncio.Event()
        self.is_unloaded = False

    async def predict(self, payload: Any, context: Context) -> Any:
        async def parts() -> AsyncIterator[str]:
            yield "one "
            await self.goes_on.wait()
            yield "unloaded" if self.is_unloaded else "two"

        return parts()

    def unload(self) -> None:
        self.is_unloaded = True


MODELS: dict[str, Callable[[], Versioned]] = {
    "alone": lambda: Versioned("m"),
    "joined": lambda: Versioned("m", Joining(8)),
    "parts": lambda: AtLoad("m"),
}


async def asked(client: Any) -> tuple[int, Any]:
    status, body, _ = await client.ask("POST", "/v1/models/m:predict", json={"instances": [1]})
    return status, body


@pytest.mark.parametrize("kind", MODELS)
async def test_a_reload_under_traffic_fails_nobody(start: Any, kind: str) -> None:
    client = await start(MODELS[kind](), enable_repository=True)
    answers: list[tuple[int, Any]] = []
    is_over = False

    async def caller() -> None:
        while not is_over:
            answers.append(await asked(client))

    def has_grown(size: int) -> bool:
        return len(answers) >= size

    callers = [asyncio.create_task(caller()) for _ in range(CALLERS)]
    for _ in range(4):
        before = len(answers)
        await until(partial(has_grown, before + 2 * CALLERS))
        assert (await client.ask("POST", "/v2/repository/models/m/load"))[0] == 200
    is_over = True
    await asyncio.gather(*callers)
    assert {status for status, _ in answers} == {200}
    assert {body["predictions"][0] for _, body in answers} >= {1, 2, 3, 4}


@pytest.mark.parametrize("kind", MODELS)
async def test_a_reload_that_fails_leaves_the_model_as_it_was(start: Any, kind: str) -> None:
    model = MODELS[kind]()
    client = await start(model, enable_repository=True)
    model.fails = True
    status, body, _ = await client.ask("POST", "/v2/repository/models/m/load")
    assert status == 503
    assert "ValueError: the new file is damaged" in body["error"]
    assert "the model that was loaded before answers on" in body["error"]
    assert await asked(client) == (200, {"predictions": [1]})
    assert (await client.ask("GET", "/v2/models/m/ready"))[0] == 200


async def test_a_reload_waits_for_a_busy_model_only_so_long(start: Any) -> None:
    model = Versioned("m")
    client = await start(model, enable_repository=True, drain_s=0.2)
    model.gate.clear()
    slow = asyncio.create_task(asked(client))
    await until(lambda: model.running)
    status, body, response = await client.ask("POST", "/v2/repository/models/m/load")
    assert (status, response.headers["Retry-After"]) == (503, "1")
    assert "still answers 1 requests after 0.2 s" in body["error"]
    model.gate.set()
    assert await slow == (200, {"predictions": [1]})
    assert model.loads == 1


@pytest.mark.parametrize("batching", [None, Joining(1)], ids=["alone", "queued"])
async def test_unloading_lets_the_model_answer_what_it_has(start: Any, batching: Joining | None) -> None:
    model = Versioned("m", batching)
    client = await start(model, enable_repository=True)
    model.gate.clear()
    had = [asyncio.create_task(asked(client)) for _ in range(3)]
    await until(lambda: model.running and client.server.pool.calls == 3)
    unloading = asyncio.create_task(client.ask("POST", "/v2/repository/models/m/unload"))
    await until(lambda: not client.server.registry.is_ready())
    status, body, response = await client.ask("POST", "/v1/models/m:predict", json={"instances": [1]})
    assert (status, body["error"]) == (503, "Model with name m is not ready.")
    assert int(response.headers["Retry-After"]) >= 1
    again = await client.ask("POST", "/v2/repository/models/m/load")
    assert (again[0], "is unloading already" in again[1]["error"]) == (503, True)
    assert not unloading.done()
    model.gate.set()
    assert await asyncio.gather(*had) == [(200, {"predictions": [1]})] * 3
    assert (await unloading)[0] == 200
    assert (await client.ask("POST", "/v2/repository/models/m/load"))[0] == 200
    assert await asked(client) == (200, {"predictions": [2]})


async def test_unloading_waits_only_so_long(start: Any) -> None:
    model = Versioned("m")
    client = await start(model, enable_repository=True, drain_s=0.2)
    model.gate.clear()
    slow = asyncio.create_task(asked(client))
    await until(lambda: model.running)
    assert (await client.ask("POST", "/v2/repository/models/m/unload"))[0] == 200
    model.gate.set()
    assert (await slow)[0] == 503


async def test_an_answer_in_parts_is_finished_with_the_model_that_began_it(start: Any) -> None:
    model = Streaming("m")
    client = await start(model, enable_repository=True)
    async with client.session.post("/v1/models/m:predict", json={"instances": [1]}) as response:
        assert await response.content.readany() == b"one "
        unloading = asyncio.create_task(client.ask("POST", "/v2/repository/models/m/unload"))
        await until(lambda: not client.server.registry.is_ready())
        model.goes_on.set()
        assert await response.content.read() == b"two"
    assert (await unloading)[0] == 200


async def test_a_caller_who_leaves_does_not_stop_a_load(start: Any) -> None:
    model = Versioned("m")
    client = await start(model, enable_repository=True)
    asking = asyncio.create_task(client.ask("POST", "/v2/repository/models/m/load"))
    await until(lambda: model.loads == 2)
    assert asking.cancel(), "the load is not over yet"
    await until(lambda: model.second == 2)
    assert await asked(client) == (200, {"predictions": [2]})


async def test_what_waits_for_a_reload_has_its_deadline_and_its_own_mistakes(start: Any) -> None:
    model = Versioned("m", Joining(8))
    client = await start(model, enable_repository=True)
    gate = client.server.registry.entry("m").gate
    gate.close()
    late = await client.ask(
        "POST", "/v1/models/m:predict", json={"instances": [1]}, headers={"X-Request-Timeout": "0.1"}
    )
    assert late[0] == 504
    waiting = asyncio.create_task(asked(client))
    await until(lambda: gate.under_way == 1)
    assert gate.busy == 0
    gate.open()
    assert await waiting == (200, {"predictions": [1]})
    assert (gate.under_way, client.server.pool.calls) == (0, 0)


async def test_a_kserve_model_is_loaded_anew_and_keeps_what_it_had_where_that_fails(start: Any) -> None:
    class Mine(kserve.Model):
        loads = 0

        def load(self) -> bool:
            assert threading.current_thread() is not threading.main_thread() or not self.loads
            self.loads += 1
            if self.loads == 3:
                raise ValueError("damaged")
            self.ready = True
            return True

        def predict(self, payload: Any, headers: Any = None, response_headers: Any = None) -> Any:
            return {"predictions": [self.loads]}

    client = await start(Served(Mine("m")), enable_repository=True)
    for load, status, number in ((1, 200, 2), (2, 503, 2)):
        assert (await client.ask("POST", "/v2/repository/models/m/load"))[0] == status, load
        assert await asked(client) == (200, {"predictions": [number]})


async def test_a_model_is_unloaded_once_and_one_that_fails_at_it_says_so(start: Any) -> None:
    class Reluctant(Versioned):
        unloads = 0

        def unload(self) -> None:
            self.unloads += 1
            raise OSError("the device is\nbusy")

    first, second = Versioned("first"), Reluctant("second")
    client = await start(first, second, enable_repository=True)
    status, body, _ = await client.ask("POST", "/v2/repository/models/second/unload")
    assert (status, body["error"]) == (503, "model second failed to unload: OSError: the device is busy")
    assert (await client.ask("POST", "/v2/repository/models/second/unload"))[0] == 200
    assert second.unloads == 1
    assert (await client.ask("POST", "/v2/repository/models/second/load"))[0] == 200
    assert await client.server.drain()
    assert (second.unloads, first.second) == (2, -1), "a failure keeps no other model from ending"


async def test_a_model_whose_code_exits_ends_no_server(start: Any) -> None:
    leaving: list[int] = []

    class Leaving(Versioned):
        def load(self) -> None:
            super().load()
            if leaving:
                raise SystemExit(leaving.pop())

        def unload(self) -> None:
            raise SystemExit(0)

    client = await start(Leaving("m"), enable_repository=True)
    leaving.append(0)
    for verb, words in (
        ("load", "failed to load: SystemExit: 0;"),
        ("unload", "failed to unload: SystemExit: 0"),
    ):
        status, body, _ = await client.ask("POST", f"/v2/repository/models/m/{verb}")
        assert (status, words in body["error"]) == (503, True), body
    assert (await client.ask("POST", "/v2/repository/models/m/load"))[0] == 200
    assert await asked(client) == (200, {"predictions": [2]})
    assert await client.server.drain()
