"""A scikit-learn estimator as a ``Model``: what it computes, and what it says of itself.

Heavy imports (numpy, scikit-learn) happen when this module is imported, so that a fork server can do them beforehand.
Rows, tensors and batches are ``wakeful.serving.tabular``'s business. ``PREDICT_PROBA=true`` answers probabilities,
as KServe's server does. What the estimator refuses is the caller's mistake (400), not the model's (500).

Invariant: the estimator is only read while it serves; scikit-learn's ``predict`` is safe to run in several threads.
"""

from __future__ import annotations

import contextlib
import warnings
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from runtimes import code_bearing, model_file
from runtimes.sklearn import loading
from wakeful.core.errors import FailureError, InvalidError
from wakeful.core.protocol import arrays
from wakeful.kit import deferred
from wakeful.serving.model import LoadError, TensorSpec
from wakeful.serving.tabular import TabularModel

FITTED_WARNING = "X does not have valid feature names"
DATA = (str, int, float, list, type(None), np.generic, np.ndarray)
"""What a request's values are when an estimator for text asks a number for ``lower``."""


class SklearnModel(TabularModel):
    """One estimator of ``model_dir``."""

    def __init__(self, name: str, model_dir: Path, environ: Mapping[str, str]) -> None:
        super().__init__(name)
        self._model_dir = model_dir
        self._policy = code_bearing.policy_of(environ)
        self._wants_proba = environ.get("PREDICT_PROBA", "false").lower() == "true"
        self._estimator: Any = None
        self._takes_texts = False
        """It was asked for a column of text, and wanted the texts alone."""
        self._is_tried = False
        self._tried: NDArray[Any] | None = None
        """Its answer to one row, which says what its answers look like."""

    def load(self) -> None:
        warnings.filterwarnings("ignore", message=FITTED_WARNING)
        path = loading.find(self._model_dir)
        with model_file.reading(path, "scikit-learn"):
            estimator = loading.load(path, self._policy)
        if self._wants_proba and not hasattr(estimator, "predict_proba"):
            raise LoadError(
                f"PREDICT_PROBA=true, but {type(estimator).__name__} has no predict_proba: unset it"
            )
        self._estimator = estimator
        self._takes_texts = False
        width = getattr(estimator, "n_features_in_", None)
        self.width = None if width is None else int(width)
        names = getattr(estimator, "feature_names_in_", None)
        self.names = None if names is None else [str(name) for name in names]
        self._is_tried, self._tried = False, None
        if deferred.pending():  # what predicting imports is there before a caller is
            self._try_once()

    def _try_once(self) -> NDArray[Any] | None:
        """What an estimator of scikit-learn's answers to a row of ones, or to a text where no width is known; None: nothing."""
        if not self._is_tried and type(self._estimator).__module__.startswith("sklearn."):
            row = np.array(["a"]) if self.width is None else np.ones((1, self.width))
            with contextlib.suppress(Exception), warnings.catch_warnings():
                warnings.simplefilter("ignore")
                answer = self.compute(row)
                if isinstance(answer, np.ndarray) and len(answer) == 1:
                    self._tried = answer
        self._is_tried = True
        return self._tried

    def unload(self) -> None:
        self._estimator = self._tried = None

    def platform(self) -> str:
        return "sklearn"

    def inputs(self) -> list[TensorSpec]:
        if self.width is None and self._try_once() is not None:
            return [TensorSpec("input-0", "BYTES", (-1,))]
        return [TensorSpec("input-0", "FP64", (-1, -1 if self.width is None else self.width))]

    def outputs(self) -> list[TensorSpec]:
        answer = self._try_once()
        if answer is not None:
            return [TensorSpec("output-0", arrays.datatype_of(answer), (-1, *answer.shape[1:]))]
        classes = getattr(self._estimator, "classes_", None)
        if self._wants_proba:
            return [TensorSpec("output-0", "FP64", (-1, -1 if classes is None else len(classes)))]
        kind = "FP64"
        if isinstance(classes, np.ndarray):
            kind = arrays.datatype_of(classes)
        return [TensorSpec("output-0", kind, (-1,))]

    def compute(self, matrix: Any) -> Any:
        try:
            return self._answer(matrix)
        except FailureError:
            raise
        except (ValueError, TypeError, AttributeError) as error:
            if isinstance(error, AttributeError) and not (error.name and isinstance(error.obj, DATA)):
                raise  # the estimator's: never fitted, or made by another version
            text = " ".join(str(error).split())[:300]
            if isinstance(error, AttributeError):
                text += " (an estimator for text takes one text a row: send shape [rows] or [rows, 1])"
            if "dataframe" in text.lower():
                text += (
                    " (rows by column name become one only where pandas is installed in the runtime's image)"
                )
            raise InvalidError(f"{type(self._estimator).__name__} refuses the input: {text}") from error

    def _answer(self, matrix: Any) -> Any:
        """What the estimator says. One for text is given a column of text, which many clients send, as the texts in it."""
        method = getattr(self._estimator, "predict_proba" if self._wants_proba else "predict")
        if self.width is not None or not _is_text_column(matrix):
            return method(matrix)
        if not self._takes_texts:
            try:
                return method(matrix)
            except AttributeError as error:
                if error.name is None or not isinstance(error.obj, np.ndarray):
                    raise
        answer = method(matrix[:, 0])
        self._takes_texts = True
        return answer


def _is_text_column(matrix: Any) -> bool:
    return (
        type(matrix) is np.ndarray and matrix.ndim == 2 and matrix.shape[1] == 1 and matrix.dtype.kind in "OU"
    )
