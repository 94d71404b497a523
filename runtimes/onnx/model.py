"""An ONNX model as a ``Model``, computed by ONNX Runtime on processors.

V2 with the model's own names, shapes and datatypes; V1 rows where they can be made into them. The heavy import
(onnxruntime) happens with this module. A model may keep weights in files beside it; ONNX Runtime lets in only
those inside its folder (tests hold it to that). Left out: custom operators, and sequences and maps but the one that converted classifiers answer.

Invariant: the session is only read while it serves: ``run`` is safe in several threads and lets the interpreter go.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime

from runtimes import graphs, model_file, named_tensors, processors
from wakeful.core.errors import InvalidError
from wakeful.core.protocol.oip import InferRequest
from wakeful.serving.model import LoadError, TensorSpec, out_of_memory

ACCEPTED = (".onnx",)
DATATYPES = {
    "float": "FP32",
    "double": "FP64",
    "float16": "FP16",
    "bool": "BOOL",
    "string": "BYTES",
    **{f"{sign}int{bits}": f"{sign.upper()}INT{bits}" for sign in ("", "u") for bits in (8, 16, 32, 64)},
}
"""ONNX Runtime's element types, without ``tensor(...)``."""
MAPS = "seq(map("
"""What converted classifiers give: probabilities by class, one map a row."""
REPOSITORY_DEPTH = 2
ERRORS_ONLY = 3
"""ONNX Runtime's severity from which it writes to stderr: its warnings are about graphs, nothing a server's user can change."""
OUT_OF_MEMORY = ("AllocateRaw", "bad_alloc", "Failed to allocate")
"""Words of ONNX Runtime where an answer would be larger than memory."""


class OnnxModel(graphs.GraphModel):
    """One ONNX model of ``model_dir``."""

    def __init__(self, name: str, model_dir: Path, nthread: int) -> None:
        super().__init__(name)
        self._model_dir = model_dir
        self._nthread = nthread
        self._session: onnxruntime.InferenceSession | None = None
        self._inputs: dict[str, TensorSpec] = {}
        self._outputs: dict[str, TensorSpec] = {}

    def load(self) -> None:
        path = model_file.find(self._model_dir, ACCEPTED, descend=REPOSITORY_DEPTH)
        options = onnxruntime.SessionOptions()
        options.log_severity_level = ERRORS_ONLY
        options.intra_op_num_threads = self._nthread or processors.usable()
        options.inter_op_num_threads = 1
        options.add_session_config_entry("session.intra_op.allow_spinning", "0")
        with model_file.reading(path, "ONNX Runtime"):
            session = onnxruntime.InferenceSession(path, options, providers=["CPUExecutionProvider"])
        self._inputs = {node.name: spec_of(node.name, node.type, node.shape) for node in session.get_inputs()}
        self._outputs = {
            node.name: spec_of(node.name, node.type, node.shape) for node in session.get_outputs()
        }
        self._session = session
        self.batching = graphs.GraphBatching(self) if _has_rows(session) else None

    def unload(self) -> None:
        self._session = None

    def platform(self) -> str:
        return "onnxruntime_onnx"

    def inputs(self) -> list[TensorSpec]:
        return list(self._inputs.values())

    def outputs(self) -> list[TensorSpec]:
        return list(self._outputs.values())

    def of_request(self, request: InferRequest) -> named_tensors.Arrays:
        return named_tensors.of_request(request, self._inputs)

    def of_rows(self, rows: list[Any]) -> named_tensors.Arrays:
        return named_tensors.of_rows(rows, self._inputs)

    def run(self, inputs: named_tensors.Arrays, outputs: Sequence[str]) -> named_tensors.Arrays:
        session = self._session
        assert session is not None
        names = [name for name in outputs if name in self._outputs] or list(self._outputs)
        try:
            results = session.run(names, inputs)
        except Exception as error:
            text = " ".join(str(error).split())[:300]
            if isinstance(error, MemoryError) or any(word in text for word in OUT_OF_MEMORY):
                raise out_of_memory(text) from error
            # an operator that fails does so for what it was given: sizes that do not meet, an index beyond a table
            raise InvalidError(f"the model cannot compute this input: {text}") from error
        return {name: _array(result) for name, result in zip(names, results, strict=True)}


def _has_rows(session: onnxruntime.InferenceSession) -> bool:
    """Whether the graph's shapes say that its first dimension is the requests'; maps by class are one a row."""
    inputs = [node.shape for node in session.get_inputs()]
    outputs = [node.shape for node in session.get_outputs() if not node.type.startswith(MAPS)]
    return graphs.row_dimension(inputs, outputs or inputs)


def _array(result: Any) -> Any:
    """An output as an array; maps by class (one a row) become a row of their values, in the order of the classes."""
    if not isinstance(result, list):
        return np.asarray(result)
    return np.array([[row[key] for key in sorted(row)] for row in result], dtype=np.float32)


def spec_of(name: str, kind: str, shape: Sequence[Any] | None) -> TensorSpec:
    """What V2 metadata says of an ONNX input or output. Raises ``LoadError`` for what V2 cannot carry.

    ``kind`` is ONNX Runtime's, such as ``tensor(float)``; a symbolic dimension becomes -1.
    """
    if kind.startswith(MAPS):
        return TensorSpec(name, "FP32", (-1, -1))
    element = kind.removeprefix("tensor(").removesuffix(")")
    if not kind.startswith("tensor(") or element not in DATATYPES:
        raise LoadError(
            f"{name} is a {kind}, which this server cannot carry: export the model with tensors of numbers or text"
        )
    dimensions = tuple(size if isinstance(size, int) and size >= 0 else -1 for size in shape or ())
    return TensorSpec(name, DATATYPES[element], dimensions)
