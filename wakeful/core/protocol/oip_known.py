"""V2 requests whose bytes before their raw tensors came before, but for their id: read without parsing them again.

A client sends the same JSON part for all tensors of one shape. ``http_ask`` keeps what the last one meant beside each
request head that it knows; parsing and checking it takes 6 us, comparing 1.5 us (docs/decisions/0118). ``oip_proto_known``
does it for gRPC. Only what says all by its bytes is learned: inputs of numbers, all of them raw, parameters without lists
or objects in them. An id may differ from request to request where it is plain text and as long as before (in JSON, the
first member).

Invariant: ``read`` gives what ``oip_binary.decode`` gives for the same body, in objects of its own, or None.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

from wakeful.core.protocol.oip import InferRequest, RequestedOutput, Tensor

MAX_JSON_BYTES = 2048
_SCALARS = frozenset({str, int, float, bool, type(None)})
_ID_FIRST = re.compile(rb'\{"id": ?"')
_PLAIN_TEXT = re.compile(rb"[ !#-\[\]-~]+").fullmatch
"""ASCII that means itself between the quotes of a JSON string."""


class KnownHead:
    """What comes before the raw tensors of one request, and what it said of them."""

    __slots__ = ("_after", "_before", "_id", "_inputs", "_outputs", "_parameters", "_total")

    def __init__(self, request: InferRequest, body: bytes, json_bytes: int, id_place: int | None) -> None:
        """``request`` was read from ``body``, its tensors from ``json_bytes`` on, one after the other."""
        self._total = len(body)
        self._parameters = dict(request.parameters)  # the model may change its own
        self._outputs = [
            (output.name, output.is_binary, dict(output.parameters)) for output in request.outputs
        ]
        self._inputs = []
        start = json_bytes
        for tensor in request.inputs:
            end = start + tensor.data.nbytes
            self._inputs.append((tensor.name, tensor.shape, tensor.datatype, start, end))
            start = end
        self._id: slice | None = None
        self._before, self._after = body[:json_bytes], b""
        if id_place is not None:
            assert request.id is not None
            end = id_place + len(request.id)
            self._id = slice(id_place, end)
            self._before, self._after = body[:id_place], body[end:json_bytes]

    def read(self, body: bytes) -> InferRequest | None:
        """The request of another body that came under the same ``Inference-Header-Content-Length``; None: parse it."""
        if len(body) != self._total or not body.startswith(self._before):
            return None
        request_id = None
        if self._id is not None:
            given = body[self._id]
            if not body.startswith(self._after, self._id.stop) or _PLAIN_TEXT(given) is None:
                return None
            request_id = given.decode()
        view = memoryview(body)
        return InferRequest(
            [
                Tensor(name, shape, datatype, view[start:end], {})
                for name, shape, datatype, start, end in self._inputs
            ],
            [RequestedOutput(name, is_binary, dict(given)) for name, is_binary, given in self._outputs],
            request_id,
            dict(self._parameters),
        )


def learn(body: bytes, json_bytes: int, request: InferRequest) -> KnownHead | None:
    """What to keep of ``request``, which ``oip_binary.decode`` has just read from ``body``; None where its like must be parsed."""
    if json_bytes > MAX_JSON_BYTES or type(body) is not bytes or not is_plain(request):
        return None
    if request.id is None:
        return KnownHead(request, body, json_bytes, None)
    place = _place_of_id(body[:json_bytes], request.id)
    return None if place is None else KnownHead(request, body, json_bytes, place)


def is_plain(request: InferRequest) -> bool:
    """Whether its tensors are raw numbers, and nothing but them differs between requests with the same bytes before them."""
    return all(
        type(tensor.data) is memoryview and not tensor.parameters for tensor in request.inputs
    ) and all(map(_is_flat, (request.parameters, *(output.parameters for output in request.outputs))))


def is_plain_text(text: bytes) -> bool:
    """Whether an id is ASCII that needs no escapes."""
    return _PLAIN_TEXT(text) is not None


def _place_of_id(head: bytes, request_id: str) -> int | None:
    """Where the id's text begins, if nothing else in ``head`` can be it: no second id, no name spelled with escapes."""
    found = _ID_FIRST.match(head)
    if found is None or not request_id.isascii() or b"\\" in head or head.count(b'"id"') != 1:
        return None
    place = found.end()
    text = request_id.encode()
    return place if is_plain_text(text) and head.startswith(text + b'"', place) else None


def _is_flat(parameters: Mapping[str, Any]) -> bool:
    return all(type(value) in _SCALARS for value in parameters.values())
