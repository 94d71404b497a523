"""SHAP and LIME for real: the explainer as a process in its own environment, in front of a real predictor.

`hack/env explainer` makes the environment; without it these are skipped (and not counted as passed).
"""

from __future__ import annotations

import os
import socket
import subprocess
import sys
import urllib.request
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

import joblib
import numpy as np
import pytest
from sklearn.datasets import load_iris
from sklearn.linear_model import LinearRegression
from sklearn.tree import DecisionTreeClassifier
from waiting_rig import until_blocking

from wakeful import InferenceClient, UpstreamError

ROOT = Path(__file__).resolve().parents[3]
PYTHON = Path(os.environ.get("WAKEFUL_EXPLAINER_PYTHON") or ROOT / ".venv-explainer" / "bin" / "python")
pytestmark = [
    pytest.mark.skipif(not PYTHON.exists(), reason="hack/env explainer was not run"),
    pytest.mark.timeout(120),
]
COLUMNS = ["sepal length", "sepal width", "petal length", "petal width"]


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


@contextmanager
def process(python: str | Path, module: str, *flags: str) -> Iterator[str]:
    port = free_port()
    running = subprocess.Popen(
        [
            str(python),
            "-m",
            module,
            "--model_name=m",
            f"--http_port={port}",
            "--http_address=127.0.0.1",
            *flags,
        ],
        cwd=ROOT,
        env={"PATH": os.environ["PATH"], "PYTHONPATH": str(ROOT), "HOME": os.environ.get("HOME", "/tmp")},
        stderr=subprocess.DEVNULL,
    )
    base = f"http://127.0.0.1:{port}"
    try:
        with InferenceClient(base) as client:
            until_blocking(
                lambda: running.poll() is not None or client.is_ready("m"), 60, f"{module} to be ready"
            )
        assert running.poll() is None
        yield base
    finally:
        running.kill()
        running.wait(10)


@pytest.fixture(scope="module")
def predictors(tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[str, str]]:
    """Hosts of a linear model and a classifier, and the folder of the background."""
    folder = tmp_path_factory.mktemp("explained")
    features, classes = load_iris(return_X_y=True)
    lines = [",".join(COLUMNS), *[",".join(map(str, row)) for row in features]]
    (folder / "background.csv").write_text("\n".join(lines))
    linear = LinearRegression().fit(features, features @ [1.0, 0.0, -2.0, 0.5] + 3)
    tree = DecisionTreeClassifier(max_depth=2, random_state=0).fit(features, classes)
    with ExitStack() as stack:
        hosts = {"background": str(folder)}
        for name, estimator in (("linear", linear), ("tree", tree)):
            (folder / name).mkdir()
            joblib.dump(estimator, folder / name / "model.joblib")
            base = stack.enter_context(
                process(sys.executable, "runtimes.sklearn", f"--model_dir={folder / name}")
            )
            hosts[name] = base.removeprefix("http://")
        yield hosts


class Explained(InferenceClient):
    """A client that knows its server's address."""

    def __init__(self, base: str) -> None:
        super().__init__(base)
        self.base = base


@contextmanager
def explaining(predictors: dict[str, str], method: str, model: str, *flags: str) -> Iterator[Explained]:
    host, folder = predictors[model], predictors["background"]
    with (
        process(
            PYTHON,
            "runtimes.explainer",
            f"--method={method}",
            f"--predictor_host={host}",
            f"--model_dir={folder}",
            *flags,
        ) as base,
        Explained(base) as client,
    ):
        yield client


def metric(base: str, name: str) -> float:
    text = urllib.request.urlopen(f"{base}/metrics", timeout=30).read().decode()
    return sum(float(line.split()[-1]) for line in text.splitlines() if line.startswith(name))


def asked(predictors: dict[str, str], name: str) -> float:
    """How often the predictor called ``name`` was."""
    return metric(f"http://{predictors[name]}", "request_predict_seconds_count")


ROW = [6.0, 3.0, 4.0, 1.5]


