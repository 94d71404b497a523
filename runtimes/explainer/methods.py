"""Which methods there are; SHAP and LIME behind one word: rows and a function that predicts in, one object a row out.

Called by ``__main__`` and by ``model``, one call at a time. The packages are imported when the method is made: shap costs seconds and 300 MiB
through numba. Both are sampled with a fixed seed. Left out: integrated gradients, which look into a network (``gradients``).

Invariant: the objects are plain JSON; columns are called as in the background file.
"""

from __future__ import annotations

import importlib.util
from collections.abc import Callable, Sequence
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from runtimes.explainer.background import Background
from runtimes.explainer.settings import ExplainerSettings
from wakeful.serving.model import LoadError

TABULAR = ("shap", "lime")
GRADIENTS = "integrated_gradients"
METHODS = (*TABULAR, GRADIENTS)
REFUSED = {
    "anchors": "there is no library of anchors with an open licence and a living project (docs/decisions/0114)"
}
Predict = Callable[[Any], NDArray[np.float64]]


class Method(Protocol):
    """One way to explain."""

    def explain(self, rows: NDArray[np.float64], predict: Predict) -> list[dict[str, Any]]:
        """One explanation a row."""


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


def make(
    name: str,
    background: Background,
    sample: NDArray[np.float64],
    labels: Sequence[Any] | None,
    settings: ExplainerSettings,
) -> Method:
    """The method called ``name``. ``labels`` where the predictor answers classes by name."""
    if name == "lime":
        return Lime(background, labels, settings)
    return Shap(background, sample, labels, settings)


class Shap:
    """Shapley values by Kernel SHAP: ``base_values`` plus the sum over the columns is the predictor's answer."""

    def __init__(
        self,
        background: Background,
        sample: NDArray[np.float64],
        labels: Sequence[Any] | None,
        settings: ExplainerSettings,
    ) -> None:
        self._names, self._labels, self._settings = background.names, labels, settings
        self._sample = sample

    def explain(self, rows: NDArray[np.float64], predict: Predict) -> list[dict[str, Any]]:
        import shap

        np.random.seed(self._settings.seed)  # shap samples with numpy's global generator
        explainer = shap.KernelExplainer(predict, self._sample)
        values = np.asarray(explainer.shap_values(rows, nsamples=self._settings.samples, silent=True))
        if values.ndim == 2:  # one output: columns only
            values = values[:, :, None]
        base = np.atleast_1d(explainer.expected_value)
        return [
            {
                "outputs": [
                    {
                        "output": _named(self._labels, place),
                        "base_value": float(base[place]),
                        "values": dict(zip(self._names, values[row, :, place].tolist(), strict=True)),
                    }
                    for place in range(values.shape[2])
                ]
            }
            for row in range(len(rows))
        ]


class Lime:
    """Weights of a linear model that answers as the predictor does near the row; columns as ranges."""

    def __init__(
        self, background: Background, labels: Sequence[Any] | None, settings: ExplainerSettings
    ) -> None:
        self._background, self._labels, self._settings = background, labels, settings

    def explain(self, rows: NDArray[np.float64], predict: Predict) -> list[dict[str, Any]]:
        from lime.lime_tabular import LimeTabularExplainer

        known = self._background
        outputs = predict(rows)
        is_classes = outputs.ndim == 2
        explainer = LimeTabularExplainer(
            known.rows,
            mode="classification" if is_classes else "regression",
            feature_names=list(known.names),
            random_state=self._settings.seed,
        )
        return [self._one(explainer, row, output, predict) for row, output in zip(rows, outputs, strict=True)]

    def _one(self, explainer: Any, row: Any, output: Any, predict: Predict) -> dict[str, Any]:
        is_classes = np.ndim(output) == 1
        chosen = int(np.argmax(output)) if is_classes else 1
        found = explainer.explain_instance(
            row,
            predict,
            labels=(chosen,),
            num_features=len(self._background.names),
            num_samples=self._settings.samples,
        )
        weights = [{"column": text, "weight": float(weight)} for text, weight in found.as_list(label=chosen)]
        explained = _named(self._labels, chosen) if is_classes else 0
        score = found.score[chosen] if isinstance(found.score, dict) else found.score
        return {"outputs": [{"output": explained, "weights": weights, "score": float(score)}]}


def _named(labels: Sequence[Any] | None, place: int) -> Any:
    return place if labels is None else labels[place]
