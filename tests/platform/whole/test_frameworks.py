"""Every model server under unmodified KServe YAML, in the old and the new style, answering V1 and V2 as its framework does."""

from __future__ import annotations

import functools
import http.server
import threading
from collections.abc import Iterator
from pathlib import Path

import joblib
import lightgbm
import numpy as np
import onnx_models
import pytest
import xgboost
from services_rig import Services
from sklearn.linear_model import LinearRegression
from whole_platform import Platform

pytestmark = [pytest.mark.platform, pytest.mark.timeout(180), pytest.mark.usefixtures("needs_kubectl")]

RANDOM = np.random.default_rng(3)
ROWS = RANDOM.normal(size=(60, 3))
LABELS = (ROWS[:, 0] > 0).astype(int)
ASKED = ROWS[:2].tolist()


def train(folder: Path) -> dict[str, list[float]]:
    """One model a framework in a folder of its own; what each says of ``ASKED``."""
    for name in ("xgb", "lgb", "onnx"):
        (folder / name).mkdir(parents=True)
    boost = xgboost.train(
        {"nthread": 1, "objective": "binary:logistic"}, xgboost.DMatrix(ROWS, label=LABELS), 3
    )
    boost.save_model(folder / "xgb" / "model.json")
    data = lightgbm.Dataset(ROWS, label=LABELS)
    light = lightgbm.train({"objective": "binary", "verbose": -1, "num_threads": 1}, data, 3)
    light.save_model(folder / "lgb" / "model.bst")
    value = ("rows", "FP32", ["n", 3])
    onnx_models.save(
        folder / "onnx" / "model.onnx",
        [onnx_models.node("ReduceSum", ["rows", "axis"], ["sum"], keepdims=0)],
        [value],
        [("sum", "FP32", ["n"])],
        [onnx_models.whole_numbers("axis", [1])],
    )
    asked = np.array(ASKED)
    return {
        "xgb": boost.predict(xgboost.DMatrix(asked)).tolist(),
        "lgb": light.predict(asked, num_threads=1).tolist(),
        "onnx": asked.astype(np.float32).sum(axis=1).tolist(),
    }


PREDICTORS = {
    "xgb": '{model: {modelFormat: {name: xgboost}, storageUri: "pvc://models/xgb"}}',
    "xgb-old": '{xgboost: {storageUri: "pvc://models/xgb"}}',
    "lgb": '{model: {modelFormat: {name: lightgbm, version: "3"}, storageUri: "pvc://models/lgb"}}',
    "onnx": '{model: {modelFormat: {name: onnx}, protocolVersion: v2, storageUri: "pvc://models/onnx"}}',
    "onnx-old": '{onnx: {storageUri: "pvc://models/onnx"}}',
}


@pytest.fixture(scope="module")
def services(platform: Platform) -> Services:
    return Services(platform, "frameworks")


@pytest.fixture(scope="module")
def expected(services: Services) -> dict[str, list[float]]:
    answers = train(services.models)
    services.apply(PREDICTORS)
    services.wait(*PREDICTORS)
    return answers


@pytest.mark.parametrize("name", PREDICTORS)
def test_answers_v1_and_v2(services: Services, expected: dict[str, list[float]], name: str) -> None:
    wanted = expected[name.removesuffix("-old")]
    metadata = services.ask(name, f"/v2/models/{name}")
    (tensor,) = metadata["inputs"]
    assert tensor["shape"] == [-1, 3]
    answer = services.ask(name, f"/v1/models/{name}:predict", {"instances": ASKED})
    assert answer["predictions"] == pytest.approx(wanted, rel=1e-6)
    sent = {"name": tensor["name"], "shape": [2, 3], "datatype": tensor["datatype"], "data": ASKED}
    (output,) = services.ask(name, f"/v2/models/{name}/infer", {"inputs": [sent]})["outputs"]
    assert (output["name"], output["datatype"]) == (
        metadata["outputs"][0]["name"],
        metadata["outputs"][0]["datatype"],
    )
    assert output["data"] == pytest.approx(wanted, rel=1e-6)


@pytest.fixture
def downloads(tmp_path: Path) -> Iterator[str]:
    """The address of a scikit-learn model in a pickle."""
    joblib.dump(LinearRegression().fit(ROWS, LABELS), tmp_path / "model.joblib")
    handler = functools.partial(http.server.SimpleHTTPRequestHandler, directory=tmp_path)
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler) as files:
        thread = threading.Thread(target=files.serve_forever)
        thread.start()
        yield f"http://127.0.0.1:{files.server_port}/model.joblib"
        files.shutdown()
        thread.join()


@pytest.mark.usefixtures("expected")
def test_a_downloaded_pickle_is_warned_of(services: Services, downloads: str) -> None:
    services.apply({"pickled": f'{{model: {{modelFormat: {{name: sklearn}}, storageUri: "{downloads}"}}}}'})
    for condition in ("Ready", "ModelRunsCode"):
        services.wait("pickled", condition=condition)
    conditions = services.read("pickled")["status"]["conditions"]
    (warning,) = [item for item in conditions if item["type"] == "ModelRunsCode"]
    assert (warning["severity"], warning["reason"]) == ("Warning", "CodeBearingFormat")
    assert warning["message"].startswith("model.joblib: loading it runs code of whoever made it.")
    assert "model.joblib" in services.kubectl("get", "events", "--field-selector=reason=CodeBearingFormat")
