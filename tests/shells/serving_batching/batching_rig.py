"""A data plane without a wire, and models that batch and misbehave on request."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Sequence
from typing import Any

from wakeful.core.errors import FailureError, FailureKind, InvalidError
from wakeful.serving.dataplane import DataPlane
from wakeful.serving.metrics import Metrics
from wakeful.serving.model import Context, Model
from wakeful.serving.parts import Part
from wakeful.serving.pool import Pool
from wakeful.serving.registry import Registry, State


class Doubling(Model):
    """Answers twice the number; ``bad`` raises, text is refused at the door. Remembers its batches."""

    def __init__(self, name: str = "m", **wishes: Any) -> None:
        super().__init__(name)
        self.batching = DoublingBatching(**wishes)

    def predict(self, payload: Any, context: Context) -> Any:
        return ["alone", payload]


class DoublingBatching:
    def __init__(
        self, is_brief: bool = False, max_batch_size: int = 8, max_latency_s: float = 0.0, waits: bool = False
    ) -> None:
        self.is_brief = is_brief
        self.max_batch_size = max_batch_size
        self.max_latency_s = max_latency_s
        self.batches: list[list[Any]] = []
        self.threads: set[str] = set()
        self.gate = threading.Event()
        if not waits:
            self.gate.set()

    def part(self, payload: Any, context: Context) -> Part | None:
        if isinstance(payload, str):
            raise InvalidError(f"{payload} is text")
        if payload is None:
            return None
        return Part(payload, payload, 1, type(payload).__name__)

    def answer(self, parts: Sequence[Part]) -> Sequence[Any]:
        values = [part.value for part in parts]
        self.batches.append(values)
        self.threads.add(threading.current_thread().name)
        self.gate.wait(20)
        if any(value in (13, 13.0) for value in values):
            raise ValueError("13 brings bad luck")
        return [value * 2 for value in values]


class AsyncDoubling(Model):
    """The same with a coroutine."""

    def __init__(self, name: str = "m") -> None:
        super().__init__(name)
        self.batching = AsyncBatching()

    async def predict(self, payload: Any, context: Context) -> Any:
        return ["alone", payload]


class AsyncBatching(DoublingBatching):
    async def answer(self, parts: Sequence[Part]) -> Sequence[Any]:  # type: ignore[override]
        await asyncio.sleep(0)
        return DoublingBatching.answer(self, parts)


def plane_of(model: Model, threads: int = 4, max_waiting: int = 256, timeout_s: float = 20.0) -> DataPlane:
    plane = DataPlane(Registry([model]), Pool(threads, max_waiting), Metrics(), timeout_s)
    plane.registry.entry(model.name).state = State.READY
    return plane


async def ask(plane: DataPlane, payload: Any, deadline: float | None = None) -> Any:
    """The answer, or the kind and text of the failure."""
    context = Context({})
    context.deadline = deadline
    try:
        return await plane.call(plane.registry.ready("m"), "predict", payload, context)
    except FailureError as error:
        return error.kind, str(error)


INTERNAL = FailureKind.INTERNAL
