"""Small ONNX models for tests, built with the onnx package (imported only there: the server never needs it)."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import onnx
from onnx import TensorProto, helper

TYPES = {
    "FP32": TensorProto.FLOAT,
    "FP64": TensorProto.DOUBLE,
    "FP16": TensorProto.FLOAT16,
    "INT64": TensorProto.INT64,
    "INT8": TensorProto.INT8,
    "UINT16": TensorProto.UINT16,
    "BOOL": TensorProto.BOOL,
    "BYTES": TensorProto.STRING,
}
Value = tuple[str, str, list[Any]]
"""Name, V2 datatype, shape (text for a symbolic dimension)."""


def save(
    path: Path, nodes: list[Any], inputs: list[Value], outputs: list[Value], initializers: Sequence[Any] = ()
) -> None:
    """Write a model of ``nodes``."""
    sides = [
        [helper.make_tensor_value_info(name, TYPES[kind], shape) for name, kind, shape in side]
        for side in (inputs, outputs)
    ]
    graph = helper.make_graph(nodes, "test", *sides, list(initializers))
    ids = [helper.make_opsetid("", 17), helper.make_opsetid("ai.onnx.ml", 3)]
    model = helper.make_model(graph, opset_imports=ids, ir_version=8)
    path.write_bytes(model.SerializeToString())


def node(kind: str, inputs: list[str], outputs: list[str], **attributes: Any) -> Any:
    """One operator."""
    return helper.make_node(kind, inputs, outputs, **attributes)


def external(name: str, size: int, location: str) -> onnx.TensorProto:
    """FP32 weights kept in a file called ``location``."""
    tensor = TensorProto(
        name=name, data_type=TensorProto.FLOAT, dims=[size], data_location=TensorProto.EXTERNAL
    )
    for key, value in {"location": location, "offset": "0", "length": str(4 * size)}.items():
        entry = tensor.external_data.add()
        entry.key, entry.value = key, value
    return tensor


def whole_numbers(name: str, values: Sequence[int]) -> Any:
    """INT64 weights."""
    return helper.make_tensor(name, TYPES["INT64"], [len(values)], list(values))
