"""Batches in the data plane: who is together, who gets which answer or error, deadlines and cancellation."""

from __future__ import annotations

import asyncio
import threading
from typing import Any

import pytest
from batching_rig import INTERNAL, AsyncDoubling, Doubling, ask, plane_of
from prometheus_client import generate_latest
from waiting_rig import until

from wakeful.core.errors import FailureKind
from wakeful.serving.model import Context, Model
from wakeful.serving.parts import Joining


class Unloadable(Model):
    """Divides by what ``unload`` takes away; waits at the gate with what it had then."""

    def __init__(self, is_batched: bool) -> None:
        super().__init__("m")
        self.batching = Joining(max_batch_size=1) if is_batched else None
        self.weight: int | None = 1
        self.gate = threading.Event()
        self.is_running = False

    def predict(self, payload: Any, context: Context) -> Any:
        weight, self.is_running = self.weight, True
        self.gate.wait(20)
        return payload / weight  # type: ignore[operator]

    def unload(self) -> None:
        self.weight = None


def batches(model: Model) -> list[Any]:
    return model.batching.batches  # type: ignore[union-attr, attr-defined, no-any-return]


@pytest.mark.parametrize(
    "model", [Doubling(), Doubling(is_brief=True), AsyncDoubling()], ids=["thread", "brief", "async"]
)
async def test_what_waits_is_answered_together_each_with_its_own(model: Model) -> None:
    plane = plane_of(model)
    for _ in range(3):
        assert await asyncio.gather(*(ask(plane, n) for n in range(100, 120))) == [
            n * 2 for n in range(100, 120)
        ]
    assert max(map(len, batches(model))) == 8
    assert sorted(n for batch in batches(model) for n in batch) == sorted(3 * list(range(100, 120)))
    assert plane.pool.calls == 0
    plane.close()


async def test_a_free_model_adds_no_delay() -> None:
    model = Doubling(is_brief=True)
    plane = plane_of(model)
    assert [await ask(plane, 1) for _ in range(3)] == [2, 2, 2]
    assert batches(model) == [[1], [1], [1]]
    assert "MainThread" in model.batching.threads  # known to be brief after the first
    plane.close()


async def test_a_moment_without_a_processor_sends_no_call_to_a_thread() -> None:
    model = Doubling(is_brief=True)
    plane = plane_of(model)
    assert [await ask(plane, 1) for _ in range(2)] == [2, 2]
    model.batching.gate.clear()
    threading.Timer(0.1, model.batching.gate.set).start()  # the loop stands still, as on a busy machine
    assert await ask(plane, 1) == 2
    model.batching.threads.clear()
    assert [await ask(plane, 1) for _ in range(5)] == [2] * 5
    assert model.batching.threads == {"MainThread"}
    plane.close()


async def test_types_never_mix() -> None:
    model = Doubling()
    plane = plane_of(model)
    assert await asyncio.gather(*(ask(plane, n) for n in (1, 1.5, 2, 2.5))) == [2, 3.0, 4, 5.0]
    assert sorted(map(len, batches(model))) == [2, 2]
    plane.close()


@pytest.mark.parametrize(
    "model", [Doubling(), Doubling(is_brief=True), AsyncDoubling()], ids=["thread", "brief", "async"]
)
async def test_an_error_goes_to_the_request_that_caused_it_alone(model: Model) -> None:
    plane = plane_of(model)
    await ask(plane, 1)
    await ask(plane, 1)
    numbers = [1, 2, 13, 4, 5, 6, 7, 8]
    answers = await asyncio.gather(*(ask(plane, n) for n in numbers))
    assert answers.pop(2) == (INTERNAL, "ValueError : 13 brings bad luck")
    assert answers == [2, 4, 8, 10, 12, 14, 16]
    assert plane.pool.calls == 0
    plane.close()


@pytest.mark.parametrize("is_batched", [True, False])
async def test_what_waits_when_its_model_is_unloaded_is_told_so(
    is_batched: bool, capsys: pytest.CaptureFixture[str]
) -> None:
    """503 as for those that come later, not the 500 of a model that has nothing to compute with any more."""
    model = Unloadable(is_batched)
    plane = plane_of(model, threads=1)
    first = asyncio.create_task(ask(plane, 1))
    await until(lambda: model.is_running)
    waiting = asyncio.create_task(ask(plane, 2))
    await until(lambda: plane.pool.calls == 2)
    await plane.registry.unload("m")
    model.gate.set()
    wanted = (FailureKind.NOT_READY, "Model with name m is not ready.")
    assert (await first, await waiting) == (1, wanted)
    assert "model raised" not in capsys.readouterr().err
    plane.close()


async def test_a_payload_that_cannot_be_taken_apart_never_reaches_the_batch() -> None:
    model = Doubling()
    plane = plane_of(model)
    answers = await asyncio.gather(ask(plane, 1), ask(plane, "x"), ask(plane, 2))
    assert answers == [2, (FailureKind.INVALID, "x is text"), 4]
    assert batches(model) == [[1, 2]]
    assert plane.pool.calls == 0
    plane.close()


@pytest.mark.parametrize("model", [Doubling(), AsyncDoubling()], ids=["thread", "async"])
async def test_what_has_to_go_alone_does(model: Model) -> None:
    plane = plane_of(model)
    assert await asyncio.gather(ask(plane, None), ask(plane, 1)) == [["alone", None], 2]
    plane.close()


