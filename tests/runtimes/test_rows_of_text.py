"""V1 rows with text: what an array of them holds in memory is what came, whatever one element is long."""

from __future__ import annotations

import tracemalloc
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from runtimes import named_tensors
from wakeful import kserve
from wakeful.client import translate
from wakeful.core.errors import InvalidError
from wakeful.serving import tabular_rows
from wakeful.serving.model import TensorSpec

LONG = "x" * 500_000
BYTES_PER_CHARACTER = 4


def of_a_table(rows: list[Any]) -> Any:
    return tabular_rows.of_rows(rows, None)


def of_a_graph(rows: list[Any]) -> Any:
    shape = np.array(rows, dtype=object).shape
    return named_tensors.of_rows(rows, {"x": TensorSpec("x", "BYTES", (-1,) * len(shape))})["x"]


def of_another_protocol(rows: list[Any]) -> Any:
    """What a transformer asks a V2 predictor."""
    tensor = translate.to_v2({"instances": rows}).inputs[0]
    return tensor.data.reshape(tensor.shape)


def of_a_kserve_model(rows: list[Any]) -> Any:
    return kserve.get_predict_input({"instances": rows})


@pytest.mark.parametrize("of_rows", [of_a_table, of_a_graph, of_another_protocol, of_a_kserve_model])
@pytest.mark.parametrize(
    "rows", [["a"] * 99 + [LONG], [["a"]] * 99 + [[LONG]], [["a", "b"]] * 49 + [[LONG, "c"]]]
)
def test_one_long_text_makes_no_others_long(of_rows: Callable[[list[Any]], Any], rows: list[Any]) -> None:
    tracemalloc.start()
    try:
        array = of_rows(rows)
        most = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert array.tolist() == rows
    assert most < 2 * BYTES_PER_CHARACTER * len(LONG)


@pytest.mark.parametrize("rows", [[[1.5]] * 99 + [[LONG]], [[[1.5], ["a"]]] * 50 + [[[2.5], [LONG]]]])
def test_nor_does_one_beside_numbers(rows: list[Any]) -> None:
    tracemalloc.start()
    try:
        with pytest.raises(InvalidError, match="neither all numbers nor all text"):
            named_tensors.of_rows(rows, {"x": TensorSpec("x", "FP32", (-1, -1))})
        assert tabular_rows.of_rows(rows, None).tolist() == rows
        assert tracemalloc.get_traced_memory()[1] < 2 * BYTES_PER_CHARACTER * len(LONG)
    finally:
        tracemalloc.stop()


@pytest.mark.parametrize(
    ("rows", "dtype"),
    [
        ([[1, 2]], "i8"),
        ([1, 2], "i8"),
        ([[1, 2.5]], "f8"),
        ([[True, False]], "?"),
        ([[None, 2]], "f8"),
        ([[[1], [2]]], "i8"),
        ([["a", "bc"]], "<U2"),
        ([["a", 1]], "O"),
        ([[2**70, 1.0]], "f8"),
    ],
)
def test_types_are_what_the_rows_are(rows: list[Any], dtype: str) -> None:
    assert tabular_rows.of_rows(rows, None).dtype == np.dtype(dtype)


@pytest.mark.parametrize("rows", [[[1], [1, 2]], [["a"], ["a", "b"]], [[1], 2], ["a", ["b"]], [[None], []]])
def test_ragged_rows_are_told(rows: list[Any]) -> None:
    with pytest.raises(InvalidError, match="ragged"):
        tabular_rows.of_rows(rows, None)
    with pytest.raises(InvalidError, match="ragged"):
        named_tensors.of_rows(rows, {"x": None})


@pytest.mark.parametrize("value", [1, "a", None])
@pytest.mark.parametrize("levels", [40, 900])
def test_rows_too_deep_for_an_array_are_told_or_kept(value: Any, levels: int) -> None:
    rows: list[Any] = [value]
    for _ in range(levels - 1):
        rows = [rows]
    for of_rows in (of_a_table, lambda rows: named_tensors.of_rows(rows, {"x": None})["x"]):
        if levels > 64:
            with pytest.raises(InvalidError):
                of_rows(rows)
        else:
            assert of_rows(rows).shape == (1,) * levels


def test_the_answer_of_a_kserve_model_with_one_long_text_is_as_long_as_it_is() -> None:
    texts = ["a"] * 999 + [LONG]
    tracemalloc.start()
    try:
        answer = kserve.get_predict_response(kserve.InferRequest("m", []), texts, "m")
        most = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert isinstance(answer, kserve.InferResponse)
    assert answer.outputs[0].data[-1] == LONG
    assert most < 4 * BYTES_PER_CHARACTER * len(LONG)


@pytest.mark.parametrize(
    "payload",
    [
        {"instances": [[1], [1, 2]]},
        {"inputs": [["a"], "b"]},
        {},
        {"instances": "text"},
        {"instances": [["a"], ["b", "c"]]},
    ],
)
def test_a_kserve_model_refuses_rows_of_no_one_shape(payload: dict[str, Any]) -> None:
    with pytest.raises(InvalidError, match="rows"):
        kserve.get_predict_input(payload)
