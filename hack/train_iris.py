"""Trains two real models on scikit-learn's own iris data and puts them into a folder: iris-v1, and the better iris-v2.

.venv/bin/python hack/train_iris.py DATA_DIR/volumes/NAMESPACE/CLAIM
"""

from __future__ import annotations

import sys
from pathlib import Path

import joblib
from sklearn.datasets import load_iris
from sklearn.svm import SVC
from sklearn.tree import DecisionTreeClassifier


def train(folder: Path) -> tuple[list[list[float]], list[int]]:
    """Write FOLDER/iris-v1 and iris-v2/model.joblib; rows of the data and what the first model says of them."""
    data = load_iris()
    first = DecisionTreeClassifier(max_depth=2, random_state=0).fit(data.data, data.target)
    better = SVC(gamma="scale", C=10.0).fit(data.data, data.target)
    if better.score(data.data, data.target) <= first.score(data.data, data.target):
        raise SystemExit("the second model is not better than the first")
    for name, model in (("iris-v1", first), ("iris-v2", better)):
        target = folder / name
        target.mkdir(parents=True, exist_ok=True)
        joblib.dump(model, target / ".model.joblib.part")
        (target / ".model.joblib.part").replace(target / "model.joblib")
    rows = data.data[::30].tolist()
    return rows, [int(label) for label in first.predict(rows)]


if __name__ == "__main__":
    if len(sys.argv) != 2 or sys.argv[1].startswith("-"):
        raise SystemExit(__doc__)
    train(Path(sys.argv[1]))
    print(f"iris-v1 and iris-v2 are in {sys.argv[1]}")
