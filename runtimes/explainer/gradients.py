"""Integrated gradients (captum) of a PyTorch program: what each input value did to one output, seen from inside.

Served by ``runtimes.explainer`` with ``--method=integrated_gradients``. Unlike SHAP and LIME it does not ask the predictor
about changed rows: it needs the network, so the explainer's folder holds the predictor's program (``.pt2``, ``.pt``), read
by ``runtimes.torch``. The way begins at zeros, or at the mean of ``background.csv`` where the folder has one.
Rows may be of any shape (tables, images). Left out: inputs that are no fractions (token ids have no gradient).

Invariant: rows are explained one by one, each point on the way as a run of one row: rows can never mix.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch
from captum.attr import IntegratedGradients

from runtimes.explainer import background
from runtimes.explainer.explaining import Course, Explainer
from runtimes.explainer.parameters import Parameters
from runtimes.explainer.settings import ExplainerSettings
from runtimes.torch.model import TorchModel, no_memory, tensor_of
from wakeful.core.errors import FailureError, FailureKind, InvalidError
from wakeful.core.protocol.problem import shown
from wakeful.serving.model import LoadError

MAX_ELEMENTS = 1_000_000
"""Numbers in one row: as many come back, about 20 MB of JSON."""
FRACTIONS = ("FP16", "FP32", "FP64")
Tensors = tuple[torch.Tensor, ...]


class GradientExplainer(Explainer):
    """Explains the program in its folder; ``predict`` goes to the predictor, where there is one."""

    takes_parameters = ("samples", "target", "output")

    def __init__(self, settings: ExplainerSettings, environ: Mapping[str, str]) -> None:
        super().__init__(settings)
        self._folder = Path(settings.model_dir)
        self._program = TorchModel(settings.model_name, self._folder, 0, environ)
        self._background: background.Background | None = None

    def load(self) -> None:
        self._program.load()
        for spec in self._program.inputs():
            if spec.datatype not in FRACTIONS:
                raise LoadError(
                    f"input {spec.name} of the program is {spec.datatype}: only inputs of fractions have gradients"
                )
            if spec.shape[:1] not in ((-1,), (1,)):
                raise LoadError(
                    f"input {spec.name} of the program has shape {list(spec.shape)}: export it with a free first "
                    "dimension, or one of size 1"
                )
        self._background = background.load(self._folder) if background.is_there(self._folder) else None

    def explained(self, rows: list[Any], wanted: Parameters, course: Course) -> list[dict[str, Any]]:
        forward = _Forward(self._program, wanted.output, course)
        return [self._explained(row, wanted, forward) for row in rows]

    def _explained(self, row: Any, wanted: Parameters, forward: _Forward) -> dict[str, Any]:
        inputs = self._inputs(row)
        start = self._start(inputs)
        with torch.no_grad():
            answer, at_start = forward(*inputs.values())[0], forward(*start)[0]
        chosen = _chosen(wanted.target, answer)
        try:
            found = IntegratedGradients(forward).attribute(
                tuple(inputs.values()), start, target=chosen, n_steps=wanted.samples, internal_batch_size=1
            )
        except (RuntimeError, MemoryError) as error:
            if (failure := no_memory(error)) is not None:
                raise failure from error
            text = " ".join(str(error).split())[:200]
            raise FailureError(
                FailureKind.UNSUPPORTED, f"the program gives no gradient of that output: {text}"
            ) from error
        values = {name: tensor[0].detach().numpy() for name, tensor in zip(inputs, found, strict=True)}
        prediction, base = float(answer[chosen]), float(at_start[chosen])
        explained = sum(float(array.sum(dtype=np.float64)) for array in values.values())
        item = {"output": chosen, "prediction": prediction, "base_value": base, "values": self._named(values)}
        return {"outputs": [{**item, "delta": explained - (prediction - base)}]}

    def _inputs(self, row: Any) -> dict[str, torch.Tensor]:
        """The program's inputs of one row, as fractions. Raises ``InvalidError``."""
        tensors = {}
        for name, array in self._program.of_rows([row]).items():
            tensor = tensor_of(name, array)
            if not tensor.is_floating_point():  # TorchScript does not say what it takes
                tensor = tensor.to(torch.float32)
            if tensor.numel() > MAX_ELEMENTS or not bool(torch.isfinite(tensor).all()):
                raise InvalidError(
                    f"input {name} holds a missing value or more than {MAX_ELEMENTS} numbers: neither can be explained"
                )
            tensors[name] = tensor
        return tensors

    def _start(self, inputs: Mapping[str, torch.Tensor]) -> Tensors:
        """Where the way to ``inputs`` begins. Raises ``InvalidError`` where the background has other columns."""
        known = self._background
        if known is None:
            return tuple(torch.zeros_like(tensor) for tensor in inputs.values())
        tensor = next(iter(inputs.values()))
        if len(inputs) != 1 or tensor.shape[1:] != known.rows.shape[1:]:
            raise InvalidError(
                f"the row has shape {list(tensor.shape[1:])}: the background has {known.rows.shape[1]} columns"
            )
        return (torch.from_numpy(known.rows.mean(axis=0)).to(tensor.dtype)[None],)

    def _named(self, values: Mapping[str, Any]) -> Any:
        """By column where the background names them, by input where there are several, else in the row's own shape."""
        if self._background is not None:
            return dict(zip(self._background.names, next(iter(values.values())).tolist(), strict=True))
        plain = {name: array.tolist() for name, array in values.items()}
        return plain if len(plain) > 1 else next(iter(plain.values()))


class _Forward:
    """The program as captum calls it: tensors in, one matrix of outputs out."""

    def __init__(self, program: TorchModel, output: Any, course: Course) -> None:
        self._program = program
        self._output = output
        self._course = course

    def __call__(self, *tensors: torch.Tensor) -> torch.Tensor:
        self._course.step("the program was run", len(tensors[0]))
        answers = self._program.compute(tensors)
        if self._output is None and len(answers) > 1:
            raise InvalidError(
                f'the program has several outputs: say "output" in "parameters", one of {", ".join(answers)}'
            )
        if self._output is not None and self._output not in list(answers):  # it may be of any JSON type
            raise InvalidError(
                f"parameters.output is {shown(self._output)}: the program has {', '.join(answers)}"
            )
        answer = next(iter(answers.values())) if self._output is None else answers[self._output]
        if not answer.is_floating_point() or answer.shape[:1] != tensors[0].shape[:1] or answer.dim() > 2:
            raise FailureError(
                FailureKind.UNSUPPORTED,
                f"the program answers {answer.dtype} of shape {list(answer.shape)}: gradients are of one fraction, or "
                "one for each class, a row",
            )
        return answer.reshape(len(answer), -1)


def _chosen(target: Any, answer: torch.Tensor) -> int:
    """The output to explain: the one asked for, else the largest. Raises ``InvalidError``."""
    if target is None:
        return int(answer.argmax())
    if type(target) is not int or not 0 <= target < len(answer):
        raise InvalidError(
            f"parameters.target is {shown(target)}: it takes 0 to {len(answer) - 1}, or nothing"
        )
    return target
