"""Whatever arrives together, each request gets what it would have got alone: answers, errors, order."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

import joblib
import numpy as np
import pytest
from batching_rig import ask, plane_of
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from sklearn.datasets import load_iris
from sklearn.svm import SVC
from sklearn.tree import DecisionTreeRegressor

from runtimes.sklearn.model import SklearnModel
from wakeful.core.errors import FailureError
from wakeful.core.protocol import arrays, oip
from wakeful.serving import InferRequest, InferResponse
from wakeful.serving.model import Context

NUMBERS = st.one_of(st.integers(-5, 9), st.floats(0, 8, width=32), st.none(), st.booleans())
ROWS = st.lists(st.lists(NUMBERS, min_size=3, max_size=5), min_size=0, max_size=4)
WIDE = st.lists(st.lists(st.floats(0, 8, width=32), min_size=4, max_size=4), min_size=1, max_size=4)


def binary(rows: list[list[float]], datatype: str) -> InferRequest:
    array = np.array(rows, arrays.DTYPES[datatype])
    return InferRequest([oip.Tensor("input-0", array.shape, datatype, memoryview(array.tobytes()))])


def json_of(rows: list[list[float]], datatype: str) -> InferRequest:
    flat: list[Any] = [value if datatype[0] == "F" else int(value) for row in rows for value in row]
    return InferRequest([oip.Tensor("input-0", (len(rows), len(rows[0])), datatype, flat)])


PAYLOADS = st.one_of(
    st.tuples(WIDE, st.sampled_from(["FP32", "FP64", "INT64", "UINT8"])).map(lambda pair: json_of(*pair)),
    ROWS.filter(lambda rows: bool(rows and None not in rows[0])).map(
        lambda rows: json_of([[float(value or 0) for value in rows[0]]], "FP64")
    ),
    ROWS.map(lambda rows: {"instances": rows}),
    WIDE.map(lambda rows: {"instances": rows}),
    st.tuples(WIDE, st.sampled_from(["FP32", "FP64", "INT64", "FP16"])).map(lambda pair: binary(*pair)),
    st.sampled_from([{"instances": [["a", "b", "c", "d"]]}, {"wrong": 1}, b'{"instances": [[1, 2, 3, 4]]}']),
)


@pytest.fixture(scope="module", params=[SVC(), DecisionTreeRegressor(random_state=0)], ids=["SVC", "tree"])
def model(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> SklearnModel:
    folder: Path = tmp_path_factory.mktemp("model")
    joblib.dump(request.param.fit(*load_iris(return_X_y=True)), folder / "model.joblib")
    found = SklearnModel("m", folder, {"WAKEFUL_PICKLE": "Allow"})
    found.load()
    return found


def comparable(answer: Any) -> Any:
    if isinstance(answer, InferResponse):
        return [(t.name, t.shape, t.datatype, arrays.raw(t)) for t in answer.outputs]
    return answer


def alone(model: SklearnModel, payload: Any) -> Any:
    try:
        return comparable(model.predict(payload, Context({})))
    except FailureError as error:
        return error.kind, str(error)


@settings(max_examples=40, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(payloads=st.lists(PAYLOADS, min_size=1, max_size=12))
def test_together_is_as_alone(model: SklearnModel, payloads: list[Any]) -> None:
    expected = [alone(model, payload) for payload in payloads]

    async def together() -> list[Any]:
        plane = plane_of(model)
        try:
            return list(await asyncio.gather(*(ask(plane, payload) for payload in payloads)))
        finally:
            plane.close()

    assert [comparable(answer) for answer in asyncio.run(together())] == expected
