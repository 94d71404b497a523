"""A model in plain Python: which iris is nearest to the mean of its kind. Serve it: python flowers.py --http_port=8090"""

from __future__ import annotations

import math
import sys
from typing import Any

from wakeful import (
    Context,
    InferRequest,
    InferResponse,
    InvalidError,
    LoadError,
    Model,
    TensorSpec,
    from_array,
    serve,
    to_array,
)

MEANS = {
    "setosa": (5.0, 3.4, 1.5, 0.2),
    "versicolor": (5.9, 2.8, 4.3, 1.3),
    "virginica": (6.6, 3.0, 5.6, 2.0),
}


class Flowers(Model):
    """V1 rows and V2 tensors in, names of flowers out."""

    def load(self) -> None:
        if len({len(mean) for mean in MEANS.values()}) != 1:
            raise LoadError("the means differ in length")

    def inputs(self) -> list[TensorSpec]:
        return [TensorSpec("rows", "FP64", (-1, 4))]

    def predict(self, payload: Any, context: Context) -> Any:
        if isinstance(payload, InferRequest):
            import numpy as np

            names = self._names(to_array(payload.inputs[0]).tolist())
            return InferResponse([from_array("kind", np.array(names, dtype=object))])
        return {"predictions": self._names(payload["instances"])}

    def stream(self, payload: Any, context: Context) -> Any:
        for row in payload["instances"]:
            yield {"kind": self._names([row])[0]}

    def _names(self, rows: Any) -> list[str]:
        if not isinstance(rows, list):
            raise InvalidError("send rows of four numbers")
        for place, row in enumerate(rows):
            if not isinstance(row, list) or len(row) != 4 or not all(isinstance(x, int | float) for x in row):
                raise InvalidError(f"row {place} is not four numbers")
        return [min(MEANS, key=lambda kind: math.dist(MEANS[kind], row)) for row in rows]


if __name__ == "__main__":
    sys.exit(serve([Flowers("flowers")]))
