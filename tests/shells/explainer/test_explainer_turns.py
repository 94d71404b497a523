"""Explanations under load: one at a time, a bounded queue, deadlines, callers that go. Without SHAP and LIME: the method is a stand-in.

The server is real, in the test's own loop; so is the predictor, which answers when the test lets it.
"""

from __future__ import annotations

import asyncio
import threading
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import aiohttp
import numpy as np
import pytest
from waiting_rig import until

from runtimes.explainer.model import TabularExplainer
from runtimes.explainer.settings import ExplainerSettings
from wakeful import Context, Model
from wakeful.serving.server import Server
from wakeful.serving.settings import Settings

LOOPBACK: dict[str, Any] = {"http_port": 0, "http_address": "127.0.0.1", "drain_s": 2.0, "drain_quiet_s": 0.0}
PATH = "/v1/models/m:explain"


class Gated(Model):
    """A predictor whose answers wait for ``gate``."""

    def __init__(self) -> None:
        super().__init__("m")
        self.gate = asyncio.Event()
        self.asked = self.under_way = 0

    async def predict(self, payload: Any, context: Context) -> Any:
        self.asked += 1
        self.under_way += 1
        try:
            await self.gate.wait()
        finally:
            self.under_way -= 1
        return {"predictions": [sum(row) + 0.5 for row in payload["instances"]]}


class Sums:
    """A method that asks once a row, and holds its thread before each until there is a permit."""

    permits = threading.Semaphore(1000)

    def explain(self, rows: Any, sample: Any, predict: Any, wanted: Any) -> list[dict[str, Any]]:
        found = []
        for row in rows:
            assert self.permits.acquire(timeout=10)
            found.append({"sum": predict(np.tile(row + 1, (wanted.samples, 1))).sum()})
        return found


class Rig:
    def __init__(
        self, server: Server, session: aiohttp.ClientSession, predictor: Gated, method: Sums
    ) -> None:
        self.server, self.session, self.predictor, self.method = server, session, predictor, method

    async def in_flight(self, count: int) -> None:
        await until(lambda: self.server.edge.flights.count == count, 10, f"{count} requests in flight")

    async def explain(self, payload: Any, **headers: str) -> tuple[int, Any, Any]:
        async with self.session.post(PATH, json=payload, headers=headers) as answer:
            return answer.status, await answer.json(), answer.headers


@asynccontextmanager
async def explaining(folder: Path, **flags: Any) -> AsyncIterator[Rig]:
    (folder / "background.csv").write_text("a,b\n1,2\n3,4\n")
    predictor, method = Gated(), Sums()
    upstream = Server([predictor], Settings(**LOOPBACK), {})
    await upstream.load()
    await upstream.listen()
    settings = ExplainerSettings(
        **LOOPBACK,
        model_name="m",
        model_dir=str(folder),
        predictor_host=f"127.0.0.1:{upstream.port}",
        **flags,
    )

    server = Server([TabularExplainer(settings, lambda *_: method)], settings, {})
    await server.load()
    await server.listen()
    async with aiohttp.ClientSession(f"http://127.0.0.1:{server.port}") as session:
        try:
            yield Rig(server, session, predictor, method)
        finally:
            predictor.gate.set()
            await server.drain()
            await upstream.drain()


ROW = {"instances": [[1.0, 2.0]], "parameters": {"samples": 4}}


async def test_one_at_a_time_and_the_next_after_the_queue_is_refused(tmp_path: Path) -> None:
    async with explaining(tmp_path, max_waiting=2) as rig:
        asking = [asyncio.create_task(rig.explain(ROW)) for _ in range(3)]
        await until(lambda: rig.predictor.asked == 1, 10, "the first to ask")
        await rig.in_flight(3)
        status, body, headers = await rig.explain(ROW)
        assert status == 503
        assert "3 requests are running or waiting, which is the limit" in body["error"]
        assert headers["Retry-After"] == "1"
        assert (await rig.session.get("/v2/health/ready")).status == 200
        assert rig.predictor.asked == 1
        rig.predictor.gate.set()
        answers = await asyncio.gather(*asking)
        assert [answer[0] for answer in answers] == [200, 200, 200]
        assert answers[0][1]["explanations"] == [{"sum": 4 * 5.5}]


