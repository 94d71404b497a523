"""The explainer without its libraries: background files, settings, how answers become numbers. No shap, no lime."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from runtimes.explainer import background, methods
from runtimes.explainer.explaining import Course
from runtimes.explainer.model import Asking, TabularExplainer, _labels
from runtimes.explainer.settings import ExplainerSettings
from wakeful import Context, FailureError, InvalidError, LoadError
from wakeful.core.errors import FailureKind


def test_a_csv_has_names_and_numbers(tmp_path: Path) -> None:
    (tmp_path / "background.csv").write_text('"a", b\n1,2\n3,4\n\n5,6\n')
    found = background.load(tmp_path)
    assert found.names == ("a", "b")
    assert found.evenly(2).tolist() == [[1, 2], [5, 6]]
    assert found.evenly(9).tolist() == [[1, 2], [3, 4], [5, 6]]


def test_rows_by_column_name_are_put_in_order(tmp_path: Path) -> None:
    (tmp_path / "background.csv").write_text("a,b\n1,2\n3,4\n")
    found = background.load(tmp_path)
    assert found.in_order([{"b": 2, "a": 1}, {"a": 3, "b": 4}]) == [[1, 2], [3, 4]]
    assert found.in_order([[1, 2]]) == [[1, 2]]
    for row in ({"a": 1}, {"a": 1, "b": 2, "c": 3}, [1, 2]):
        with pytest.raises(
            InvalidError, match=r"instances\[1\] is not an object of the background's columns a, b"
        ):
            found.in_order([{"a": 1, "b": 2}, row])


def test_a_matrix_names_its_columns_by_place(tmp_path: Path) -> None:
    np.save(tmp_path / "background.npy", np.ones((2, 3)))
    assert background.load(tmp_path).names == ("feature 0", "feature 1", "feature 2")


@pytest.mark.parametrize(
    ("name", "content", "words"),
    [
        ("", b"", "no background file"),
        ("background.csv", b"", "cannot be read"),
        ("background.csv", b"a,b\n1,2\n", "two or more rows"),
        ("background.csv", b"a,b\n1,2\n1\n", "a row has not 2 columns"),
        ("background.csv", b"a\nx\ny\n", "cannot be read as a matrix of numbers"),
        ("background.csv", b"a\nnan\n1\n", "finite"),
        ("background.csv", b"\xff\xfe", "cannot be read"),
        ("background.npy", b"junk", "cannot be read"),
    ],
)
def test_a_wrong_background_is_one_sentence(tmp_path: Path, name: str, content: bytes, words: str) -> None:
    if name:
        (tmp_path / name).write_bytes(content)
    with pytest.raises(LoadError, match=words):
        background.load(tmp_path)


def test_a_pickled_matrix_is_never_unpickled(tmp_path: Path) -> None:
    np.save(tmp_path / "background.npy", np.array([[{}], [{}]], dtype=object), allow_pickle=True)
    with pytest.raises(LoadError, match="cannot be read"):
        background.load(tmp_path)


@pytest.mark.parametrize(
    ("method", "words"),
    [
        ("tea leaves", "it takes shap, lime, integrated_gradients$"),
        ("anchors", "no library of anchors with an open licence and a living project"),
        ("integrated_gradients", "needs the package torch, .* pip install torch captum$"),
        ("shap", "needs the package shap"),
    ],
)
def test_a_method_that_is_not_here_is_one_sentence(method: str, words: str) -> None:
    with pytest.raises(LoadError, match=words):
        methods.check(method)


def test_a_table_is_explained_by_asking_a_predictor() -> None:
    with pytest.raises(LoadError, match="give --predictor_host"):
        TabularExplainer(ExplainerSettings())


@pytest.mark.parametrize(
    ("answers", "labels"),
    [
        ([0, 1, 2, 1], [0, 1, 2]),
        (["b", "a"], ["a", "b"]),
        ([0.5, 1.0], None),
        (list(range(60)), None),
        ([True, False], [False, True]),
        ([{"a": 1}], None),
        ([[0.5, 0.5]], None),
    ],
)
def test_labels_are_told_from_numbers(answers: list[Any], labels: Any) -> None:
    assert _labels(answers) == labels


class Predictor:
    """Answers rows by ``answer``, and keeps how many it was asked for."""

    def __init__(self, answer: Callable[[list[Any]], Any]) -> None:
        self.sizes: list[int] = []
        self._answer = answer

    async def predict(self, payload: Any, context: Context) -> Any:
        self.sizes.append(len(payload["instances"]))
        return self._answer(payload["instances"])

    def predict_blocking(self, payload: Any, context: Context) -> Any:
        raise NotImplementedError

    async def is_ready(self) -> bool:
        return True


async def asked(predictor: Predictor, first: Any, *more: Any) -> list[Any]:
    """What an explanation sees of ``more``, asked after ``first``."""
    course = Course(Context({}), "ask for less")

    def work() -> list[Any]:
        asking = Asking(predictor, course, first)
        return [asking(matrix).tolist() for matrix in more]

    return await asyncio.to_thread(work)


async def test_the_predictor_is_asked_in_calls_of_bounded_size() -> None:
    predictor = Predictor(lambda rows: {"predictions": [row[0] + 0.5 for row in rows]})
    matrix = np.arange(600_000.0).reshape(6000, 100)
    (scores,) = await asked(predictor, matrix[:2], matrix)
    assert scores == (matrix[:, 0] + 0.5).tolist()
    assert predictor.sizes == [2, 2500, 2500, 1000]


async def test_what_the_predictor_has_said_it_is_not_asked_again() -> None:
    predictor = Predictor(
        lambda rows: {"predictions": ["even" if row[0] % 2 == 0 else "odd" for row in rows]}
    )
    first = np.array([[1.0], [2.0], [3.0]])
    answers = await asked(predictor, first, first[1:], first[:1], np.array([[4.0], [1.0]]))
    assert answers == [[[1, 0], [0, 1]], [[0, 1]], [[1, 0], [0, 1]]]
    assert predictor.sizes == [3, 2]


@pytest.mark.parametrize("answer", [{}, {"predictions": 3}, {"predictions": [1]}, [1, 2], None])
async def test_a_predictor_that_answers_otherwise_is_told(answer: Any) -> None:
    with pytest.raises(FailureError, match="no list of as many predictions"):
        await asked(Predictor(lambda _: answer), np.ones((2, 2)))


@pytest.mark.parametrize(
    "one", [{"label": "a"}, None, [1.0, None], [[1.0]], [{"a": 1}], float("nan"), 1e400, ["a"]]
)
async def test_answers_that_nothing_can_explain_are_told(one: Any) -> None:
    with pytest.raises(FailureError, match="answers neither labels nor numbers") as caught:
        await asked(Predictor(lambda rows: {"predictions": [one for _ in rows]}), np.ones((2, 2)))
    assert caught.value.kind is FailureKind.UNSUPPORTED
