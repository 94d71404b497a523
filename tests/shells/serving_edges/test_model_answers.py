"""What model code may answer with: anything with a JSON form is sent, and what is no tensor is the model's fault, clearly."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from wakeful.serving import Context, InferRequest, InferResponse, Model, Tensor

TENSOR = {"inputs": [{"name": "x", "shape": [1], "datatype": "INT8", "data": [1]}]}


class Says(Model):
    def __init__(self, answer: Any) -> None:
        super().__init__("m")
        self._answer = answer

    def predict(self, payload: Any, context: Context) -> Any:
        return self._answer if isinstance(payload, InferRequest) else {"predictions": self._answer}


@pytest.mark.parametrize(
    ("answer", "sent"),
    [
        (np.array(["setosa", "virginica"]), ["setosa", "virginica"]),
        (np.array(["a", 1, None], dtype=object), ["a", 1, None]),
        (np.arange(6).reshape(2, 3).T, [[0, 3], [1, 4], [2, 5]]),
        (np.arange(6).reshape(2, 3)[:, 1], [1, 4]),
        (np.array(3.5), 3.5),
        ([np.array([np.nan, 1.0])[::-1], np.float32(0.5)], [[1.0, None], 0.5]),
    ],
    ids=["text", "objects", "transposed", "column", "no-dimensions", "inside"],
)
async def test_every_array_has_a_json_form(start: Any, answer: Any, sent: Any) -> None:
    client = await start(Says(answer))
    assert (await client.ask("POST", "/v1/models/m:predict", json={"instances": [1]}))[:2] == (
        200,
        {"predictions": sent},
    )


@pytest.mark.parametrize(
    "answer", [{1, 2}, object(), np.array([1j]), b"raw"], ids=["set", "object", "complex", "bytes"]
)
async def test_what_has_no_json_form_is_the_models_fault(start: Any, answer: Any) -> None:
    client = await start(Says(answer))
    status, found, _ = await client.ask("POST", "/v1/models/m:predict", json={"instances": [1]})
    assert (status, "has no JSON form" in found["error"]) == (500, True), found


@pytest.mark.parametrize(
    ("answer", "words"),
    [
        ({"outputs": [{"name": "x"}]}, "outputs[0] that is no tensor: it needs name, shape"),
        ({"outputs": [{"name": "x", "shape": [1], "datatype": "INT8", "data": [1]}, 5]}, "outputs[1] that is no"),
        ({"outputs": [{"name": "x", "shape": 1, "datatype": "INT8", "data": [1]}]}, "shape (a list)"),
        (InferResponse([{"name": "x"}]), "outputs[0] that is no tensor"),  # type: ignore[list-item]
        (InferResponse([None]), "outputs[0] that is no tensor"),  # type: ignore[list-item]
        (InferResponse(None), "without a list of outputs"),  # type: ignore[arg-type]
        (InferResponse([Tensor("x", (5,), "INT32", [1, 2])]), "output 'x' of shape [5] with 2 elements"),
        (InferResponse([Tensor("x", (2, 2), "FP32", np.zeros(3))]), "output 'x' of shape [2, 2] with 3 elements"),
        (InferResponse([Tensor("x", (1,), "float32", [1.0])]), "datatype 'float32'; known are BOOL"),
    ],
    ids=["members", "number", "shape", "dict", "none", "no-list", "few", "array", "datatype"],
)  # fmt: skip
async def test_what_is_no_tensor_is_the_models_fault(start: Any, answer: Any, words: str) -> None:
    client = await start(Says(answer))
    status, found, _ = await client.ask("POST", "/v2/models/m/infer", json=TENSOR)
    assert (status, words in found["error"]) == (500, True), found


@pytest.mark.parametrize(
    "data", [[[1, 2], [3, 4]], np.ones((2, 2)), [1, 2, 3, 4]], ids=["nested", "array", "flat"]
)
async def test_tensors_may_be_nested(start: Any, data: Any) -> None:
    client = await start(
        Says({"outputs": [{"name": "x", "shape": [2, 2], "datatype": "FP64", "data": data}]})
    )
    status, found, _ = await client.ask("POST", "/v2/models/m/infer", json=TENSOR)
    assert (status, len(found["outputs"][0]["data"])) == (200, 4)


class Careless(Model):
    """As most people write it."""

    def predict(self, payload: Any, context: Context) -> Any:
        return {"predictions": [payload["table"][row] for row in payload["instances"]]}


@pytest.mark.parametrize(
    ("payload", "status", "words"),
    [
        ({"instances": [1]}, 500, "KeyError : 'table'"),
        ({"table": {}, "instance": [1]}, 400, 'the request has no "instances" (or "inputs"); its members: instance, table'),
        ({"table": {}, "instances": ["instances"]}, 500, "KeyError : 'instances'"),
    ],
    ids=["other-member", "no-rows", "a-value"],
)  # fmt: skip
async def test_rows_that_a_model_misses_are_missing_in_the_request(
    start: Any, payload: dict[str, Any], status: int, words: str
) -> None:
    client = await start(Careless("m"))
    found = await client.ask("POST", "/v1/models/m:predict", json=payload)
    assert found[:2] == (status, {"error": words})
