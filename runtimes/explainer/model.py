"""An explainer of tabular models: rows in, what each column did to the predictor's answer out, by SHAP or LIME.

Served by ``runtimes.explainer``; asks the predictor through ``Model.predictor``, so any V1 or V2 predictor will do.
Classes: a predictor that answers labels is explained by label (each label is a column of 0 and 1), one that answers
probabilities by class. ``:predict`` is passed on. Left out: images and text; networks from inside are ``gradients``.

Invariant: an explanation asks only for rows of the background's width, at most ``CALL_ELEMENTS`` numbers a call.
"""

from __future__ import annotations

import threading
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from runtimes.explainer import background, methods
from runtimes.explainer.settings import ExplainerSettings
from wakeful.core.errors import FailureError, FailureKind, InvalidError
from wakeful.core.protocol import v1
from wakeful.serving.model import Context, LoadError, Model

CALL_ELEMENTS = 250_000
"""Numbers in one call of the predictor: about 5 MB of JSON."""
LABELS = 50
"""More different answers than this to the background rows are numbers, not labels."""


class TabularExplainer(Model):
    """Explains the model of the same name at the predictor."""

    def __init__(self, settings: ExplainerSettings) -> None:
        super().__init__(settings.model_name)
        if not settings.predictor_host:
            raise LoadError("an explainer needs a predictor to ask: give --predictor_host")
        self._settings = settings
        self._method: methods.Method | None = None
        self._background: background.Background | None = None
        self._labels: list[Any] | None = None
        self._lock = threading.Lock()

    def load(self) -> None:
        self._background = background.load(Path(self._settings.model_dir))
        methods.check(self._settings.method)

    def explain(self, payload: Any, context: Context) -> Any:
        if not isinstance(payload, dict):
            raise InvalidError('an explanation is asked for by {"instances": [[...], ...]}')
        rows = self._rows(payload)
        with self._lock:  # the libraries keep state between calls
            ask = _Asking(self, context)
            if self._method is None:
                self._method = self._made(ask)
            explanations = self._method.explain(rows, ask)
        return {"explanations": explanations, "method": self._settings.method}

    def _made(self, ask: _Asking) -> methods.Method:
        """The method, set up with the predictor's answers to the background: at the first explanation, as the predictor
        may sleep while this server starts."""
        known = self._background
        assert known is not None
        sample = known.evenly(self._settings.background_rows)
        answers = ask.predictions(sample)
        if np.asarray(answers).ndim == 1 and not _are_numbers(answers):
            self._labels = sorted(set(answers), key=str)
        return methods.make(self._settings.method, known, sample, self._labels, self._settings)

    def scores(self, answers: list[Any]) -> NDArray[np.float64]:
        """The predictor's answers as numbers, a row for each: values, probabilities, or 0 and 1 for each label."""
        if self._labels is None:
            return np.asarray(answers, dtype=np.float64)
        places = {label: place for place, label in enumerate(self._labels)}
        scores = np.zeros((len(answers), len(self._labels)))
        for row, answer in enumerate(answers):
            if answer in places:
                scores[row, places[answer]] = 1.0
        return scores

    def _rows(self, payload: dict[str, Any]) -> NDArray[np.float64]:
        rows = v1.rows(payload)
        if len(rows) > self._settings.max_explained_rows:
            limit = self._settings.max_explained_rows
            raise InvalidError(
                f"{len(rows)} rows: one request may ask for the explanation of at most {limit}"
            )
        known = self._background
        assert known is not None
        try:
            matrix = np.array(known.in_order(rows), dtype=np.float64)
        except (ValueError, TypeError) as error:
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


class _Asking:
    """The predictor as a function of a matrix, for one request."""

    def __init__(self, model: TabularExplainer, context: Context) -> None:
        self._model = model
        self._context = context

    def __call__(self, matrix: Any) -> NDArray[np.float64]:
        return self._model.scores(self.predictions(np.asarray(matrix)))

    def predictions(self, matrix: NDArray[Any]) -> list[Any]:
        """The predictor's answers, one a row, asked for in calls of bounded size. Raises ``FailureError``."""
        step = max(1, CALL_ELEMENTS // matrix.shape[1])
        answers: list[Any] = []
        for start in range(0, len(matrix), step):
            answers += self._asked(matrix[start : start + step])
        return answers

    def _asked(self, matrix: NDArray[Any]) -> list[Any]:
        if self._context.remaining_s() == 0.0:
            text = "the request's deadline has passed: nobody waits for this explanation"
            raise FailureError(FailureKind.DEADLINE, text)
        predictor = self._model.predictor
        assert predictor is not None
        answer = predictor.predict_blocking({"instances": matrix.tolist()}, self._context)
        predictions = answer.get("predictions") if isinstance(answer, dict) else None
        if not isinstance(predictions, list) or len(predictions) != len(matrix):
            text = f"the predictor answered {len(matrix)} rows with no list of as many predictions"
            raise FailureError(FailureKind.INTERNAL, text)
        return predictions


def _are_numbers(answers: list[Any]) -> bool:
    """Whether answers are values to explain, and not names or numbers of classes."""
    if any(isinstance(answer, str | bool) for answer in answers):
        return False
    whole = all(float(answer).is_integer() for answer in answers)
    return not whole or len(set(answers)) > LABELS
