"""An explainer of tabular models: rows in, what each column did to the predictor's answer out, by SHAP or LIME.

Served by ``runtimes.explainer``; asks the predictor through ``Model.predictor``, so any V1 or V2 predictor will do: once for
the background together with the request's rows, then once for each row's samples. The background is asked for every
time: the predictor may have another model since, and answers of two would be an explanation of none.
Classes: a predictor that answers labels is explained by label (each label is a column of 0 and 1), one that answers
probabilities by class. ``:predict`` is passed on. Left out: images and text; networks from inside are ``gradients``.

Invariant: an explanation asks only for rows of the background's width, at most ``CALL_ELEMENTS`` numbers a call.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from runtimes.explainer import background, methods
from runtimes.explainer.explaining import Course, Explainer
from runtimes.explainer.parameters import Parameters
from runtimes.explainer.settings import ExplainerSettings
from wakeful.core.errors import FailureError, FailureKind, InvalidError
from wakeful.serving.model import LoadError, Predictor

CALL_ELEMENTS = 250_000
"""Numbers in one call of the predictor: about 5 MB of JSON."""
LABELS = 50
"""More different answers than this to the background rows are numbers, not labels."""


class TabularExplainer(Explainer):
    """Explains the model of the same name at the predictor."""

    takes_parameters = ("samples", "target")

    def __init__(self, settings: ExplainerSettings, make: methods.Make = methods.make) -> None:
        super().__init__(settings)
        if not settings.predictor_host:
            raise LoadError("an explainer needs a predictor to ask: give --predictor_host")
        self._make = make
        self._method: methods.Method | None = None
        self._background: background.Background | None = None

    def load(self) -> None:
        self._background = background.load(Path(self.settings.model_dir))
        # once with each column alone and once without it: below that SHAP gives one column what another did
        self.fewest_samples = min(2 * self._background.rows.shape[1], self.settings.samples)
        self._method = self._make(self.settings, self._background)

    def explained(self, rows: list[Any], wanted: Parameters, course: Course) -> list[dict[str, Any]]:
        method, known, predictor = self._method, self._background, self.predictor
        assert method is not None and known is not None and predictor is not None
        matrix = matrix_of(rows, known)
        sample = known.evenly(self.settings.background_rows)
        return method.explain(matrix, sample, Asking(predictor, course, np.vstack([sample, matrix])), wanted)


class Asking:
    """The predictor as a function of a matrix, for one request. What it says of ``first`` is asked for once, and known then."""

    def __init__(self, predictor: Predictor, course: Course, first: NDArray[np.float64]) -> None:
        self._predictor = predictor
        self._course = course
        answers = self._predictions(first)
        self.labels: Sequence[Any] | None = _labels(answers)
        """Where the predictor answers classes by name or number: which ones."""
        scores = self._scores(answers)
        self._known = {row.tobytes(): score for row, score in zip(first, scores, strict=True)}

    def __call__(self, matrix: Any) -> NDArray[np.float64]:
        """The answers as numbers, a row for each: values, probabilities, or 0 and 1 for each label."""
        matrix = np.asarray(matrix, dtype=np.float64)
        if len(matrix) <= len(self._known):
            found = [self._known.get(row.tobytes()) for row in matrix]
            if all(score is not None for score in found):
                return np.array(found)
        return self._scores(self._predictions(matrix))

    def _scores(self, answers: list[Any]) -> NDArray[np.float64]:
        if self.labels is None:
            try:
                scores = np.asarray(answers, dtype=np.float64)
            except (TypeError, ValueError):
                scores = np.array(np.nan)
            if scores.ndim not in (1, 2) or not np.isfinite(scores).all():
                text = "the predictor answers neither labels nor numbers, one or equally many a row: nothing to explain"
                raise FailureError(FailureKind.UNSUPPORTED, text)
            return scores
        places = {label: place for place, label in enumerate(self.labels)}
        scores = np.zeros((len(answers), len(places)))
        for row, answer in enumerate(answers):
            if isinstance(answer, str | bool | int | float) and answer in places:
                scores[row, places[answer]] = 1.0
        return scores

    def _predictions(self, matrix: NDArray[Any]) -> list[Any]:
        """The predictor's answers, one a row, asked for in calls of bounded size. Raises ``FailureError``."""
        step = max(1, CALL_ELEMENTS // matrix.shape[1])
        answers: list[Any] = []
        for start in range(0, len(matrix), step):
            part = matrix[start : start + step]
            self._course.step("the predictor was asked", len(part))
            call = self._predictor.predict({"instances": part.tolist()}, self._course.context)
            answer = self._course.wait(call)
            predictions = answer.get("predictions") if isinstance(answer, dict) else None
            if not isinstance(predictions, list) or len(predictions) != len(part):
                text = f"the predictor answered {len(part)} rows with no list of as many predictions"
                raise FailureError(FailureKind.INTERNAL, text)
            answers += predictions
        return answers


def matrix_of(rows: list[Any], known: background.Background) -> NDArray[np.float64]:
    """A request's rows as numbers of the background's width. Raises ``InvalidError``."""
    try:
        matrix = np.array(known.in_order(rows), dtype=np.float64)
    except (ValueError, TypeError, OverflowError) as error:
        raise InvalidError(
            '"instances" takes rows of numbers of equal length, or objects by column name'
        ) from error
    if matrix.ndim != 2 or matrix.shape[1] != known.rows.shape[1]:
        raise InvalidError(
            f'"instances" has shape {list(matrix.shape)}: the background has {known.rows.shape[1]} columns'
        )
    if not np.isfinite(matrix).all():
        raise InvalidError('"instances" has a missing value: an explanation needs numbers')
    return matrix


def _labels(answers: list[Any]) -> list[Any] | None:
    """The classes among ``answers``; None where they are values to explain, or of a kind that nothing here explains."""
    if any(not isinstance(answer, str | bool | int | float) for answer in answers):
        return None
    if not any(isinstance(answer, str | bool) for answer in answers):
        is_whole = all(float(answer).is_integer() for answer in answers)
        if not is_whole or len(set(answers)) > LABELS:
            return None
    return sorted(set(answers), key=str)
