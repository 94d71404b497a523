"""Large tensors become rows, and many rows tensors, in a thread: the loop answers others meanwhile. Small ones do not wait for one."""

from __future__ import annotations

import asyncio
import threading
from typing import Any

import numpy as np
import pytest
from batching_rig import ask, plane_of
from waiting_rig import until

from wakeful.core.errors import FailureKind
from wakeful.core.protocol import arrays
from wakeful.serving import InferRequest, InferResponse, Joining, Tensor, translation
from wakeful.serving.dataplane import DataPlane
from wakeful.serving.model import Context, Model

LOOP = "MainThread"
MANY = translation.LOOP_NUMBERS + 1


class Watched(Model):
    """Notes the threads in which it is asked what it takes: those that translate are among them."""

    def __init__(self, form: str) -> None:
        super().__init__("m")
        self._form = form
        self.threads: set[str] = set()

    @property
    def takes(self) -> str:  # type: ignore[override]
        self.threads.add(threading.current_thread().name)
        return self._form

    def predict(self, payload: Any, context: Context) -> Any:
        if isinstance(payload, InferRequest):
            assert self._form == "tensors"
            return InferResponse([arrays.from_array("y", arrays.to_array(t)) for t in payload.inputs])
        assert self._form == "rows"
        return {"predictions": payload["instances"]}


class Joined(Watched):
    batching = Joining()


class Async(Watched):
    async def predict(self, payload: Any, context: Context) -> Any:
        return Watched.predict(self, payload, context)


def raw(count: int) -> InferRequest:
    return InferRequest([Tensor("x", (count,), "FP32", memoryview(np.arange(count, dtype="<f4").tobytes()))])


def text(*elements: bytes) -> InferRequest:
    return InferRequest([Tensor("x", (len(elements),), "BYTES", list(elements))])


@pytest.mark.parametrize("kind", [Watched, Joined, Async])
@pytest.mark.parametrize(
    ("form", "payload", "is_long"),
    [
        ("rows", raw(MANY), True),
        ("rows", raw(8), False),
        ("rows", text(*[b"a"] * 2000), True),
        ("rows", text(b"a" * 1_000_000), True),
        ("rows", text(b"a"), False),
        ("tensors", {"instances": [[1.5, 2]] * 4000}, True),
        ("tensors", {"instances": [[1.5, 2]]}, False),
    ],
    ids=["tensor", "short tensor", "texts", "long text", "text", "rows", "few rows"],
)
async def test_where_it_happens(kind: type[Watched], form: str, payload: Any, is_long: bool) -> None:
    model = kind(form)
    plane = plane_of(model)
    answer = await ask(plane, payload)
    rows = payload if form == "tensors" else translation.to_rows(payload)
    found = translation.to_predictions(answer) if form == "tensors" else answer
    assert found["predictions"] == rows["instances"]
    assert (model.threads != {LOOP}) is is_long
    assert plane.pool.calls == 0
    plane.close()


async def test_what_has_no_rows_is_refused_as_a_small_one_is() -> None:
    plane = plane_of(Watched("rows"))
    for payload in (text(b"\xff", *[b"a"] * 2000), text(b"\xff")):
        assert await ask(plane, payload) == (
            FailureKind.INVALID,
            "input 'x' has BYTES that are not UTF-8 text",
        )
    assert plane.pool.calls == 0
    plane.close()


async def test_a_caller_that_goes_gives_its_place_back_once_the_thread_is_done() -> None:
    plane = plane_of(Watched("rows"), threads=1)
    release = threading.Event()
    plane.pool.enter()
    blocked = asyncio.ensure_future(plane.aside(release.wait))
    await until(lambda: plane.pool.calls == 2)
    asked = asyncio.ensure_future(ask(plane, raw(MANY)))
    await until(lambda: plane.pool.calls == 3)
    asked.cancel()
    with pytest.raises(asyncio.CancelledError):
        await asked
    assert plane.pool.calls == 3
    release.set()
    await blocked
    await until(lambda: plane.pool.calls == 1)
    assert await ask(plane, raw(2)) == {"predictions": [0, 1]}
    plane.close()


async def test_a_deadline_ends_it_while_it_is_translated() -> None:
    plane: DataPlane = plane_of(Watched("rows"), threads=1)
    release = threading.Event()
    blocked = asyncio.ensure_future(plane.aside(release.wait))
    await until(lambda: plane.pool.calls == 1)
    kind, said = await ask(plane, raw(MANY), asyncio.get_running_loop().time() + 0.01)
    assert kind is FailureKind.DEADLINE and "before the request's deadline" in said
    release.set()
    await blocked
    await until(lambda: plane.pool.calls == 0)
    plane.close()


class Counted(np.ndarray[Any, Any]):
    """Notes how much becomes lists in one call, during which no other thread runs."""

    sizes: list[int] = []  # slices of an array are made by numpy: they share it

    def tolist(self) -> Any:
        self.sizes.append(self.size)
        return super().tolist()


@pytest.mark.parametrize(
    "shape", [(400_000,), (100_000, 4), (1, 3, 300, 300), (3, 70_000), (2, 2, 2), (), (0, 5), (70_000, 0), (5,)], ids=str
)  # fmt: skip
def test_lists_are_made_in_pieces(shape: tuple[int, ...]) -> None:
    array = np.arange(np.prod(shape, dtype=int), dtype="<f4").reshape(shape)
    Counted.sizes.clear()
    assert translation.lists_of(array.view(Counted)) == array.tolist()
    assert sum(Counted.sizes) == array.size
    assert max(Counted.sizes) <= translation.PIECE_ELEMENTS
