"""``ModelInferRequest``s of which all but the raw contents (and the id) came before: read without protobuf.

The gRPC edge asks here; what is not known goes to ``oip_proto.decode``. Known are short messages (``LARGE_BYTES``) of one
tensor whose raw contents are the last field, kept by their length: protobuf and the checks take 8.6 us, comparing 2.3 us
(docs/decisions/0118). The places of fields are found by walking them once, when a message is learned.

Invariant: ``decode`` gives what ``oip_proto.decode`` gives, in objects of its own.
"""

from __future__ import annotations

from wakeful.core.protocol import oip_known, oip_proto
from wakeful.core.protocol.oip_known import KnownHead
from wakeful.core.protocol.oip_proto import Buffer, Incoming

MAX_LENGTHS = 64
MAX_FIELDS = 16
ID_TAG, RAW_TAG = 3 << 3 | 2, 7 << 3 | 2


class KnownMessages:
    """What the last message of each length said. Event loop only."""

    __slots__ = ("_known",)

    def __init__(self) -> None:
        self._known: dict[int, tuple[KnownHead, str, str]] = {}

    def decode(self, body: Buffer) -> Incoming:
        """The request of a message. Raises ``InvalidError``."""
        size = len(body)
        if size >= oip_proto.LARGE_BYTES:
            return oip_proto.decode(body)
        content = bytes(body)
        known = self._known.get(size)
        if known is not None:
            head, name, version = known
            request = head.read(content)
            if request is not None:
                return Incoming(name, version, request, is_raw=True)
        incoming = oip_proto.decode(content)
        if incoming.is_raw and len(incoming.request.inputs) == 1:
            self._learn(content, incoming)
        return incoming

    def _learn(self, content: bytes, incoming: Incoming) -> None:
        found = _head(content, incoming)
        if found is None:
            return
        if len(self._known) >= MAX_LENGTHS:
            self._known.clear()
        self._known[len(content)] = found, incoming.model_name, incoming.model_version


def _head(content: bytes, incoming: Incoming) -> KnownHead | None:
    request = incoming.request
    places = _places(content) if oip_known.is_plain(request) else None
    if places is None:
        return None
    tags = [tag for tag, _, _ in places]
    _, start, _ = places[-1]
    if tags[-1] != RAW_TAG or tags.count(RAW_TAG) != 1 or start > oip_known.MAX_JSON_BYTES:
        return None
    if request.id is None:
        return KnownHead(request, content, start, None)
    if tags.count(ID_TAG) != 1:
        return None
    _, first, end = places[tags.index(ID_TAG)]
    return KnownHead(request, content, start, first) if oip_known.is_plain_text(content[first:end]) else None


def _places(content: bytes) -> list[tuple[int, int, int]] | None:
    """(tag, start, end) of every field's content; None where one has no length, or they are many."""
    places: list[tuple[int, int, int]] = []
    position, total = 0, len(content)
    while position + 1 < total:
        tag, size = content[position], content[position + 1]
        if tag >= 0x80 or tag & 7 != 2 or len(places) == MAX_FIELDS:
            return None
        start = position + 2
        if size >= 0x80:
            size, start = oip_proto.read_varint(content, position + 1)
        position = start + size
        places.append((tag, start, position))
    return places if places and position == total else None
