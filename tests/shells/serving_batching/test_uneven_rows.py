"""V1 rows that are not what the first of them looks like: counted in bounded time on the loop, refused with their place."""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import onnx_models
import pytest
from batching_rig import ask, plane_of
from hypothesis import given
from hypothesis import strategies as st
from onnx_models import node

from runtimes.onnx.model import OnnxModel
from wakeful.core.errors import FailureKind
from wakeful.core.protocol import v1
from wakeful.serving import Context
from wakeful.serving.joining import JoinedPayloads
from wakeful.serving.parts import Batching
from wakeful.serving.registry import Stage
from wakeful.serving.tabular import TabularModel

LIMIT_S = 0.02
MANY = 2_000_000


def nested(depth: int, rows: int) -> list[Any]:
    row: Any = 1.0
    for _ in range(depth):
        row = [row]
    return [row] * rows


ATTACKS: dict[str, Callable[[], list[Any]]] = {
    "first row short": lambda: [[1.0], [1.0] * MANY],
    "last of many": lambda: [*([[1.0]] * 100), [1.0] * MANY],
    "very wide": lambda: [[1.0] * MANY],
    "first number, then a row": lambda: [1.0, [1.0] * MANY],
    "wide below": lambda: [[1.0], [[1.0] * MANY]],
    "wide below all": lambda: [[[1.0]], [[1.0] * MANY]],
    "deep": lambda: nested(1000, 4000),
    "deep after a flat one": lambda: [[1.0], *nested(1000, 4000)],
    "empty rows": lambda: [[]] * MANY,
    "empty below": lambda: [[[]] * MANY],
    "columns": lambda: [{"a": 1.0}, {"a": [1.0] * MANY}],
    "column below": lambda: [{"a": {"0": [1.0] * MANY}}],
    "text, then a row": lambda: ["a", [1.0] * MANY],
}


class Table(TabularModel):
    def compute(self, matrix: Any) -> Any:
        return np.asarray(matrix).sum(axis=1)


def of_tables(folder: Path) -> Batching:
    found = Table("m").batching
    assert found is not None
    return found  # type: ignore[return-value]


def of_graphs(folder: Path) -> Batching:
    shapes = ["n", 2]
    onnx_models.save(
        folder / "model.onnx",
        [node("Add", ["x", "x"], ["y"])],
        [("x", "FP32", shapes)],
        [("y", "FP32", shapes)],
    )
    model = OnnxModel("m", folder, 1)
    model.load()
    assert model.batching is not None
    return model.batching  # type: ignore[return-value]


def of_any_model(folder: Path) -> Batching:
    return JoinedPayloads(Stage("predict", lambda payload, context: payload, False), 8, 0.0)


@pytest.mark.parametrize("make", [of_tables, of_graphs, of_any_model])
@pytest.mark.parametrize("attack", ATTACKS)
def test_looking_at_rows_takes_no_time_on_the_loop(
    attack: str, make: Callable[[Path], Batching], tmp_path: Path
) -> None:
    batching, payload = make(tmp_path), {"instances": ATTACKS[attack]()}
    context = Context({})
    began = time.thread_time()
    part = batching.part(payload, context)
    assert time.thread_time() - began < LIMIT_S
    assert part is None, "it goes alone, in a thread"


@pytest.mark.parametrize(
    ("rows", "words"),
    [
        ([[1.0], [1.0] * 5000], "instances[1] has 5000 values"),
        ([[1.0, 2.0]] * 3 + [[1.0]], "instances[3] has 1 values"),
        ([[1.0], [[1.0] * 5000]], "instances[1][0] is an array"),
        ([1.0, [1.0]], "instances[1]"),
        (nested(40, 1), "has shape"),
        (nested(70, 1), "instances[0][0] is an array"),
        ([[1.0], nested(70, 1)], "instances[1][0] is an array"),
    ],
    ids=["wide second", "narrow last", "nested second", "number first", "deep", "deeper", "deep second"],
)
async def test_they_are_refused_with_their_place(rows: list[Any], words: str) -> None:
    model = Table("m")
    model.width = 2
    plane = plane_of(model)
    try:
        kind, text = await ask(plane, {"instances": rows})
    finally:
        plane.close()
    assert (kind, words in text) == (FailureKind.INVALID, True), text


VALUES = st.recursive(
    st.one_of(st.none(), st.booleans(), st.integers(), st.text(max_size=3)),
    lambda inner: st.one_of(st.lists(inner), st.dictionaries(st.text(max_size=2), inner)),
    max_leaves=30,
)


def counted(value: Any) -> int:
    match value:
        case list():
            return sum(1 + counted(item) for item in value)
        case dict():
            return sum(counted([item]) for item in [*value.values()])
        case _:
            return 0


@given(st.lists(VALUES), st.integers(0, 60))
def test_the_count_is_of_all_values_at_all_levels(values: list[Any], limit: int) -> None:
    total = counted(values)
    found = v1.holds_at_most(values, limit)
    if total <= limit:
        assert found
    if found:
        assert total <= limit
