"""JPMML's evaluator of one document: its fields, and its answers to columns of values.

The only module that knows Java's names; called by ``model`` from its threads (an evaluator of JPMML's may be used by several).
Rows go over as JPMML's own helper for Python takes them, one call for all of a batch (docs/decisions/0122).
Left out: what a request may look like (``rows``).

Invariant: what comes back has as many values a field as rows went in, and an error for each row that has no answer.
"""

from __future__ import annotations

import io
import pickle
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NoReturn

import jpype

from runtimes.pmml import machine
from runtimes.pmml.rows import DATATYPES, Answers, Field, RowError
from wakeful.core.protocol.problem import shown
from wakeful.serving.model import LoadError, out_of_memory

UNNAMED = "_target"
"""What the answer of a model is called whose document names no target (clusters): JPMML's own tools call it so."""
CHUNK_ROWS = 1000
"""Rows in one call: what Java holds of a request at a time."""
DOCUMENTS_FAULT = {
    *(
        "DuplicateFieldException",
        "DuplicateFieldValueException",
        "InvisibleFieldException",
        "MissingFieldException",
    ),
    "NotImplementedException",
}
"""Of JPMML's exceptions while it computes, those that no row could help; the others are about values."""
FEATURES = dict.fromkeys(
    (
        "probability",
        "confidence",
        "affinity",
        "entityAffinity",
        "clusterAffinity",
        "standardError",
        "residual",
    ),
    "double",
)
"""The types of result features that are numbers (PMML, Output)."""
MOMENTS = frozenset({"date", "time", "dateTime"})
"""Types of results that travel as text in their ISO form. The others of PMML (days since a year) are refused."""
SEQUENTIAL = 1


class Evaluator:
    """The first model of ``path`` that JPMML can compute, which calls ``functions`` (name -> line) of PMML's own.

    Raises ``LoadError`` for anything else. Java runs already, with ``max_heap_mb``.
    """

    def __init__(self, path: Path, functions: Mapping[str, int], max_heap_mb: int) -> None:
        self._max_heap_mb = max_heap_mb
        self._helper = machine.java_class("org.jpmml.evaluator.python.PythonEvaluatorUtil")
        try:
            builder = machine.java_class("org.jpmml.evaluator.LoadingModelEvaluatorBuilder")()
            builder.load(machine.java_class("java.io.File")(str(path)))
            self._java = builder.build()
            self._java.verify()  # the document's own examples, where it has any
            self.inputs = [_field(field) for field in self._java.getInputFields()]
            targets = [_field(field) for field in self._java.getTargetFields()]
            outputs = [_output(field, targets) for field in self._java.getOutputFields()]
            self.results = list({field.name: field for field in [*targets, *outputs]}.values())
        except jpype.JException as error:
            if (text := _memory_text(error)) is not None:
                raise LoadError(
                    f"{path.name} needs more than --max_heap_mb={max_heap_mb} of memory in Java ({text})"
                ) from error
            raise LoadError(f"JPMML cannot compute {path.name}: {_sentence(error)}") from error
        self._moments = {field.name for field in self.results if field.kind in MOMENTS}
        registry = machine.java_class("org.jpmml.evaluator.FunctionRegistry")
        for name, line in functions.items():
            if registry.getFunction(name) is None:
                raise LoadError(
                    f"{path.name}, line {line}, calls the function {shown(name)}, which JPMML does not have"
                )
        for field in self.results:
            if field.kind not in DATATYPES and field.kind not in MOMENTS:
                raise LoadError(
                    f"the result {field.name!r} of {path.name} is a {field.kind}, which this server cannot carry: let an "
                    "OutputField make text or a number of it"
                )

    def evaluate(self, columns: Sequence[list[Any]]) -> Answers:
        """Answers to a column of values for each of ``inputs``; None is a missing value.

        Raises ``FailureError`` where Java finds no memory.
        """
        count = len(columns[0]) if columns else 0
        answers = Answers([[] for _ in self.results], [])
        for start in range(0, count, CHUNK_ROWS):
            self._evaluate([column[start : start + CHUNK_ROWS] for column in columns], answers)
        return answers

    def _evaluate(self, columns: list[list[Any]], answers: Answers) -> None:
        asked = pickle.dumps({"columns": [field.name for field in self.inputs], "data": columns}, protocol=2)
        try:
            if self._moments:
                raw = self._evaluate_moments(asked)
            else:
                raw = bytes(self._helper.evaluateAll(self._java, asked, None, SEQUENTIAL))
        except jpype.JException as error:
            if (text := _memory_text(error)) is not None:
                raise out_of_memory(
                    f"{text} (--max_heap_mb={self._max_heap_mb}); ask for fewer or smaller rows at once"
                ) from error
            raise RuntimeError(f"JPMML fails: {_sentence(error)}") from error
        found = _Plain(io.BytesIO(raw)).load()
        by_name = dict(zip(found["columns"], found["data"], strict=True))
        rows = len(columns[0])
        for field, values in zip(self.results, answers.columns, strict=True):
            name = None if field.name == UNNAMED and UNNAMED not in by_name else field.name
            values.extend(by_name.get(name) or [None] * rows)
        errors = found["errors"] or [None] * rows
        answers.errors.extend(None if text is None else _row_error(text) for text in errors)

    def _evaluate_moments(self, asked: bytes) -> bytes:
        """What the helper answers, results that are moments as text: it computes them, but has no form for them."""
        table = machine.java_class("net.razorvine.pickle.Unpickler")().loads(asked)
        found = self._helper.evaluateAll(self._java, table, None, SEQUENTIAL)
        for name, values in zip(found["columns"], found["data"], strict=True):
            for place in range(len(values) if str(name) in self._moments else 0):
                if values[place] is not None:
                    values[place] = values[place].toSimpleValue()
        return bytes(machine.java_class("net.razorvine.pickle.Pickler")().dumps(found))


class _Plain(pickle.Unpickler):
    """Reads values and lists; JPMML's answers have nothing else, and nothing else is made of them."""

    def find_class(self, module: str, name: str) -> NoReturn:
        raise RuntimeError(f"JPMML answered with a {module}.{name}, which this server cannot carry")


def _field(field: Any) -> Field:
    name = field.getName()
    return Field(UNNAMED if name is None else str(name), str(field.getDataType().value()))


def _output(field: Any, targets: Sequence[Field]) -> Field:
    """An ``OutputField``; where it does not name its type, what its feature gives."""
    if field.getDataType() is not None:
        return _field(field)
    feature = str(field.getField().getResultFeature().value())
    kind = targets[0].kind if feature == "predictedValue" and targets else FEATURES.get(feature, "string")
    return Field(str(field.getName()), kind)


def _memory_text(error: Any) -> str | None:
    """Java's words where it ran out of memory, and only then."""
    is_memory = isinstance(error, machine.java_class("java.lang.OutOfMemoryError"))
    return _sentence(error) if is_memory else None


def _sentence(error: Any) -> str:
    """The last cause that says anything, as one line: JPMML's first message is often a class only."""
    text = ""
    while error is not None:
        text = str(error.getMessage() or "") or text or str(error.getClass().getSimpleName())
        error = error.getCause()
    return " ".join(text.split())[:300]


def _row_error(text: str) -> RowError:
    """``org.jpmml.evaluator.ValueCheckException: Field ...`` without Java's class, and what the class says of the fault."""
    name, _, rest = text.partition(": ")
    package, _, kind = name.rpartition(".")
    is_documents = package != "org.jpmml.evaluator" or kind in DOCUMENTS_FAULT
    return RowError(" ".join((rest or kind).split())[:300], is_documents)
