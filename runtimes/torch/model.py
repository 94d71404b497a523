"""A PyTorch model as a ``Model``: an exported program (``.pt2``) or TorchScript (``.pt``, ``.pth``), on processors.

Both files run code of whoever made them when they are loaded (PyTorch's reader of exported programs unpickles parts of
them), so the platform's policy is asked first; the safe alternative is ONNX. Left out: weights without a program
(state dictionaries, safetensors), which need the class they belong to, and TorchServe's archives: serve those with a
server of your own on ``wakeful.Model``.

Invariant: no file goes to ``torch.load``; the module is only read while it serves.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch

from runtimes import code_bearing, graphs, model_file, named_tensors, processors
from wakeful.core.errors import FailureError, FailureKind, InvalidError
from wakeful.core.protocol.oip import InferRequest
from wakeful.serving.model import LoadError, TensorSpec, out_of_memory

EXPORTED = ".pt2"
ACCEPTED = (EXPORTED, ".pt", ".pth")
WEIGHTS = (".safetensors", ".bin", ".ckpt")
REPOSITORY_DEPTH = 2
SAFE_ALTERNATIVE = "ONNX (torch.onnx.export)"
DATATYPES = {
    torch.bool: "BOOL",
    torch.uint8: "UINT8",
    torch.int8: "INT8",
    torch.int16: "INT16",
    torch.int32: "INT32",
    torch.int64: "INT64",
    torch.float16: "FP16",
    torch.float32: "FP32",
    torch.float64: "FP64",
}


class TorchModel(graphs.GraphModel):
    """One program of ``model_dir``."""

    def __init__(self, name: str, model_dir: Path, nthread: int, environ: Mapping[str, str]) -> None:
        super().__init__(name)
        self._model_dir = model_dir
        self._nthread = nthread
        self._policy = code_bearing.policy_of(environ)
        self._call: Callable[..., Any] | None = None
        self._inputs: dict[str, TensorSpec] = {}
        self._names: list[str] = []
        self._platform = ""

    def load(self) -> None:
        path = _found(self._model_dir)
        code_bearing.permit(path, self._policy, SAFE_ALTERNATIVE)
        self.batching, self._inputs = None, {}  # the file may be another one than before
        torch.set_num_threads(self._nthread or processors.usable())
        with model_file.reading(path, "PyTorch"):
            if path.suffix.lower() == EXPORTED:
                self._load_exported(path)
            else:
                self._load_script(path)

    def _load_exported(self, path: Path) -> None:
        program = torch.export.load(path)
        self._platform = "pytorch_exportedprogram"
        self._names = list(program.graph_signature.user_inputs)
        values = {node.name: node.meta.get("val") for node in program.graph.nodes if node.op == "placeholder"}
        for name in self._names:
            value = values.get(name)
            if not isinstance(value, torch.Tensor) or value.dtype not in DATATYPES:
                raise LoadError(
                    f"{path.name}: input {name} is no tensor that V2 can carry: export it with tensors only"
                )
            shape = tuple(size if isinstance(size, int) else -1 for size in value.shape)
            self._inputs[name] = TensorSpec(name, DATATYPES[value.dtype], shape)
        self._call = program.module()
        self.batching = graphs.GraphBatching(self, most) if (most := _most_rows(program)) else None

    def _load_script(self, path: Path) -> None:
        """TorchScript says nothing of shapes, so its requests are joined only where ``--max_batchsize`` says so."""
        try:
            module = torch.jit.load(path, map_location="cpu")
        except RuntimeError as error:
            text = str(error).partition(". ")[0][:200]
            raise LoadError(
                f"{path.name} is not TorchScript ({text}): save it with torch.jit.save or, better, torch.export.save; "
                "weights alone (a state dictionary) are no model"
            ) from error
        self._platform = "pytorch_libtorch"
        self._names = [argument.name for argument in module.forward.schema.arguments[1:]]
        self._call = module.eval()

    def unload(self) -> None:
        self._call = None

    def platform(self) -> str:
        return self._platform

    def inputs(self) -> list[TensorSpec]:
        return list(self._inputs.values())

    def of_request(self, request: InferRequest) -> named_tensors.Arrays:
        if self._inputs:
            return named_tensors.of_request(request, self._inputs)
        specs = {
            tensor.name: TensorSpec(tensor.name, tensor.datatype, tensor.shape) for tensor in request.inputs
        }
        return self._ordered(named_tensors.of_request(request, specs))

    def of_rows(self, rows: list[Any]) -> named_tensors.Arrays:
        return named_tensors.of_rows(rows, self._inputs or dict.fromkeys(self._names))

    def _ordered(self, given: named_tensors.Arrays) -> named_tensors.Arrays:
        """TorchScript knows names, nothing more: by name where they are its own, else in the order they came."""
        if set(given) <= set(self._names):
            return {name: given[name] for name in self._names if name in given}
        if len(given) > len(self._names):
            raise InvalidError(
                f"the request has {len(given)} inputs: the model takes {', '.join(self._names)}"
            )
        return dict(zip(self._names, given.values(), strict=False))

    def run(self, inputs: named_tensors.Arrays, outputs: Sequence[str]) -> named_tensors.Arrays:
        with torch.inference_mode():
            answers = self.compute([tensor_of(name, array) for name, array in inputs.items()])
        return {name: _array(name, value) for name, value in answers.items()}

    def compute(self, tensors: Sequence[torch.Tensor]) -> dict[str, torch.Tensor]:
        """The program's answer by name: a dictionary's own, else ``output-0`` and on. Raises ``FailureError``."""
        call = self._call
        assert call is not None
        try:
            return _named(call(*tensors))
        except Exception as error:
            text = " ".join(str(error).split())[-300:]
            if (failure := no_memory(error)) is not None:
                raise failure from error
            # an operator that fails does so for what it was given: sizes that do not meet, an index beyond a table
            raise InvalidError(
                f"the model cannot compute this input: {type(error).__name__}: {text}"
            ) from error


def no_memory(error: BaseException) -> FailureError | None:
    """The failure where PyTorch found no memory, which is the server's and may pass; None for other errors."""
    text = " ".join(str(error).split())[-300:]
    is_it = isinstance(error, MemoryError | torch.OutOfMemoryError) or "DefaultCPUAllocator" in text
    return out_of_memory(text) if is_it else None


