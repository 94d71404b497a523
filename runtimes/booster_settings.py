"""The flags of the tree boosters' servers (xgboost, lightgbm), apart from numpy so that a start can do without it."""

from __future__ import annotations

from dataclasses import dataclass

from wakeful.serving.settings import Settings


@dataclass(frozen=True, slots=True)
class BoosterSettings(Settings):
    """One booster's settings."""

    nthread: int = 1
    """Threads for one prediction: KServe's flag and default, as more pay for large requests only. 0: all processors."""