def test_shap_of_a_linear_model_is_its_coefficients(predictors: dict[str, str]) -> None:
    with explaining(predictors, "shap", "linear", "--background_rows=20", "--samples=64") as client:
        before_s = metric(client.base, "process_cpu_seconds_total")
        answer = client.explain("m", {"instances": [ROW]})
        # shap was imported before: 2.4 s of processor time, half a minute for whoever waited on a busy machine
        assert metric(client.base, "process_cpu_seconds_total") - before_s < 1.0
        (predicted,) = client.predict("m", {"instances": [ROW]})["predictions"]
        again = client.explain("m", {"instances": [ROW]})
    (output,) = answer["explanations"][0]["outputs"]
    assert list(output["values"]) == COLUMNS
    assert output["base_value"] + sum(output["values"].values()) == pytest.approx(predicted, abs=1e-6)
    sample = load_iris().data[np.linspace(0, 149, 20).astype(int)]
    wanted = (np.array(ROW) - sample.mean(axis=0)) * [1.0, 0.0, -2.0, 0.5]
    np.testing.assert_allclose(list(output["values"].values()), wanted, atol=1e-6)
    assert again == answer


def test_shap_of_classes_by_label(predictors: dict[str, str]) -> None:
    with explaining(predictors, "shap", "tree", "--background_rows=20", "--samples=64") as client:
        before = asked(predictors, "tree")
        answer = client.explain("m", {"instances": [ROW, [5.0, 3.5, 1.4, 0.2]]})
        assert asked(predictors, "tree") - before == 3  # the background and both rows, then a call a row
        one = client.explain("m", {"instances": [ROW], "parameters": {"target": 1, "samples": 14}})
        many = {"instances": [ROW] * 17}
        for payload, words in (
            (many, "at most 16"),
            ({"instances": [[1.0]]}, "the background has 4 columns"),
            ({"instances": [["a", 1, 1, 1]]}, "rows of numbers"),
            ({"instances": [[None, 1, 1, 1]]}, "missing value"),
            (
                {"instances": [ROW], "parameters": {"target": "1"}},
                "target is '1': the predictor's outputs are 0, 1, 2",
            ),
        ):
            with pytest.raises(UpstreamError, match=words) as caught:
                client.explain("m", payload)
            assert caught.value.status == 400
    assert one["explanations"][0]["outputs"] == answer["explanations"][0]["outputs"][1:2]
    for explanation, label in zip(answer["explanations"], [1, 0], strict=True):
        outputs = {item["output"]: item for item in explanation["outputs"]}
        assert set(outputs) == {0, 1, 2}
        sums = {key: item["base_value"] + sum(item["values"].values()) for key, item in outputs.items()}
        assert sums == pytest.approx({key: float(key == label) for key in (0, 1, 2)}, abs=1e-6)
        ignored: Any = [abs(item["values"]["sepal width"]) for item in explanation["outputs"]]
        assert max(ignored) < 1e-6


def test_lime_finds_the_column_that_matters(predictors: dict[str, str]) -> None:
    with explaining(predictors, "lime", "linear", "--samples=500") as client:
        answer = client.explain("m", {"instances": [ROW]})
    weights = answer["explanations"][0]["outputs"][0]["weights"]
    assert len(weights) == 4
    assert "petal length" in weights[0]["column"]
    with explaining(predictors, "lime", "tree", "--samples=500") as client:
        answer = client.explain("m", {"instances": [[5.0, 3.5, 1.4, 0.2]]})
        other = client.explain("m", {"instances": [[5.0, 3.5, 1.4, 0.2]], "parameters": {"target": 2}})
    (output,) = answer["explanations"][0]["outputs"]
    assert output["output"] == 0
    assert "petal" in output["weights"][0]["column"]
    assert other["explanations"][0]["outputs"][0]["output"] == 2


def test_a_predictor_that_fails_is_told_as_it_said(predictors: dict[str, str]) -> None:
    gone = {**predictors, "linear": "127.0.0.1:1"}
    with (
        explaining(gone, "shap", "linear", "--predictor_request_retries=0") as client,
        pytest.raises(UpstreamError, match="cannot connect to 127") as caught,
    ):
        client.explain("m", {"instances": [ROW]})
    assert caught.value.status == 503
