"""A scikit-learn estimator as a ``Model``: V1 rows and V2 tensors to one matrix, the answer back.

Heavy imports (numpy, scikit-learn) happen when this module is imported, so that a fork server can do them beforehand.
What rows and tensors may look like is ``rows``'s business. ``PREDICT_PROBA=true`` answers probabilities,
as KServe's server does. Wrong widths and types are the caller's mistake (400), not the model's (500).

Invariant: the estimator is only read while it serves; scikit-learn's ``predict`` is safe to run in several threads.
"""

from __future__ import annotations

import warnings
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from runtimes.sklearn import loading, rows
from wakeful.core.errors import FailureError, InvalidError
from wakeful.core.protocol import v1
from wakeful.core.protocol.oip import InferRequest, InferResponse, Tensor
from wakeful.core.protocol.problem import shown
from wakeful.serving import arrays
from wakeful.serving.model import Context, LoadError, Model, TensorSpec

FITTED_WARNING = "X does not have valid feature names"


class SklearnModel(Model):
    """One estimator of ``model_dir``."""

    def __init__(self, name: str, model_dir: Path, environ: Mapping[str, str]) -> None:
        super().__init__(name)
        self._model_dir = model_dir
        self._policy = loading.policy_of(environ.get("WAKEFUL_PICKLE", ""))
        self._wants_proba = environ.get("PREDICT_PROBA", "false").lower() == "true"
        self._estimator: Any = None
        self._width: int | None = None
        self._names: list[str] | None = None

    def load(self) -> None:
        warnings.filterwarnings("ignore", message=FITTED_WARNING)
        estimator = loading.load(loading.find(self._model_dir), self._policy)
        if self._wants_proba and not hasattr(estimator, "predict_proba"):
            raise LoadError(
                f"PREDICT_PROBA=true, but {type(estimator).__name__} has no predict_proba: unset it"
            )
        self._estimator = estimator
        width = getattr(estimator, "n_features_in_", None)
        self._width = None if width is None else int(width)
        names = getattr(estimator, "feature_names_in_", None)
        self._names = None if names is None else [str(name) for name in names]

    def unload(self) -> None:
        self._estimator = None

    def platform(self) -> str:
        return "sklearn"

    def inputs(self) -> list[TensorSpec]:
        width = self._width
        return [TensorSpec("input-0", "FP64", (-1, -1 if width is None else width))]

    def outputs(self) -> list[TensorSpec]:
        classes = getattr(self._estimator, "classes_", None)
        if self._wants_proba:
            return [TensorSpec("output-0", "FP64", (-1, -1 if classes is None else len(classes)))]
        kind = "FP64"
        if isinstance(classes, np.ndarray):
            kind = arrays.datatype_of(classes)
        return [TensorSpec("output-0", kind, (-1,))]

    def predict(self, payload: Any, context: Context) -> Any:
        if isinstance(payload, InferRequest):
            if len(payload.inputs) == 1:
                self._check_width(payload.inputs[0].shape, _described(payload.inputs))
            matrix = rows.of_tensors(payload.inputs, self._names)
            self._check_width(matrix.shape, _described(payload.inputs))
            return InferResponse([arrays.from_array("output-0", np.asarray(self._run(matrix)))])
        if isinstance(payload, bytes):  # another media type: this server has no meaning for anything but JSON
            payload = v1.decode_object(payload)
        matrix = rows.of_rows(v1.rows(payload), self._names)
        self._check_width(matrix.shape, '"instances"')
        result = self._run(matrix)
        return {"predictions": result.tolist() if hasattr(result, "tolist") else result}

    def _run(self, matrix: Any) -> Any:
        method = "predict_proba" if self._wants_proba else "predict"
        try:
            return getattr(self._estimator, method)(matrix)
        except FailureError:
            raise
        except (ValueError, TypeError) as error:
            text = " ".join(str(error).split())[:300]
            if "dataframe" in text.lower():
                text += (
                    " (rows by column name become one only where pandas is installed in the runtime's image)"
                )
            raise InvalidError(f"{type(self._estimator).__name__} refuses the input: {text}") from error

    def _check_width(self, shape: tuple[int, ...], what: str) -> None:
        width = self._width
        if width is None:
            return
        if len(shape) != 2 or shape[1] != width:
            raise InvalidError(
                f"{what} has shape {list(shape)}: the model takes [rows, {width}], {width} numbers a row"
            )


def _described(tensors: list[Tensor]) -> str:
    return f"input {shown(tensors[0].name)}" if len(tensors) == 1 else f"the {len(tensors)} inputs"