def _found(model_dir: Path) -> Path:
    """The program's file. Raises ``LoadError``, with what to do where there are only weights."""
    try:
        return model_file.find(model_dir, ACCEPTED, descend=REPOSITORY_DEPTH)
    except LoadError:
        files = sorted(model_dir.rglob("*")) if model_dir.is_dir() else [model_dir]
        weights = [path for path in files if path.suffix.lower() in WEIGHTS]
        if not weights or any(path.suffix.lower() in ACCEPTED for path in files):
            raise
        raise LoadError(
            f"{weights[0].name} holds weights and no program: for a transformers model (config.json beside it) say "
            "modelFormat huggingface; else load the weights into their class and save it with torch.export.save as "
            "model.pt2, or serve that class with a server of your own on wakeful.Model"
        ) from None


def _most_rows(program: torch.export.ExportedProgram) -> int:
    """Rows that requests may fill together: 0 where the shapes do not say that the first dimension is theirs."""
    values = {node.name: node.meta.get("val") for node in program.graph.nodes}
    signature = program.graph_signature
    inputs = [_dimensions(values.get(name)) for name in signature.user_inputs]
    outputs = [_dimensions(values.get(str(name))) for name in signature.user_outputs]
    if not graphs.row_dimension(inputs, outputs):
        return 0
    ranges = {str(symbol): found for symbol, found in program.range_constraints.items()}
    most = getattr(ranges.get(inputs[0][0]), "upper", 0)
    return graphs.MAX_BATCH_ROWS if most > graphs.MAX_BATCH_ROWS else int(most)


def _dimensions(value: Any) -> tuple[Any, ...]:
    """Whole numbers, and expressions of symbols as text."""
    shape = value.shape if isinstance(value, torch.Tensor) else ()
    return tuple(size if isinstance(size, int) else str(size) for size in shape)


def tensor_of(name: str, array: Any) -> torch.Tensor:
    """``array`` as PyTorch takes it. Raises ``InvalidError``, which calls it input ``name``."""
    if array.dtype.kind in "OUS":
        raise InvalidError(f"input {name} holds text (BYTES): PyTorch takes numbers")
    try:
        return torch.from_numpy(array if array.flags.writeable else array.copy())
    except TypeError as error:
        raise InvalidError(f"input {name}: PyTorch has no {array.dtype}") from error


def _named(result: Any) -> dict[str, torch.Tensor]:
    if isinstance(result, Mapping):
        named = {str(name): value for name, value in result.items()}
    else:
        values = list(result) if isinstance(result, tuple | list) else [result]
        named = {f"output-{place}": value for place, value in enumerate(values)}
    return {
        name: value if isinstance(value, torch.Tensor) else torch.as_tensor(value)
        for name, value in named.items()
    }


def _array(name: str, value: torch.Tensor) -> Any:
    if value.dtype is torch.bfloat16:
        value = value.to(torch.float32)
    if value.is_complex() or value.is_sparse:
        raise FailureError(
            FailureKind.INTERNAL,
            f"the model answered {name} as {value.dtype} ({value.layout}), which V2 cannot carry",
        )
    return np.ascontiguousarray(value.detach().cpu().numpy())
