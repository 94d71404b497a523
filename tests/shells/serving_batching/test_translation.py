"""V1 asked of models that take tensors, V2 of models that take rows, and what cannot be said in the other form."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from batching_rig import ask, plane_of

from wakeful.core.errors import FailureError, FailureKind, InvalidError
from wakeful.core.protocol import arrays
from wakeful.serving import InferRequest, InferResponse, Tensor, translation
from wakeful.serving.model import Context, Model, TensorSpec

SPECS = [TensorSpec("a", "FP32", (-1, 2)), TensorSpec("b", "INT8", (-1,))]


class Tensors(Model):
    takes = "tensors"

    def predict(self, payload: Any, context: Context) -> Any:
        assert isinstance(payload, InferRequest)
        return InferResponse([arrays.from_array(t.name, arrays.to_array(t)) for t in payload.inputs])


class Rows(Model):
    takes = "rows"

    def predict(self, payload: Any, context: Context) -> Any:
        assert isinstance(payload, dict)
        return {"predictions": payload["instances"]}


async def test_v1_reaches_a_model_of_tensors_and_v2_one_of_rows() -> None:
    plane = plane_of(Tensors("m"))
    answer = await ask(plane, {"instances": [[1, 2], [3, 4]]})
    assert translation.to_predictions(answer) == {"predictions": [[1, 2], [3, 4]]}
    plane.close()
    plane = plane_of(Rows("m"))
    answer = await ask(plane, InferRequest([arrays.from_array("x", np.array([[1.5], [2.5]]))]))
    assert answer == {"predictions": [[1.5], [2.5]]}
    assert await ask(plane, {"instances": []}) == {"predictions": []}  # what it takes is not looked at
    plane.close()


@pytest.mark.parametrize(
    ("rows", "datatype", "shape"),
    [
        ([1, 2], "INT64", (2,)),
        ([[1.5, 2]], "FP64", (1, 2)),
        ([[1, None]], "FP64", (1, 2)),
        ([True], "BOOL", (1,)),
        (["x", "y"], "BYTES", (2,)),
        ([[[1], [2]], [[3], [4]]], "INT64", (2, 2, 1)),
        ([{"b64": "/w=="}], "BYTES", (1,)),
    ],
)
def test_datatypes_by_what_the_elements_are(rows: Any, datatype: str, shape: tuple[int, ...]) -> None:
    (tensor,) = translation.to_request({"instances": rows}, []).inputs
    assert (tensor.name, tensor.datatype, tensor.shape) == ("input-0", datatype, shape)


def test_rows_of_objects_are_a_tensor_a_member_in_the_models_types() -> None:
    request = translation.to_request({"instances": [{"b": 1, "a": [1, 2]}, {"a": [3, 4.5], "b": 2.0}]}, SPECS)
    assert [(t.name, t.datatype, t.shape, t.data) for t in request.inputs] == [
        ("a", "FP32", (2, 2), [1, 2, 3, 4.5]),
        ("b", "INT8", (2,), [1, 2]),
    ]
    assert translation.to_rows(request) == {"instances": [{"a": [1, 2], "b": 1}, {"a": [3, 4.5], "b": 2}]}


@pytest.mark.parametrize("datatype", ["FP16", "BF16"])
def test_halves_are_numbers_in_v1(datatype: str) -> None:
    request = translation.to_request({"instances": [[1.5, -2]]}, [TensorSpec("h", datatype, (-1, 2))])
    assert request.inputs[0].datatype == datatype
    assert translation.to_rows(request) == {"instances": [[1.5, -2.0]]}
    assert translation.to_predictions(InferResponse(request.inputs)) == {"predictions": [[1.5, -2.0]]}


@pytest.mark.parametrize(
    ("rows", "specs", "text"),
    [
        ([[1], [1, 2]], [], "ragged"),
        ([[1.5, 2]], [TensorSpec("b", "INT8", (-1, 2))], "element 0 of data is 1.5, which is not INT8"),
        ([[300, 2]], [TensorSpec("b", "INT8", (-1, 2))], "300, outside INT8"),
        ([[1, 2]], SPECS, "the model takes a, b: send rows as objects"),
        ([{"a": [1, 2]}], SPECS, "has no 'b'; the model takes a, b"),
        ([{"a": 1}, 5], [], "not an object as instances"),
        ([1, "x"], [], "mixes a number, a string"),
        ([[]], [], "every dimension must be 1 or more"),
        ([{"b64": "?"}], [], "which is not base64"),
        ([{"b64": 5}], [], "which is not base64"),
        ([1], [TensorSpec("t", "BYTES", (-1,))], "holds a number, which is not BYTES"),
    ],
)  # fmt: skip
def test_rows_that_are_no_tensor(rows: Any, specs: list[TensorSpec], text: str) -> None:
    with pytest.raises(InvalidError, match=text):
        translation.to_request({"instances": rows}, specs)


@pytest.mark.parametrize(
    ("tensors", "text"),
    [
        ([Tensor("x", (1,), "BYTES", [b"\xff"])], "BYTES that are not UTF-8 text"),
        ([Tensor("x", (1,), "INT8", [1]), Tensor("y", (2,), "INT8", [1, 2])], "same first dimension"),
    ],
    ids=["bytes", "rows"],
)
def test_tensors_that_are_no_rows(tensors: list[Tensor], text: str) -> None:
    with pytest.raises(InvalidError, match=text):
        translation.to_rows(InferRequest(tensors))


def test_outputs_of_different_rows_have_no_v1_form() -> None:
    outputs = [Tensor("x", (1,), "INT8", [1]), Tensor("y", (2,), "INT8", [1, 2])]
    with pytest.raises(FailureError, match="differ in rows, which V1 cannot say"):
        translation.to_predictions(InferResponse(outputs))


@pytest.mark.parametrize(
    ("predictions", "expected"),
    [
        (np.array([1, 2]), [("out", "FP32", (2,), [1, 2])]),
        ([[1.5], [2.5]], [("out", "FP32", (2, 1), [1.5, 2.5])]),
    ],
    ids=["array", "lists"],
)
def test_predictions_as_tensors(predictions: Any, expected: Any) -> None:
    response = translation.to_response({"predictions": predictions}, [TensorSpec("out", "FP32", (-1,))])
    assert [(t.name, t.datatype, t.shape, t.data) for t in response.outputs] == expected


def test_predictions_of_objects_as_tensors() -> None:
    response = translation.to_response({"predictions": [{"p": 0.5, "c": "x"}, {"p": 1.0, "c": "y"}]}, [])
    assert [(t.name, t.datatype, t.data) for t in response.outputs] == [
        ("p", "FP64", [0.5, 1.0]),
        ("c", "BYTES", ["x", "y"]),
    ]


@pytest.mark.parametrize("predictions", [[], "text", [[1], [1, 2]], [{"a": 1}, {"b": 1}]])
def test_predictions_that_are_no_tensor(predictions: Any) -> None:
    with pytest.raises(
        FailureError, match=r"the model's predictions cannot be a tensor.*use :predict"
    ) as caught:
        translation.to_response({"predictions": predictions}, [])
    assert caught.value.kind is FailureKind.UNSUPPORTED
