"""An XGBoost booster as a ``Model``: reads ``.bst``, ``.json`` and ``.ubj``, computes like ``Booster.predict``.

Heavy imports (numpy, xgboost) happen when this module is imported, so that a fork server can do them beforehand. The
file is read as bytes, as KServe's server does: XGBoost then looks at the content instead of guessing by the name, so
a ``.bst`` may hold either of its two formats. Both are data: nothing in them is run.

Invariant: all trees answer, whatever early stopping found best, as in KServe's server; infinity is refused (400), as
``DMatrix`` does.
"""

from __future__ import annotations

import json
import threading
from pathlib import Path
from typing import Any

import numpy as np
import xgboost

from runtimes import boosters, model_file
from runtimes.xgboost import ubjson
from wakeful.core.errors import InvalidError
from wakeful.serving.model import LoadError

ACCEPTED = (".bst", ".json", ".ubj")


class XgboostModel(boosters.BoosterModel):
    """One booster."""

    _booster: xgboost.Booster | None = None
    _is_trees = True

    def platform(self) -> str:
        return "xgboost"

    def read(self, model_dir: Path) -> None:
        path = model_file.find(model_dir, ACCEPTED)
        with model_file.reading(path, "xgboost"):
            content = bytearray(path.read_bytes())
            if not content.lstrip()[:1] == b"{":
                raise LoadError(
                    f"{path.name} is neither JSON nor UBJSON: save the model again as model.json or model.ubj "
                    f"(older XGBoost wrote .bst in a binary format that {xgboost.__version__} does not read)"
                )
            try:
                ubjson.check(content)
            except ubjson.DamagedError as error:
                raise LoadError(f"{path.name} is cut off or damaged: {error}; copy it again") from error
            booster = xgboost.Booster({"nthread": self._nthread}, model_file=content)
            config = json.loads(booster.save_config())
        self._is_trees = config["learner"]["gradient_booster"]["name"] == "gbtree"
        self._booster = booster
        self._lock = threading.Lock()
        self.width = int(booster.num_features())
        self.names = booster.feature_names

    def unload(self) -> None:
        self._booster = None

    def compute(self, matrix: Any) -> Any:
        booster = self._booster
        assert booster is not None
        array = boosters.numbers(matrix)
        if np.isinf(array).any():
            raise InvalidError(
                "the input holds infinity, which XGBoost takes for a mistake: send null where a value is missing"
            )
        try:
            if self._is_trees:
                return booster.inplace_predict(array)  # 1.6 times as fast, the same numbers
            # dart adds up in another order in place; the linear booster keeps state between calls
            with self._lock:
                return booster.predict(xgboost.DMatrix(array, nthread=self._nthread), validate_features=False)
        except xgboost.core.XGBoostError as error:
            text = " ".join(str(error).split())[:300]
            raise InvalidError(f"XGBoost refuses the input: {text}") from error
