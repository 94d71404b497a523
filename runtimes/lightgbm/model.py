"""A LightGBM booster as a ``Model``: reads LightGBM's text format, computes like ``Booster.predict``.

Heavy imports (numpy, lightgbm) happen when this module is imported, so that a fork server can do them beforehand.
Files: ``.bst`` (KServe's rule), ``.lgb`` and ``model.txt`` (what ``save_model`` is usually given). The format is data:
nothing in it is run. A row by column name may leave columns out: LightGBM takes them as missing, as KServe's server
lets it; a row that also has a column the model does not know is refused, for that is a typing error.

Invariant: every call names its number of threads: LightGBM's own default is all cores, whatever the container may use.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import lightgbm

from runtimes import boosters, model_file
from wakeful.core.errors import InvalidError
from wakeful.core.protocol.problem import shown
from wakeful.serving.model import LoadError

ACCEPTED = (".bst", ".lgb", "model.txt")
MAGIC = b"tree"
ENDS = (b"\nend of trees", b"\nfeature importances:", b"\nfeature_importances:")
"""What follows the last tree, by the version of LightGBM."""


class LightgbmModel(boosters.BoosterModel):
    """One booster."""

    _booster: lightgbm.Booster | None = None

    def platform(self) -> str:
        return "lightgbm"

    def read(self, model_dir: Path) -> None:
        path = model_file.find(model_dir, ACCEPTED)
        with model_file.reading(path, "lightgbm"):
            _check(path)
            booster = lightgbm.Booster(model_file=path)
        self._booster = booster
        self.width = int(booster.num_feature())
        self.names = booster.feature_name()

    def unload(self) -> None:
        self._booster = None

    def matrix_of_rows(self, rows: list[Any]) -> Any:
        return super().matrix_of_rows(self._completed(rows))

    def _completed(self, rows: list[Any]) -> list[Any]:
        """Rows by column name with the columns they leave out. Raises ``InvalidError`` for a name that is none."""
        names = self.names or ()
        whole = []
        for place, row in enumerate(rows):
            if type(row) is dict and (lacking := [name for name in names if name not in row]):
                if unknown := [name for name in row if name not in names]:
                    raise InvalidError(
                        f"instances[{place}] has {shown(unknown[0])}, which is no column of the model, and no "
                        f"{lacking[0]!r}; the model knows {', '.join(names)}"
                    )
                row = {**row, **dict.fromkeys(lacking, _absent(row))}
            whole.append(row)
        return whole

    def compute(self, matrix: Any) -> Any:
        booster = self._booster
        assert booster is not None
        try:
            return booster.predict(boosters.numbers(matrix), num_threads=self._nthread)
        except lightgbm.basic.LightGBMError as error:
            text = " ".join(str(error).split())[:300]
            raise InvalidError(f"LightGBM refuses the input: {text}") from error


def _absent(row: dict[str, Any]) -> Any:
    """A missing value for each of the rows that ``row`` holds."""
    first = next(iter(row.values()), None)
    return [None] * len(first) if isinstance(first, list | dict) else None


def _check(path: Path) -> None:
    """Raise ``LoadError`` for what LightGBM would take without a word: a file cut off between its trees."""
    content = path.read_bytes()
    if not content.startswith(MAGIC):
        raise LoadError(
            f"{path.name} is no LightGBM text model (it begins with {content[:8]!r}): save it with Booster.save_model"
        )
    if not any(mark in content for mark in ENDS):
        raise LoadError(f"{path.name} is cut off: it has no end of its trees; copy it again")
