"""Fitted scikit-learn models in a folder, and what they answer when they are loaded: ``python estimators.py fit|load DIR``.

``fit`` makes them with everything imported; ``load`` defers imports as the server does and gives each model a process
of its own, so that none profits from what another has imported. One line a model: its name, and what is wrong with it.
"""

from __future__ import annotations

import os
import pickle
import sys
import warnings
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))


def fit(folder: Path) -> None:
    """Write NAME.joblib, the model, and NAME.want, rows and the model's answer."""
    import joblib
    import numpy as np
    from sklearn.datasets import load_iris

    rows, classes = load_iris(return_X_y=True)
    rows, classes = rows[::3], classes[::3]
    for name, model in models().items():
        model.fit(rows, classes)
        joblib.dump(model, folder / f"{name}.joblib")
        asked = np.abs(rows[::10]) + 0.1
        (folder / f"{name}.want").write_bytes(pickle.dumps((asked, model.predict(asked))))


def models() -> dict[str, Any]:
    """By name: every kind of estimator, and those that need what is deferred."""
    from scipy import special
    from sklearn import (
        calibration,
        covariance,
        dummy,
        ensemble,
        feature_selection,
        gaussian_process,
        impute,
        kernel_approximation,
        linear_model,
        mixture,
        model_selection,
        multiclass,
        naive_bayes,
        neighbors,
        neural_network,
        preprocessing,
        svm,
        tree,
    )
    from sklearn.cluster import Birch, KMeans
    from sklearn.compose import ColumnTransformer
    from sklearn.decomposition import PCA, LatentDirichletAllocation, SparsePCA
    from sklearn.discriminant_analysis import LinearDiscriminantAnalysis
    from sklearn.experimental import enable_iterative_imputer  # noqa: F401
    from sklearn.pipeline import make_pipeline

    logistic = linear_model.LogisticRegression(max_iter=40)
    scaled = [("a", preprocessing.StandardScaler(), [0, 1]), ("b", preprocessing.KBinsDiscretizer(3), [2, 3])]
    few = {"n_estimators": 3, "random_state": 0}
    plain = [
        *(
            svm.SVC(),
            svm.LinearSVC(),
            svm.NuSVR(),
            logistic,
            linear_model.LinearRegression(),
            linear_model.Ridge(),
        ),
        *(linear_model.Lasso(), linear_model.SGDClassifier(), linear_model.PoissonRegressor()),
        *(
            tree.DecisionTreeClassifier(),
            ensemble.RandomForestClassifier(**few),
            ensemble.IsolationForest(**few),
        ),
        *(ensemble.GradientBoostingClassifier(**few), ensemble.HistGradientBoostingClassifier(max_iter=3)),
        *(neighbors.KNeighborsClassifier(), neighbors.RadiusNeighborsRegressor(), naive_bayes.GaussianNB()),
        *(neural_network.MLPClassifier(max_iter=5), gaussian_process.GaussianProcessClassifier()),
        *(
            KMeans(3),
            Birch(),
            mixture.GaussianMixture(2),
            covariance.EllipticEnvelope(),
            dummy.DummyRegressor(),
        ),
        *(LinearDiscriminantAnalysis(), multiclass.OneVsRestClassifier(logistic)),
        calibration.CalibratedClassifierCV(logistic, method="isotonic", cv=2),
        model_selection.GridSearchCV(logistic, {"C": [1.0]}, cv=2),
        ensemble.VotingClassifier([("a", logistic), ("b", svm.SVC())]),
    ]
    steps = [
        *(preprocessing.PowerTransformer("box-cox"), preprocessing.SplineTransformer(), PCA(2), SparsePCA(2)),
        preprocessing.QuantileTransformer(n_quantiles=5, output_distribution="normal"),
        *(preprocessing.FunctionTransformer(special.expit), preprocessing.PolynomialFeatures()),
        *(
            feature_selection.SelectKBest(feature_selection.chi2, k=2),
            kernel_approximation.PolynomialCountSketch(),
        ),
        *(
            impute.IterativeImputer(max_iter=2),
            LatentDirichletAllocation(2, max_iter=2),
            ColumnTransformer(scaled),
        ),
    ]
    pipelines = {f"{type(step).__name__}-then": make_pipeline(step, svm.SVC()) for step in steps}
    return {type(model).__name__: model for model in plain} | pipelines


def load(folder: Path) -> None:
    """Load each model and compare its answer; prints a line a model."""
    from runtimes import imports

    if not imports.defer(os.environ):
        raise SystemExit(
            "nothing is deferred: is scikit-learn another version than runtimes/imports.py was made for?"
        )
    import runtimes.sklearn.model  # noqa: F401  what every server has imported by then

    for path in sorted(folder.glob("*.joblib")):
        sys.stdout.flush()
        child = os.fork()
        if child == 0:
            os._exit(_compare(path))
        os.waitpid(child, 0)


def _compare(path: Path) -> int:
    import joblib
    import numpy as np

    try:
        asked, wanted = pickle.loads(path.with_suffix(".want").read_bytes())
        is_same = np.array_equal(joblib.load(path).predict(asked), wanted)
        print(path.stem, "" if is_same else "answers otherwise", flush=True)
    except Exception as error:
        print(path.stem, f"{type(error).__name__}: {error}".replace("\n", " "), flush=True)
    return 0


if __name__ == "__main__":
    warnings.simplefilter("ignore")
    {"fit": fit, "load": load}[sys.argv[1]](Path(sys.argv[2]))
