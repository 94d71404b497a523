"""Which methods there are; SHAP and LIME behind one word: rows and a function that predicts in, one object a row out.

Called by ``__main__`` and by ``model``, one call at a time. The packages are imported when the method is made, at load: shap takes
2.4 s of processor time and 300 MiB through numba. Both are sampled with a fixed seed. Left out: integrated gradients, which look into a network (``gradients``).

Invariant: the objects are plain JSON; columns are called as in the background file.
"""

from __future__ import annotations

import importlib.util
from collections.abc import Callable, Sequence
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from runtimes.explainer.background import Background
from runtimes.explainer.parameters import Parameters
from runtimes.explainer.settings import ExplainerSettings
from wakeful.core.errors import InvalidError
from wakeful.core.protocol.problem import shown
from wakeful.serving.model import LoadError

TABULAR = ("shap", "lime")
GRADIENTS = "integrated_gradients"
METHODS = (*TABULAR, GRADIENTS)
REFUSED = {
    "anchors": "there is no library of anchors with an open licence and a living project (docs/decisions/0114)"
}


class Predict(Protocol):
    """The predictor: a matrix in, its answers as numbers out."""

    labels: Sequence[Any] | None
    """Where the predictor answers classes by name: a column of 0 and 1 for each."""

    def __call__(self, matrix: Any) -> NDArray[np.float64]: ...


class Method(Protocol):
    """One way to explain."""

    def explain(
        self, rows: NDArray[np.float64], sample: NDArray[np.float64], predict: Predict, wanted: Parameters
    ) -> list[dict[str, Any]]:
        """One explanation a row; ``sample`` stands for what the model usually sees."""


Make = Callable[[ExplainerSettings, Background], Method]


def check(name: str) -> None:
    """Raise ``LoadError`` where ``name`` is no method, or its packages are not installed."""
    if name not in METHODS:
        because = f"; {REFUSED[name]}" if name in REFUSED else ""
        raise LoadError(f"--method is {name!r}: it takes {', '.join(METHODS)}{because}")
    packages = ("torch", "captum") if name == GRADIENTS else (name,)
    if missing := [package for package in packages if importlib.util.find_spec(package) is None]:
        raise LoadError(
            f"--method={name} needs the package {missing[0]}, which is not installed here: "
            f"pip install {' '.join(missing)}"
        )


def make(settings: ExplainerSettings, background: Background) -> Method:
    """The method that ``settings`` name, its packages imported: seconds that the first request would else wait.

    Raises ``LoadError`` as ``check`` does.
    """
    check(settings.method)
    return (Lime if settings.method == "lime" else Shap)(settings, background)


class Shap:
    """Shapley values by Kernel SHAP: ``base_values`` plus the sum over the columns is the predictor's answer."""

    def __init__(self, settings: ExplainerSettings, background: Background) -> None:
        import shap

        self._make = shap.KernelExplainer
        self._names, self._seed = background.names, settings.seed

    def explain(
        self, rows: NDArray[np.float64], sample: NDArray[np.float64], predict: Predict, wanted: Parameters
    ) -> list[dict[str, Any]]:
        np.random.seed(self._seed)  # shap samples with numpy's global generator
        explainer = self._make(predict, sample)
        base = np.atleast_1d(explainer.expected_value)
        chosen = _chosen(wanted.target, predict.labels, len(base))
        values = np.asarray(explainer.shap_values(rows, nsamples=wanted.samples, silent=True))
        if values.ndim == 2:  # one output: columns only
            values = values[:, :, None]
        return [
            {
                "outputs": [
                    {
                        "output": _named(predict.labels, place),
                        "base_value": float(base[place]),
                        "values": dict(zip(self._names, values[row, :, place].tolist(), strict=True)),
                    }
                    for place in (range(len(base)) if chosen is None else (chosen,))
                ]
            }
            for row in range(len(rows))
        ]


class Lime:
    """Weights of a linear model that answers as the predictor does near the row; columns as ranges."""

    def __init__(self, settings: ExplainerSettings, background: Background) -> None:
        from lime.lime_tabular import LimeTabularExplainer

        self._make = LimeTabularExplainer
        self._background, self._seed = background, settings.seed

    def explain(
        self, rows: NDArray[np.float64], sample: NDArray[np.float64], predict: Predict, wanted: Parameters
    ) -> list[dict[str, Any]]:
        known, outputs = self._background, predict(rows)
        chosen = _chosen(wanted.target, predict.labels, 1 if outputs.ndim == 1 else outputs.shape[1])
        explainer = self._make(
            known.rows,
            mode="classification" if outputs.ndim == 2 else "regression",
            feature_names=list(known.names),
            random_state=self._seed,
        )
        found = []
        for row, output in zip(rows, outputs, strict=True):
            place = int(np.argmax(output)) if chosen is None else chosen
            item = _weights(explainer, row, predict, place if outputs.ndim == 2 else 1, wanted.samples)
            found.append({"outputs": [{"output": _named(predict.labels, place), **item}]})
        return found


def _weights(explainer: Any, row: Any, predict: Predict, label: int, samples: int) -> dict[str, Any]:
    """What lime finds for one row and ``label``, which it calls 1 for a predictor of one number."""
    found = explainer.explain_instance(
        row, predict, labels=(label,), num_features=len(row), num_samples=samples
    )
    weights = [{"column": text, "weight": float(weight)} for text, weight in found.as_list(label=label)]
    score = found.score[label] if isinstance(found.score, dict) else found.score
    return {"weights": weights, "score": float(score)}


def _chosen(target: Any, labels: Sequence[Any] | None, count: int) -> int | None:
    """Which of ``count`` outputs a request asks for: by label, else by place; None where it does not say.

    Raises ``InvalidError``.
    """
    if target is None:
        return None
    names = list(range(count)) if labels is None else labels
    for place, name in enumerate(names):
        if type(name) is type(target) and name == target:
            return place
    several = ", ".join(map(str, names))[:300]
    raise InvalidError(f"parameters.target is {shown(target)}: the predictor's outputs are {several}")


def _named(labels: Sequence[Any] | None, place: int) -> Any:
    return place if labels is None else labels[place]
