"""ONNX models under their own names, datatypes and shapes, by V2 and V1; what is refused, and in which words."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import onnx_models
import pytest
from onnx import helper

from runtimes.onnx.model import OnnxModel
from wakeful.core.errors import FailureError, FailureKind, InvalidError
from wakeful.core.protocol import arrays
from wakeful.core.protocol.oip import InferRequest, RequestedOutput, Tensor
from wakeful.serving import Context
from wakeful.serving.model import LoadError

CONTEXT = Context({})


def served(folder: Path) -> OnnxModel:
    model = OnnxModel("m", folder, 1)
    model.load()
    return model


def infer(model: OnnxModel, *tensors: Tensor, outputs: tuple[str, ...] = ()) -> dict[str, Any]:
    request = InferRequest(list(tensors), [RequestedOutput(name) for name in outputs])
    answer = model.predict(request, CONTEXT)
    return {tensor.name: np.asarray(tensor.data).reshape(tensor.shape).tolist() for tensor in answer.outputs}


@pytest.fixture
def adder(tmp_path: Path) -> OnnxModel:
    """sum = left + right, scaled = 2 * sum, of [n, 2]."""
    two = helper.make_tensor("two", onnx_models.TYPES["FP32"], [], [2.0])
    nodes = [
        onnx_models.node("Add", ["left", "right"], ["sum"]),
        onnx_models.node("Mul", ["sum", "two"], ["scaled"]),
    ]
    inputs = [("left", "FP32", ["n", 2]), ("right", "FP32", ["n", 2])]
    outputs = [("sum", "FP32", ["n", 2]), ("scaled", "FP32", ["n", 2])]
    onnx_models.save(tmp_path / "model.onnx", nodes, inputs, outputs, [two])
    return served(tmp_path)


def test_metadata_is_the_models_own(adder: OnnxModel) -> None:
    assert [spec.as_json() for spec in adder.inputs()] == [
        {"name": "left", "datatype": "FP32", "shape": [-1, 2]},
        {"name": "right", "datatype": "FP32", "shape": [-1, 2]},
    ]
    assert [spec.name for spec in adder.outputs()] == ["sum", "scaled"]
    assert adder.platform() == "onnxruntime_onnx"


def test_no_rows_give_no_rows(adder: OnnxModel) -> None:
    empty = [Tensor(name, (0, 2), "FP32", memoryview(b"")) for name in ("left", "right")]
    assert infer(adder, *empty) == {"sum": [], "scaled": []}


def test_inputs_go_by_name_and_outputs_are_those_asked_for(adder: OnnxModel) -> None:
    left, right = Tensor("left", (1, 2), "FP32", [1.0, 2.0]), Tensor("right", (1, 2), "FP64", [10.0, 20.0])
    assert infer(adder, right, left) == {"sum": [[11, 22]], "scaled": [[22, 44]]}
    assert infer(adder, left, right, outputs=("scaled",)) == {"scaled": [[22, 44]]}


def test_v1_rows_are_objects_by_input_and_answers_by_output(adder: OnnxModel) -> None:
    rows = [{"left": [1, 2], "right": [0.5, None]}, {"left": [3, 4], "right": [0, 0]}]
    answer = adder.predict({"instances": rows}, CONTEXT)["predictions"]
    assert answer[1] == {"sum": [3, 4], "scaled": [6, 8]}
    assert np.isnan(answer[0]["sum"][1])


@pytest.mark.parametrize("datatype", sorted(onnx_models.TYPES))
def test_every_datatype(tmp_path: Path, datatype: str) -> None:
    value = ("x", datatype, ["n"])
    onnx_models.save(
        tmp_path / "any.onnx", [onnx_models.node("Identity", ["x"], ["y"])], [value], [("y", datatype, ["n"])]
    )
    model = served(tmp_path)
    if datatype == "BYTES":
        assert infer(model, Tensor("x", (2,), "BYTES", ["ä", b"b"]))["y"] == ["ä", "b"]
        assert model.predict({"instances": ["a", "b"]}, CONTEXT) == {"predictions": ["a", "b"]}
        return
    data = np.array([1, 0, 1]).astype(arrays.DTYPES[datatype])
    answer = model.predict(InferRequest([Tensor("x", (3,), datatype, memoryview(data.tobytes()))]), CONTEXT)
    assert answer.outputs[0].datatype == datatype
    assert infer(model, Tensor("renamed", (3,), datatype, data))["y"] == data.tolist()


@pytest.mark.parametrize(
    ("tensors", "words"),
    [
        (
            [Tensor("left", (1, 2), "FP32", [1.0, 2.0])],
            "input 'right' is missing; the model takes left, right",
        ),
        ([Tensor("lefd", (1, 2), "FP32", [1.0, 2.0])], "input .lefd. is none of the model's"),
        (
            [Tensor(name, (1, 3), "FP32", [1.0] * 3) for name in ("left", "right")],
            "shape \\[1, 3\\]: the model takes \\[-1, 2\\]",
        ),
        (
            [Tensor(name, (2,), "FP32", [1.0] * 2) for name in ("left", "right")],
            "the model takes \\[-1, 2\\]",
        ),
        (
            [Tensor(name, (1, 2), "BYTES", ["1", "2"]) for name in ("left", "right")],
            "holds text: the model takes FP32",
        ),
        (
            [Tensor(name, (1, 2), "BOOL", [True, False]) for name in ("left", "right")],
            "holds BOOL: the model takes FP32",
        ),
        (
            [Tensor("left", (2, 2), "FP32", [1.0] * 4), Tensor("right", (3, 2), "FP32", [1.0] * 6)],
            "the model cannot compute this input",
        ),
    ],
    ids=["missing", "unknown", "size", "rank", "text", "bool", "unequal"],
)
def test_wrong_requests(adder: OnnxModel, tensors: list[Tensor], words: str) -> None:
    with pytest.raises(FailureError, match=words):
        infer(adder, *tensors)


@pytest.mark.parametrize(
    ("rows", "words"),
    [
        ([[1, 2]], "send rows as objects"),
        ([{"left": [1, 2]}], r"instances\[0\] has no 'right'"),
        ([{"left": [1, 2], "right": [1]}, {"left": [1], "right": [1, 2]}], "ragged"),
        ([{"left": [1, "x"], "right": [1, 2]}], "text"),
        ([{"left": [1, {}], "right": [1, 2]}], "neither all numbers nor all text"),
    ],
    ids=["lists", "missing", "ragged", "text", "object"],
)
def test_wrong_rows(adder: OnnxModel, rows: Any, words: str) -> None:
    with pytest.raises(InvalidError, match=words):
        adder.predict({"instances": rows}, CONTEXT)


def test_whole_numbers_are_converted_where_they_fit(tmp_path: Path) -> None:
    onnx_models.save(
        tmp_path / "m.onnx",
        [onnx_models.node("Identity", ["x"], ["y"])],
        [("x", "INT8", ["n"])],
        [("y", "INT8", ["n"])],
    )
    model = served(tmp_path)
    assert infer(model, Tensor("x", (2,), "INT64", [127, -128])) == {"y": [127, -128]}
    with pytest.raises(InvalidError, match="numbers that are no INT8: it takes -128 to 127"):
        infer(model, Tensor("x", (1,), "INT64", [128]))
    with pytest.raises(InvalidError, match="holds FP32: the model takes INT8"):
        infer(model, Tensor("x", (1,), "FP32", [1.0]))


def test_an_index_beyond_the_table_is_the_callers_mistake(tmp_path: Path) -> None:
    table = helper.make_tensor("table", onnx_models.TYPES["FP32"], [3], [1.0, 2.0, 3.0])
    onnx_models.save(
        tmp_path / "m.onnx",
        [onnx_models.node("Gather", ["table", "x"], ["y"])],
        [("x", "INT64", ["n"])],
        [("y", "FP32", ["n"])],
        [table],
    )
    model = served(tmp_path)
    assert infer(model, Tensor("x", (1,), "INT64", [2])) == {"y": [3.0]}
    with pytest.raises(FailureError, match="out of data bounds") as caught:
        infer(model, Tensor("x", (1,), "INT64", [3]))
    assert caught.value.kind is FailureKind.INVALID


def test_a_converted_classifiers_map_is_a_matrix(tmp_path: Path) -> None:
    path = tmp_path / "m.onnx"
    nodes = [
        onnx_models.node(
            "ZipMap", ["x"], ["probabilities"], domain="ai.onnx.ml", classlabels_strings=["b", "a"]
        )
    ]
    answer = helper.make_tensor_sequence_value_info("unused", 1, None)
    answer.name = "probabilities"
    map_type = helper.make_map_type_proto(8, helper.make_tensor_type_proto(1, []))
    answer.type.CopyFrom(helper.make_sequence_type_proto(map_type))
    graph = helper.make_graph(nodes, "test", [helper.make_tensor_value_info("x", 1, ["n", 2])], [answer])
    ids = [helper.make_opsetid("", 17), helper.make_opsetid("ai.onnx.ml", 3)]
    path.write_bytes(helper.make_model(graph, opset_imports=ids, ir_version=8).SerializeToString())
    model = served(tmp_path)
    assert infer(model, Tensor("x", (2, 2), "FP32", [0.25, 0.75, 1.0, 0.0])) == {
        "probabilities": [[0.75, 0.25], [0.0, 1.0]]
    }
    assert model.outputs()[0].as_json() == {"name": "probabilities", "datatype": "FP32", "shape": [-1, -1]}


def test_a_triton_repository_of_one_model(tmp_path: Path) -> None:
    for version, factor in (("2", 2.0), ("10", 10.0)):
        folder = tmp_path / "double" / version
        folder.mkdir(parents=True)
        weight = helper.make_tensor("w", onnx_models.TYPES["FP32"], [], [factor])
        onnx_models.save(
            folder / "model.onnx",
            [onnx_models.node("Mul", ["x", "w"], ["y"])],
            [("x", "FP32", ["n"])],
            [("y", "FP32", ["n"])],
            [weight],
        )
    (tmp_path / "double" / "config.pbtxt").write_text('name: "double"')
    assert infer(served(tmp_path), Tensor("x", (1,), "FP32", [1.0])) == {"y": [10.0]}


@pytest.mark.parametrize("location", ["../outside.bin", "ABSOLUTE", "link.bin", "gone.bin"])
def test_weights_outside_the_models_folder_are_not_read(tmp_path: Path, location: str) -> None:
    outside = tmp_path / "outside.bin"
    outside.write_bytes(np.ones(4, np.float32).tobytes())
    folder = tmp_path / "models"
    folder.mkdir()
    (folder / "inside.bin").write_bytes(np.ones(4, np.float32).tobytes())
    (folder / "link.bin").symlink_to(outside)
    nodes, inputs = [onnx_models.node("Add", ["x", "w"], ["y"])], [("x", "FP32", [4])]
    for name, is_fine in (("inside.bin", True), (location.replace("ABSOLUTE", str(outside)), False)):
        weight = onnx_models.external("w", 4, name)
        onnx_models.save(folder / "model.onnx", nodes, inputs, [("y", "FP32", [4])], [weight])
        if is_fine:
            assert infer(served(folder), Tensor("x", (4,), "FP32", [0.0] * 4)) == {"y": [1.0] * 4}
        else:
            with pytest.raises(LoadError, match=r"model.onnx cannot be loaded: .*External data path"):
                served(folder)


@pytest.mark.parametrize("content", [b"", b"garbage" * 10, b"\x08\x08\x3a\xff\xff\xff\xff\x0f"])
def test_files_that_are_no_model(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "model.onnx").write_bytes(content)
    with pytest.raises(LoadError, match=r"model.onnx cannot be loaded"):
        served(tmp_path)


def test_a_weight_of_four_terabytes_is_refused(tmp_path: Path) -> None:
    from onnx import TensorProto

    weight = TensorProto(name="w", data_type=1, dims=[1 << 40])
    onnx_models.save(
        tmp_path / "m.onnx",
        [onnx_models.node("Identity", ["w"], ["y"])],
        [],
        [("y", "FP32", ["n"])],
        [weight],
    )
    with pytest.raises(LoadError, match=r"m.onnx cannot be loaded"):
        served(tmp_path)