async def test_a_late_one_says_how_far_it_came_and_what_to_lower(tmp_path: Path) -> None:
    async with explaining(tmp_path) as rig:
        status, body, _ = await rig.explain(ROW, **{"X-Request-Timeout": "1"})
        assert status == 504
        assert body["error"].endswith(
            'the predictor was asked 1 times, for 3 rows in all; ask for fewer rows (now 1) or fewer "samples" (now 4)'
        )
        await until(lambda: rig.predictor.under_way == 0, 5, "the predictor's call to be given up")
        waiting = asyncio.create_task(rig.explain(ROW))
        await until(lambda: rig.predictor.asked == 2, 5, "the next to ask")
        status, body, _ = await rig.explain(ROW, **{"X-Request-Timeout": "0.2"})
        assert (status, "1 explanations were before it" in body["error"]) == (504, True), body
        rig.predictor.gate.set()
        assert (await waiting)[0] == 200


async def test_who_has_gone_costs_no_further_step(tmp_path: Path) -> None:
    async with explaining(tmp_path) as rig:
        rig.predictor.gate.set()
        rig.method.permits = threading.Semaphore(2)
        gone = asyncio.create_task(rig.explain({"instances": [[1.0, 2.0]] * 16}))
        await until(lambda: rig.predictor.asked == 3, 10, "two rows to be explained")
        gone.cancel()
        await rig.in_flight(0)
        rig.method.permits.release(1000)
        assert (await rig.explain(ROW))[0] == 200
        assert rig.predictor.asked == 5


async def test_the_loop_is_free_while_a_thread_computes(tmp_path: Path) -> None:
    async with explaining(tmp_path) as rig:
        rig.predictor.gate.set()
        rig.method.permits = threading.Semaphore(0)
        busy = asyncio.create_task(rig.explain(ROW))
        await until(lambda: rig.predictor.asked == 1, 10, "the explanation to begin")
        assert (await rig.session.get("/v2/health/live")).status == 200
        async with rig.session.post("/v1/models/m:predict", json={"instances": [[1, 2]]}) as answer:
            assert await answer.json() == {"predictions": [3.5]}
        assert not busy.done()
        rig.method.permits.release()
        assert (await busy)[0] == 200


async def test_who_was_unloaded_and_loaded_again_explains(tmp_path: Path) -> None:
    async with explaining(tmp_path) as rig:
        rig.predictor.gate.set()
        assert (await rig.explain(ROW))[0] == 200
        await rig.server.registry.unload("m", 1.0)
        assert (await rig.explain(ROW))[0] == 503
        await rig.server.registry.load("m", in_thread=True)
        assert (await rig.explain(ROW, **{"X-Request-Timeout": "10"}))[0] == 200


@pytest.mark.parametrize(
    ("payload", "words"),
    [
        ({"samples": 5}, '"samples" stands beside "instances": it belongs in "parameters"'),
        ({"target": 1}, '"target" stands beside "instances"'),
        ({"parameters": [1]}, '"parameters" is an array: it takes an object with samples, target'),
        ({"parameters": {"output": "x"}}, "parameters has 'output', which shap does not take"),
        (
            {"parameters": {"seed": 1}},
            "parameters has 'seed', which shap does not take; it takes samples, target",
        ),
        (
            {"parameters": {"samples": 3000}},
            "parameters.samples is 3000: it takes a whole number from 4 to 2048",
        ),
        ({"parameters": {"samples": 3}}, "from 4 to 2048"),
        ({"parameters": {"samples": True}}, "parameters.samples is True"),
        ({"parameters": {"samples": 8.0}}, "parameters.samples is 8.0"),
        ({"parameters": {"samples": "9" * 500}}, "parameters.samples is '999"),
    ],
)
async def test_a_wrong_parameter_is_told_with_its_place(tmp_path: Path, payload: Any, words: str) -> None:
    async with explaining(tmp_path) as rig:
        status, body, _ = await rig.explain({"instances": [[1.0, 2.0]], **payload})
        assert (status, words in body["error"]) == (400, True), body
        assert len(body["error"]) < 200
        assert rig.predictor.asked == 0
