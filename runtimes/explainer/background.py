"""The rows an explainer compares with: what the model usually sees. One file in the model folder.

Called by ``model`` at load. ``background.csv`` (a first line of column names, then numbers) or ``background.npy``
(a matrix; never unpickled). Invariant: a finite matrix of at least two rows, as many names as columns.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from wakeful.core.errors import InvalidError
from wakeful.serving.model import LoadError

FILES = ("background.csv", "background.npy")


@dataclass(frozen=True, slots=True)
class Background:
    """A matrix and the names of its columns."""

    rows: NDArray[np.float64]
    names: tuple[str, ...]

    def in_order(self, rows: list[Any]) -> list[Any]:
        """``rows`` with the values of objects in the order of the columns. Raises ``InvalidError`` for other names."""
        if dict not in map(type, rows):
            return rows
        for place, row in enumerate(rows):
            if type(row) is not dict or row.keys() != set(self.names):
                columns = ", ".join(self.names)[:300]
                raise InvalidError(
                    f"instances[{place}] is not an object of the background's columns {columns}"
                )
        return [[row[name] for name in self.names] for row in rows]

    def evenly(self, count: int) -> NDArray[np.float64]:
        """``count`` rows (or all, where there are fewer), from everywhere in the file."""
        places = np.linspace(0, len(self.rows) - 1, min(count, len(self.rows))).astype(int)
        chosen: NDArray[np.float64] = self.rows[places]
        return chosen


def is_there(folder: Path) -> bool:
    """Whether ``folder`` has such a file."""
    return any((folder / name).is_file() for name in FILES)


def load(folder: Path) -> Background:
    """The background in ``folder``. Raises ``LoadError`` that names the file and the fault."""
    found = [folder / name for name in FILES if (folder / name).is_file()]
    if len(found) != 1:
        what = "no background file" if not found else "two background files"
        raise LoadError(
            f"{what} in {folder}: give exactly one of {' and '.join(FILES)} (STORAGE_URI of the explainer)"
        )
    path = found[0]
    try:
        rows, names = _csv(path) if path.suffix == ".csv" else (np.load(path, allow_pickle=False), ())
        matrix = np.asarray(rows, dtype=np.float64)
    except (ValueError, OSError, StopIteration) as error:
        raise LoadError(f"{path.name} cannot be read as a matrix of numbers: {str(error)[:200]}") from error
    if matrix.ndim != 2 or len(matrix) < 2 or not np.isfinite(matrix).all():
        raise LoadError(
            f"{path.name} has shape {list(matrix.shape)}: it takes two or more rows of finite numbers"
        )
    return Background(matrix, names or tuple(f"feature {place}" for place in range(matrix.shape[1])))


def _csv(path: Path) -> tuple[Any, tuple[str, ...]]:
    with path.open(encoding="utf-8") as lines:
        names = tuple(name.strip().strip('"') for name in next(lines).split(","))
        rows = [[float(cell) for cell in line.split(",")] for line in lines if line.strip()]
    if any(len(row) != len(names) for row in rows):
        raise ValueError(f"a row has not {len(names)} columns")
    return rows, names
