"""A PMML document as a ``Model``, computed by JPMML (KServe's choice too) in a Java machine inside this process.

The answers are KServe's: an object by result field a row (the target first, then the document's ``Output``), a tensor a field
in V2. Kinder: objects as rows, a tensor a field as input, names of fields checked. Requests that wait while it computes are
answered together: PMML computes rows apart from each other.

Invariant: nothing in the file is run, and no other file is read for it (``document``).
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from runtimes import model_file
from runtimes.pmml import document, machine, rows
from runtimes.pmml.evaluator import Evaluator
from runtimes.pmml.rows import Answers
from wakeful.core.protocol import v1
from wakeful.core.protocol.oip import InferRequest
from wakeful.serving.model import Context, LoadError, Model, TensorSpec
from wakeful.serving.parts import Part

ACCEPTED = (".pmml",)
MAX_BATCH_ROWS = 512
MAX_PART_VALUES = 4096
"""Values of a request that the event loop takes apart itself; larger ones go alone, in a thread as a whole."""


class PmmlModel(Model):
    """One PMML document of ``model_dir``."""

    def __init__(self, name: str, model_dir: Path, max_heap_mb: int) -> None:
        super().__init__(name)
        self._model_dir = model_dir
        self._max_heap_mb = max_heap_mb
        self._evaluator: Evaluator | None = None
        self._names: tuple[str, ...] = ()
        self.batching = RowBatching(self)

    def load(self) -> None:
        path = model_file.find(self._model_dir, ACCEPTED)
        with model_file.reading(path, "JPMML"):
            functions = document.check(path)
        machine.start(self._max_heap_mb)
        with model_file.reading(path, "JPMML"):
            evaluator = Evaluator(path, functions, self._max_heap_mb)
        if not evaluator.inputs:
            raise LoadError(f"{path.name} has no active field: there is nothing that a request could say")
        self._evaluator = evaluator
        self._names = tuple(field.name for field in evaluator.inputs)

    def unload(self) -> None:
        self._evaluator = None

    def platform(self) -> str:
        return "pmml"

    def inputs(self) -> list[TensorSpec]:
        found = self._evaluator
        return (
            [] if found is None else [TensorSpec(field.name, field.datatype, (-1,)) for field in found.inputs]
        )

    def outputs(self) -> list[TensorSpec]:
        found = self._evaluator
        return (
            []
            if found is None
            else [TensorSpec(field.name, _given(field.datatype), (-1,)) for field in found.results]
        )

    def predict(self, payload: Any, context: Context) -> Any:
        return self.rendered(payload, self.evaluate(self.columns(payload)))

    def columns(self, payload: Any) -> rows.Columns:
        """The columns of a V1 object, a V2 request or (another media type) bytes of JSON. Raises ``InvalidError``."""
        if isinstance(payload, InferRequest):
            return rows.of_request(payload, self._names)
        if isinstance(payload, bytes):  # this server has no meaning for anything but JSON
            payload = v1.decode_object(payload)
        return rows.of_rows(v1.rows(payload), self._names)

    def evaluate(self, columns: rows.Columns) -> Answers:
        """The answers to columns of all fields. Called by several threads."""
        evaluator = self._evaluator
        assert evaluator is not None
        return evaluator.evaluate(columns)

    def rendered(self, payload: Any, answers: Answers) -> Any:
        """``answers`` in the form of the request's protocol. Raises ``FailureError`` for a row without one."""
        evaluator = self._evaluator
        assert evaluator is not None
        if not isinstance(payload, InferRequest):
            return rows.as_objects(answers, evaluator.results)
        wanted = {output.name for output in payload.outputs}
        return rows.as_tensors(answers, evaluator.results, wanted)


class RowBatching:
    """Columns of several requests, one after the other."""

    is_brief = False  # Java stops for its garbage now and then: not on the event loop

    def __init__(self, model: PmmlModel) -> None:
        self.max_batch_size = MAX_BATCH_ROWS
        self.max_latency_s = 0.0
        self._model = model

    def part(self, payload: Any, context: Context) -> Part | None:
        if isinstance(payload, InferRequest):
            is_small = sum(tensor.size for tensor in payload.inputs) <= MAX_PART_VALUES
        else:
            is_small = type(payload) is dict and v1.holds_at_most(v1.rows(payload), MAX_PART_VALUES)
        if not is_small:
            return None
        columns = self._model.columns(payload)
        return Part(payload, columns, len(columns[0]), "rows")

    def answer(self, parts: Sequence[Part]) -> Sequence[Any]:
        joined = [
            [value for column in columns for value in column]
            for columns in zip(*[part.value for part in parts], strict=True)
        ]
        answers = self._model.evaluate(joined)
        found, start = [], 0
        for part in parts:
            end = start + part.rows
            share = Answers([column[start:end] for column in answers.columns], answers.errors[start:end])
            found.append(self._model.rendered(part.payload, share))
            start = end
        return found


def _given(datatype: str) -> str:
    """The datatype of a result: JPMML's floats come as doubles, in KServe too."""
    return "FP64" if datatype == "FP32" else datatype
