"""One array as the answers of many requests: each has its rows of it, as JSON without an object for each output.

``serving.tabular`` makes a ``Whole`` of what a model said to a batch, and of that a ``Share`` for each request; the V2
edge asks a share for its JSON. To everybody else it is the ``InferResponse`` it stands for, whose outputs are made when
they are first looked at. docs/decisions/0118 has what that saves.
Left out: numpy (the array is handed in, and handed on to orjson).

Invariant: ``as_json`` gives the bytes that ``oip.encode_json`` gives for the same answer, or None.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import orjson

from wakeful.core.protocol.oip import BINARY_ONLY, InferResponse, Tensor, dump

_JSON = orjson.OPT_SERIALIZE_NUMPY


class Whole:
    """A model's one output for all rows of a batch: ``array``'s first dimension. What its shares have in common."""

    __slots__ = (
        "_after_id",
        "_after_rows",
        "_before_id",
        "_flat",
        "_is_plain",
        "_width",
        "array",
        "model_name",
        "tensor_of",
    )

    def __init__(self, model_name: str, array: Any, tensor_of: Callable[[Any], Tensor]) -> None:
        """``tensor_of`` makes the output of some rows of ``array`` (or of all)."""
        self.model_name = model_name
        self.array = array
        self.tensor_of = tensor_of
        self._is_plain: bool | None = None

    def _prepare(self) -> None:
        """What the JSON of every share needs, once."""
        from wakeful.core.protocol import arrays

        tensor, shape = self.tensor_of(self.array), self.array.shape
        self._flat = tensor.data
        self._is_plain = tensor.datatype not in BINARY_ONLY and arrays.is_plain(tensor.datatype, self._flat)
        self._width = self._flat.shape[0] // shape[0] if shape[0] else 0
        more = b"".join(b",%d" % size for size in shape[1:])
        self._before_id = b'{"model_name":%b,"model_version":null,"id":' % dump(self.model_name)
        self._after_id = b',"parameters":null,"outputs":[{"name":%b,"shape":[' % dump(tensor.name)
        self._after_rows = b'%b],"datatype":%b,"parameters":null,"data":' % (more, dump(tensor.datatype))

    def as_json(self, start: int, end: int, answer_id: str) -> bytes | None:
        """The answer of rows ``start`` to ``end``; None where JSON carries not all elements of ``array`` as they are."""
        if self._is_plain is None:
            self._prepare()
        if not self._is_plain:
            return None
        width = self._width
        return b"%b%b%b%d%b%b}]}" % (
            self._before_id,
            orjson.dumps(answer_id),
            self._after_id,
            end - start,
            self._after_rows,
            orjson.dumps(self._flat[start * width : end * width], option=_JSON),
        )


class Share(InferResponse):
    """Rows ``start`` to ``end`` of a ``Whole``: an answer without an id, whose ``outputs`` are made when asked for."""

    __slots__ = ("_end", "_outputs", "_start", "_whole")

    def __init__(self, whole: Whole, start: int, end: int) -> None:
        self._whole = whole
        self._start = start
        self._end = end
        self._outputs: list[Tensor] | None = None
        self.model_name = ""
        self.id = self.model_version = self.parameters = None

    @property
    def outputs(self) -> list[Tensor]:
        if self._outputs is None:
            self._outputs = [self._whole.tensor_of(self._whole.array[self._start : self._end])]
        return self._outputs

    @outputs.setter
    def outputs(self, outputs: list[Tensor]) -> None:
        self._outputs = outputs

    def as_json(self, answer_id: str) -> bytes | None:
        """The whole answer with this id; None where somebody has looked at it, or it needs to be looked at."""
        if self._outputs is not None or self.parameters is not None or self.model_version is not None:
            return None
        return self._whole.as_json(self._start, self._end, answer_id)
