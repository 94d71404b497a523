"""Open Inference Protocol over REST against the scikit-learn runtime: JSON and binary, answers as scikit-learn gives."""

from __future__ import annotations

import json
import struct
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import aiohttp
import iris_rig
import joblib
import numpy as np
import pytest

from runtimes.sklearn.model import SklearnModel
from wakeful.serving.server import Server
from wakeful.serving.settings import Settings

ROWS = [[5.1, 3.5, 1.4, 0.2], [6.7, 3.0, 5.2, 2.3], [5.9, 3.0, 4.2, 1.5]]
INFER = "/v2/models/iris/infer"


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return iris_rig.put(tmp_path_factory.mktemp("iris"))


@pytest.fixture(params=["classes", "probabilities"])
async def kind(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture
async def session(folder: Path, kind: str) -> AsyncIterator[aiohttp.ClientSession]:
    environ = {"PREDICT_PROBA": "true"} if kind == "probabilities" else {}
    model = SklearnModel("iris", folder, environ)
    server = Server([model], Settings(http_port=0, http_address="127.0.0.1", drain_quiet_s=0.0), {})
    await server.load()
    await server.listen()
    async with aiohttp.ClientSession(f"http://127.0.0.1:{server.port}") as client:
        yield client
    await server.drain()


def expected(folder: Path, kind: str, rows: list[list[float]]) -> Any:
    estimator = joblib.load(folder / "model.joblib")
    return estimator.predict(rows) if kind == "classes" else estimator.predict_proba(rows)


def tensor(**changes: Any) -> dict[str, Any]:
    return {"name": "input-0", "shape": [3, 4], "datatype": "FP64", "data": ROWS, **changes}


async def ask(session: aiohttp.ClientSession, body: Any, path: str = INFER) -> tuple[int, Any]:
    async with session.post(path, json=body) as response:
        return response.status, await response.json()


async def test_v1_and_v2_agree_with_scikit_learn(session: Any, folder: Path, kind: str) -> None:
    want = expected(folder, kind, ROWS)
    _, one = await ask(session, {"instances": ROWS}, "/v1/models/iris:predict")
    assert one == {"predictions": want.tolist()}
    for data in (ROWS, [value for row in ROWS for value in row]):
        status, two = await ask(session, {"id": "42", "inputs": [tensor(data=data)]})
        assert status == 200
        assert list(two) == ["model_name", "model_version", "id", "parameters", "outputs"]
        output = two["outputs"][0]
        assert (two["id"], output["name"], output["shape"]) == ("42", "output-0", list(want.shape))
        assert output["data"] == want.reshape(-1).tolist()


@pytest.mark.parametrize(
    "content_type",
    ["application/x-www-form-urlencoded", "text/plain", "", "application/json; charset=utf-8", "text/csv"],
)
async def test_v1_and_v2_json_need_no_content_type(
    session: Any, folder: Path, kind: str, content_type: str
) -> None:
    headers = {"Content-Type": content_type}
    want = expected(folder, kind, ROWS).tolist()
    body = json.dumps({"instances": ROWS}).encode()
    async with session.post("/v1/models/iris:predict", data=body, headers=headers) as response:
        assert (response.status, await response.json()) == (200, {"predictions": want})
    body = json.dumps({"inputs": [tensor()]}).encode()
    async with session.post(INFER, data=body, headers=headers) as response:
        assert response.status == 200, await response.text()


@pytest.mark.parametrize("datatype", ["FP32", "FP64", "INT32", "UINT8"])
async def test_binary_in_and_out(session: Any, folder: Path, kind: str, datatype: str) -> None:
    dtype = {"FP32": "<f4", "FP64": "<f8", "INT32": "<i4", "UINT8": "u1"}[datatype]
    array = np.array(ROWS).astype(dtype)
    raw = array.tobytes()
    head = json.dumps(
        {
            "inputs": [tensor(datatype=datatype, data=None, parameters={"binary_data_size": len(raw)})],
            "outputs": [{"name": "output-0", "parameters": {"binary_data": True}}],
        }
    ).encode()
    headers = {"Inference-Header-Content-Length": str(len(head)), "Content-Type": "application/octet-stream"}
    async with session.post(INFER, data=head + raw, headers=headers) as response:
        body = await response.read()
        assert response.status == 200, body
        assert response.content_type == "application/octet-stream"
        length = int(response.headers["inference-header-content-length"])
    answer = json.loads(body[:length])
    output = answer["outputs"][0]
    assert "data" not in output and output["parameters"]["binary_data_size"] == len(body) - length
    count = (len(body) - length) // 8
    values = struct.unpack(f"<{count}{'q' if output['datatype'] == 'INT64' else 'd'}", body[length:])
    assert list(values) == expected(folder, kind, array).reshape(-1).tolist()


async def test_one_tensor_a_column(session: Any, folder: Path, kind: str) -> None:
    columns = [tensor(name=f"c{n}", shape=[3], data=[row[n] for row in ROWS]) for n in range(4)]
    _, answer = await ask(session, {"inputs": columns})
    assert answer["outputs"][0]["data"] == expected(folder, kind, ROWS).reshape(-1).tolist()


@pytest.mark.parametrize(
    ("path", "body", "status", "words"),
    [
        (INFER, {"inputs": [tensor(shape=[4, 3], data=[value for row in ROWS for value in row])]}, 400, "the model takes [rows, 4]"),
        (INFER, {"inputs": [tensor(shape=[4, 3])]}, 400, "data is nested as [3, 4], not as its shape [4, 3]"),
        (INFER, {"inputs": [tensor(shape=[12])]}, 400, "input 'input-0' has shape [12]: the model takes [rows, 4]"),
        (INFER, {"inputs": [tensor(data=ROWS[:2])]}, 400, "holds 12 elements, data has 8"),
        (INFER, {"inputs": [tensor(shape=[3], data=[1, 2, 3])] * 2}, 400, "given twice"),
        (INFER, {"inputs": [tensor(name="a"), tensor(name="b")]}, 400, "one tensor a column"),
        (INFER, {"inputs": [tensor(datatype="BYTES", data=["a"] * 12)]}, 400, "LogisticRegression refuses the input"),
        (INFER, {"inputs": [tensor()], "outputs": [{"name": "no"}]}, 400, "Unexpected inference output 'no'"),
        (INFER, {"inputs": [{"name": "x"}]}, 422, "Field required"),
        ("/v1/models/iris:predict", {"instances": [[1, 2, 3]]}, 400, "the model takes [rows, 4], 4 numbers a row"),
        ("/v1/models/iris:predict", {"instances": [1, 2, 3, 4]}, 400, "the model takes [rows, 4]"),
        ("/v1/models/iris:predict", {"instances": [[1, 2, 3, 4], [1]]}, 400, "instances[1] has 1 values"),
        ("/v1/models/iris:predict", {"instances": [[1, 2, 3, None]]}, 400, "refuses the input: Input X contains NaN"),
        ("/v1/models/iris:predict", {"instances": [[1, 2, 3, {}]]}, 400, "instances[0][3] is an object"),
        ("/v1/models/iris:predict", {"instances": [1, [2]]}, 400, "ragged: instances[0] is not a list, instances[1] has 1"),
        ("/v1/models/iris:predict", {"instances": [[1, 2, 3, "x"]]}, 400, "refuses the input"),
        ("/v1/models/iris:predict", {"instances": [{"a": 1}]}, 400, "without column names"),
        ("/v1/models/iris:predict", {"instances": []}, 400, "empty"),
        ("/v1/models/iris:predict", {"rows": []}, 400, 'no "instances"'),
    ],
    ids=lambda value: str(value)[:50],
)  # fmt: skip
async def test_wrong_input_is_the_callers_fault(
    session: Any, path: str, body: Any, status: int, words: str
) -> None:
    found = await ask(session, body, path)
    assert (found[0], words in json.dumps(found[1]).replace("\\", "")) == (status, True), found


async def test_metadata_comes_from_the_estimator(session: Any, kind: str) -> None:
    async with session.get("/v2/models/iris") as response:
        found = await response.json()
    assert found["inputs"] == [{"name": "input-0", "datatype": "FP64", "shape": [-1, 4]}]
    output = (
        {"datatype": "INT64", "shape": [-1]} if kind == "classes" else {"datatype": "FP64", "shape": [-1, 3]}
    )
    assert found["outputs"] == [{"name": "output-0", **output}]
    assert found["platform"] == "sklearn"
