"""The iris model in a folder, as a storage initializer would leave it. For every folder of tests.

Invariant: fitted the same way each time, so that answers are equal wherever it is served.
"""

from __future__ import annotations

from pathlib import Path

import joblib
from sklearn.datasets import load_iris
from sklearn.linear_model import LogisticRegression


def put(folder: Path) -> Path:
    """Write ``model.joblib``, a logistic regression on the iris data, into ``folder``; returns the folder."""
    features, classes = load_iris(return_X_y=True)
    joblib.dump(LogisticRegression(max_iter=1000).fit(features, classes), folder / "model.joblib")
    return folder
