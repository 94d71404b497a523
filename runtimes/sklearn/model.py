"""A scikit-learn estimator as a ``Model``: V1 rows and V2 tensors to one matrix, the answer back.

Heavy imports (numpy, scikit-learn) happen when this module is imported, so that a fork server can do them beforehand.
V1 ``instances`` are rows of numbers (or strings, or objects by column name where the estimator was fitted on names).
V2 takes one tensor of shape [rows, columns], or one tensor a column. ``PREDICT_PROBA=true`` answers probabilities,
as KServe's server does. Wrong widths and types are the caller's mistake (400), not the model's (500).

Invariant: the estimator is only read while it serves; scikit-learn's ``predict`` is safe to run in several threads.
"""

from __future__ import annotations

import warnings
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from runtimes.sklearn import loading
from wakeful.core.errors import FailureError, InvalidError
from wakeful.core.protocol import v1
from wakeful.core.protocol.oip import InferRequest, InferResponse, Tensor
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

    def load(self) -> None:
        warnings.filterwarnings("ignore", message=FITTED_WARNING)
        estimator = loading.load(loading.find(self._model_dir), self._policy)
        if self._wants_proba and not hasattr(estimator, "predict_proba"):
            raise LoadError(
                f"PREDICT_PROBA=true, but {type(estimator).__name__} has no predict_proba: unset it"
            )
        self._estimator = estimator

    def unload(self) -> None:
        self._estimator = None

    def platform(self) -> str:
        return "sklearn"

    def inputs(self) -> list[TensorSpec]:
        width = self._width()
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
            matrix = self._of_tensors(payload.inputs)
            return InferResponse([arrays.from_array("output-0", np.asarray(self._run(matrix)))])
        if isinstance(payload, bytes):  # another media type: this server has no meaning for anything but JSON
            payload = v1.decode_object(payload)
        result = self._run(self._of_rows(v1.rows(payload)))
        return {"predictions": result.tolist() if hasattr(result, "tolist") else result}

    def _run(self, matrix: Any) -> Any:
        method = "predict_proba" if self._wants_proba else "predict"
        try:
            return getattr(self._estimator, method)(matrix)
        except FailureError:
            raise
        except (ValueError, TypeError) as error:
            text = " ".join(str(error).split())[:300]
            raise InvalidError(f"{type(self._estimator).__name__} refuses the input: {text}") from error

    def _width(self) -> int | None:
        width = getattr(self._estimator, "n_features_in_", None)
        return int(width) if width is not None else None

    def _of_rows(self, rows: list[Any]) -> Any:
        """V1 rows as a matrix. Raises ``InvalidError`` naming the first row that does not fit."""
        if isinstance(rows[0], dict):
            return self._by_name(rows)
        try:
            matrix = np.array(rows)
        except (ValueError, TypeError, OverflowError) as error:
            raise InvalidError(_ragged(rows)) from error
        if matrix.dtype.kind == "O":
            raise InvalidError(_odd_element(rows))
        self._check_width(matrix, '"instances"')
        return matrix

    def _by_name(self, rows: list[Any]) -> Any:
        names = getattr(self._estimator, "feature_names_in_", None)
        if names is None:
            raise InvalidError(
                "the model was fitted without column names: send rows as lists, not as objects"
            )
        for place, row in enumerate(rows):
            if not isinstance(row, dict):
                raise InvalidError(
                    f"instances[{place}] is not an object as instances[0] is: send all rows alike"
                )
            missing = [name for name in names if name not in row]
            if missing:
                raise InvalidError(
                    f"instances[{place}] has no {missing[0]!r}; the model needs {', '.join(names)}"
                )
        return np.array([[row[name] for name in names] for row in rows])

    def _of_tensors(self, tensors: list[Tensor]) -> NDArray[Any]:
        if len(tensors) == 1:
            tensor = tensors[0]
            matrix = arrays.to_array(tensor)
            self._check_width(matrix, f"input {tensor.name!r}")
            return matrix
        columns = [arrays.to_array(tensor) for tensor in tensors]
        count = tensors[0].shape[0]
        for tensor in tensors:
            if tensor.shape not in ((count,), (count, 1)):
                raise InvalidError(
                    f"input {tensor.name!r} has shape {list(tensor.shape)}: with one tensor a column, each needs "
                    f"shape [{count}] or [{count}, 1]; or send one tensor of shape [rows, columns]"
                )
        matrix = np.column_stack([column.reshape(-1) for column in columns])
        self._check_width(matrix, f"the {len(tensors)} inputs")
        return matrix

    def _check_width(self, matrix: NDArray[Any], what: str) -> None:
        width = self._width()
        if width is None:
            return
        if matrix.ndim != 2 or matrix.shape[1] != width:
            raise InvalidError(
                f"{what} has shape {list(matrix.shape)}: the model takes [rows, {width}], {width} numbers a row"
            )


def _ragged(rows: list[Any]) -> str:
    width = len(rows[0]) if isinstance(rows[0], list) else None
    for place, row in enumerate(rows):
        if width is None or not isinstance(row, list) or len(row) != width:
            got = f"has {len(row)} values" if isinstance(row, list) else "is not a list"
            return f'"instances" is ragged: instances[0] has {width} values, instances[{place}] {got}'
    return '"instances" is ragged: rows differ in shape'


def _odd_element(rows: list[Any]) -> str:
    for place, row in enumerate(rows):
        for column, value in enumerate(row if isinstance(row, list) else [row]):
            if not isinstance(value, int | float | str):
                return f"instances[{place}][{column}] is {'null' if value is None else type(value).__name__}, not a number"
    return '"instances" holds values that are not numbers'
