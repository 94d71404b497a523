"""What the servers of tree boosters (xgboost, lightgbm) share: how they load, and a matrix of numbers.

Called by ``runtimes.xgboost`` and ``runtimes.lightgbm``. What rows and tensors may look like is
``wakeful.serving.tabular``'s business; a booster takes numbers only, NaN for a missing value.
After loading, one row of zeros is computed: it proves that the model answers, and says what its answers look like.

Invariant: ``numbers`` returns floats or refuses (400), naming the first element that is none.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from runtimes import processors
from wakeful.core.errors import InvalidError
from wakeful.core.protocol import arrays
from wakeful.core.protocol.problem import shown
from wakeful.serving.model import LoadError, TensorSpec
from wakeful.serving.tabular import TabularModel


class BoosterModel(TabularModel):
    """One booster of ``model_dir``; subclasses override ``read`` and ``compute``."""

    def __init__(self, name: str, model_dir: Path, nthread: int) -> None:
        super().__init__(name)
        self._model_dir = model_dir
        self._nthread = nthread or processors.usable()
        self._answer = TensorSpec(self.output_name, "FP32", (-1,))

    def read(self, model_dir: Path) -> None:
        """Load the booster and set ``width`` and ``names``. Raises ``LoadError``."""
        raise NotImplementedError(f"{type(self).__name__} has no read")

    def load(self) -> None:
        self.read(self._model_dir)
        try:
            answer = np.asarray(self.compute(np.zeros((1, self.width or 1))))
        except Exception as error:
            text = " ".join(str(error).split())[:300]
            raise LoadError(f"the model was loaded but computes nothing: {text}") from error
        self._answer = TensorSpec(self.output_name, arrays.datatype_of(answer), (-1, *answer.shape[1:]))

    def inputs(self) -> list[TensorSpec]:
        return [TensorSpec("input-0", "FP64", (-1, -1 if self.width is None else self.width))]

    def outputs(self) -> list[TensorSpec]:
        return [self._answer]


def numbers(matrix: Any) -> NDArray[Any]:
    """``matrix`` (an array, or a table with named columns) as floats. Raises ``InvalidError``."""
    array = matrix if type(matrix) is np.ndarray else np.asarray(matrix)
    if array.dtype in (np.float64, np.float32):
        return array
    if array.dtype.kind in "fiub":
        return array.astype(np.float64)
    flat = array.reshape(len(array), -1)
    for (row, column), value in np.ndenumerate(flat):
        if isinstance(value, str | bytes):
            raise InvalidError(
                f"row {row}, column {column} is {shown(str(value))}: the model takes numbers, and the number of its "
                "category where a column was trained on categories"
            )
    return flat.astype(np.float64)