async def test_wrong_number_of_answers_is_an_error_for_each_and_ends_batching() -> None:
    class Short(Doubling):
        pass

    model = Short()
    whole = model.batching.answer
    model.batching.answer = lambda parts: whole(parts) if len(parts) == 1 else []  # type: ignore[method-assign]
    plane = plane_of(model)
    for _ in range(4):
        assert await asyncio.gather(ask(plane, 1), ask(plane, 2)) == [2, 4]
    assert all(len(batch) == 1 for batch in batches(model))
    assert plane._batchers["m"].queue.max_rows == 1
    plane.close()


async def test_max_latency_waits_for_company_and_a_full_batch_goes_at_once() -> None:
    model = Doubling(max_latency_s=0.05, max_batch_size=3)
    plane = plane_of(model)
    loop = asyncio.get_running_loop()
    began = loop.time()
    assert await ask(plane, 1) == 2
    assert 0.05 <= loop.time() - began < 5
    first = asyncio.create_task(ask(plane, 1))
    await asyncio.sleep(0)
    assert await asyncio.gather(ask(plane, 2), ask(plane, 3)) == [4, 6]
    assert await first == 2
    assert batches(model) == [[1], [1, 2, 3]]
    plane.close()


async def test_late_requests_are_dropped_before_the_model() -> None:
    model = Doubling(waits=True)
    plane = plane_of(model)
    running = asyncio.create_task(ask(plane, 1))
    await until(lambda: len(batches(model)) == 1)
    deadline = asyncio.get_running_loop().time() + 0.02
    late = asyncio.create_task(ask(plane, 2, deadline))
    patient = asyncio.create_task(ask(plane, 3))
    assert await late == (FailureKind.DEADLINE, "model m gave no answer before the request's deadline")
    model.batching.gate.set()
    assert (await running, await patient) == (2, 6)
    assert batches(model) == [[1], [3]]
    assert plane.pool.calls == 0
    plane.close()


async def test_timeout_of_the_server_is_a_deadline_too_and_the_thread_keeps_its_place() -> None:
    model = Doubling(waits=True)
    plane = plane_of(model, timeout_s=0.05)
    assert await ask(plane, 1) == (FailureKind.DEADLINE, "model m gave no answer within 0.05 s")
    assert plane.pool.calls == 1
    model.batching.gate.set()
    await until(lambda: plane.pool.calls == 0)
    plane.close()


async def test_a_cancelled_request_leaves_the_queue() -> None:
    model = Doubling(waits=True)
    plane = plane_of(model)
    running = asyncio.create_task(ask(plane, 1))
    await until(lambda: len(batches(model)) == 1)
    told: list[Any] = []
    call = plane.submit(plane.registry.ready("m"), "predict", 2, Context({}), told.append)
    assert plane.pool.calls == 2
    call.cancel()
    call.cancel()
    assert plane.pool.calls == 1
    model.batching.gate.set()
    assert await running == 2
    await until(lambda: plane.pool.calls == 0)
    assert (told, batches(model)) == ([], [[1]])
    plane.close()


async def test_an_answer_that_its_edge_cannot_take_costs_nobody_else_theirs() -> None:
    model = Doubling()
    plane = plane_of(model)
    told: list[Any] = []

    def broken(_answer: Any) -> None:
        raise RuntimeError("the edge is wrong")

    plane.submit(plane.registry.ready("m"), "predict", 1, Context({}), broken)
    plane.submit(plane.registry.ready("m"), "predict", 2, Context({}), told.append)
    await until(lambda: told == [4])
    assert batches(model) == [[1, 2]]
    plane.close()


async def test_places_are_bounded() -> None:
    model = Doubling(waits=True)
    plane = plane_of(model, threads=1, max_waiting=2)
    tasks = [asyncio.create_task(ask(plane, n)) for n in range(3)]
    await until(lambda: plane.pool.calls == 3)
    kind, text = await ask(plane, 4)
    assert kind is FailureKind.OVERLOADED and text.startswith("3 requests are running or waiting")
    model.batching.gate.set()
    assert await asyncio.gather(*tasks) == [0, 2, 4]
    plane.close()


async def test_stages_around_a_batched_predict_run_for_each_request() -> None:
    class Staged(Doubling):
        def preprocess(self, payload: Any, context: Context) -> Any:
            return payload + 1

        async def postprocess(self, result: Any, context: Context) -> Any:
            return {"is": result}

    model = Staged()
    plane = plane_of(model)
    assert await asyncio.gather(*(ask(plane, n) for n in range(4))) == [{"is": 2 * (n + 1)} for n in range(4)]
    assert (await ask(plane, 12))[0] is INTERNAL
    assert plane.pool.calls == 0
    plane.close()


async def test_batches_are_counted() -> None:
    model = Doubling()
    plane = plane_of(model)
    await asyncio.gather(*(ask(plane, n) for n in range(3)))
    page = generate_latest(plane.metrics.registry).decode()
    assert 'wakeful_serving_batches_total{model_name="m",reason="free"} 1.0' in page
    assert 'wakeful_serving_batch_rows_bucket{le="4.0",model_name="m"} 1.0' in page
    assert 'wakeful_serving_queue_seconds_count{model_name="m"} 3.0' in page
    assert 'request_predict_seconds_count{model_name="m"} 3.0' in page
    plane.close()
