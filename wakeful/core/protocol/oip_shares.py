"""One array as the answers of many requests: each has its rows of it, without an object for each output.

``serving.tabular`` makes a ``Whole`` of what a model said to a batch, and of that a ``Share`` for each request; the V2
edge asks a share for its JSON, or for its bytes in binary form. To everybody else it is the ``InferResponse`` it stands
for, whose outputs are made when they are first looked at. docs/decisions/0118 has what that saves.
Left out: numpy (the array is handed in, and handed on to orjson).

Invariant: ``as_json`` gives the bytes that ``oip.encode_json`` gives for the same answer, ``as_binary`` those of
``oip_binary.encode``, ``as_raw`` what its tensor has, or None.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import orjson

from wakeful.core.protocol import json_pieces
from wakeful.core.protocol.oip import BINARY_ONLY, InferResponse, Tensor, dump

_JSON = orjson.OPT_SERIALIZE_NUMPY
JOIN_BYTES = 16 * 1024
"""Raw elements below this are copied behind their JSON: one buffer is cheaper to send than two."""
Framed = tuple[tuple[bytes | memoryview, ...], int]
"""Buffers of a body in binary form, and how many bytes of it are JSON."""
RawOutput = tuple[str, str, tuple[int, ...], bytes | bytearray | memoryview]
"""Name, datatype, shape and bytes of an output."""


class Whole:
    """A model's one output for all rows of a batch: ``array``'s first dimension. What its shares have in common."""

    __slots__ = (
        "_after_id",
        "_after_rows",
        "_before_id",
        "_between",
        "_datatype",
        "_flat",
        "_is_plain",
        "_raw",
        "_row_bytes",
        "_width",
        "array",
        "model_name",
        "output_name",
        "size",
        "tensor_of",
    )

    output_name: str
    """Of the only output; set by ``prepare``."""

    def __init__(self, model_name: str, array: Any, tensor_of: Callable[[Any], Tensor]) -> None:
        """``tensor_of`` makes the output of some rows of ``array`` (or of all)."""
        self.model_name = model_name
        self.array = array
        self.size: int = array.size
        self.tensor_of = tensor_of
        self._is_plain: bool | None = None
        self._raw: memoryview | None = None

    def prepare(self) -> None:
        """Find out what the answers of all shares need, once."""
        if self._is_plain is not None:
            return
        from wakeful.core.protocol import arrays

        tensor, shape = self.tensor_of(self.array), self.array.shape
        flat, datatype = tensor.data, tensor.datatype
        self.output_name, self._datatype, self._flat = tensor.name, datatype, flat
        self._width = flat.shape[0] // shape[0] if shape[0] else 0
        more = b"".join(b",%d" % size for size in shape[1:])
        name = dump(tensor.name)
        self._before_id = b'{"model_name":%b,"model_version":null,"id":' % dump(self.model_name)
        self._after_id = b',"parameters":null,"outputs":[{"name":%b,"shape":[' % name
        self._after_rows = b'%b],"datatype":%b,"parameters":null,"data":' % (more, dump(datatype))
        if arrays.is_raw(datatype, flat):
            self._raw = flat.view("u1").data
            self._row_bytes = self._width * flat.itemsize
            self._between = (
                b',"model_name":%b,"model_version":null,"outputs":[{"name":%b,"shape":['
                % (dump(self.model_name), name),
                b'%b],"datatype":%b,"parameters":{"binary_data_size":' % (more, dump(datatype)),
            )
        # last: another thread may look
        self._is_plain = datatype not in BINARY_ONLY and arrays.is_plain(datatype, flat)

    def as_binary(self, start: int, end: int, answer_id: str) -> Framed | None:
        """The answer of rows ``start`` to ``end``, its output in binary form; None where ``array`` is no plain numbers."""
        own = self._bytes_of(start, end)
        if own is None:
            return None
        size = len(own)
        after_id, after_rows = self._between
        head = b'{"id":%b%b%d%b%d}}]}' % (orjson.dumps(answer_id), after_id, end - start, after_rows, size)
        return ((head + own,) if size < JOIN_BYTES else (head, own)), len(head)

    def as_raw(self, start: int, end: int) -> RawOutput | None:
        """The output of rows ``start`` to ``end``; None where ``array`` is no plain numbers."""
        own = self._bytes_of(start, end)
        if own is None:
            return None
        return self.output_name, self._datatype, (end - start, *self.array.shape[1:]), own

    def _bytes_of(self, start: int, end: int) -> memoryview | None:
        self.prepare()
        if self._raw is None:
            return None
        return self._raw[start * self._row_bytes : end * self._row_bytes]

    def as_json(self, start: int, end: int, answer_id: str) -> bytes | None:
        """The answer of rows ``start`` to ``end``; None where JSON carries not all elements of ``array`` as they are."""
        self.prepare()
        if not self._is_plain:
            return None
        width = self._width
        return b"%b%b%b%d%b%b}]}" % (
            self._before_id,
            orjson.dumps(answer_id),
            self._after_id,
            end - start,
            self._after_rows,
            self._dumped(start * width, end * width),
        )

    def _dumped(self, start: int, end: int) -> bytes:
        if end - start <= json_pieces.PIECE:
            return orjson.dumps(self._flat[start:end], option=_JSON)
        return dump(json_pieces.split(self._flat[start:end]))


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

    @property
    def is_long(self) -> bool:
        """Whether its JSON takes longer to write than other requests may wait."""
        whole = self._whole
        if whole.size <= json_pieces.PIECE:
            return False
        return (self._end - self._start) * (whole.size // len(whole.array)) > json_pieces.PIECE

    @property
    def output_name(self) -> str:
        """The name of the only output that the model computed."""
        self._whole.prepare()
        return self._whole.output_name

    def _is_untouched(self) -> bool:
        return self._outputs is None and self.parameters is None and self.model_version is None

    def as_json(self, answer_id: str) -> bytes | None:
        """The whole answer with this id; None where somebody has looked at it, or it needs to be looked at."""
        return self._whole.as_json(self._start, self._end, answer_id) if self._is_untouched() else None

    def as_binary(self, answer_id: str) -> Framed | None:
        """As ``as_json``, with the output in binary form."""
        return self._whole.as_binary(self._start, self._end, answer_id) if self._is_untouched() else None

    def as_raw(self) -> RawOutput | None:
        """The only output in binary form; None as for ``as_json``."""
        return self._whole.as_raw(self._start, self._end) if self._is_untouched() else None
