"""Header blocks (HPACK, RFC 7541) to checked requests, and answers' headers to bytes.

``connection`` decodes with one ``Decoder``; owners encode with ``encode``, which uses no dynamic table: it costs a few
bytes more on the wire, needs no state, and a peer's huge table size means nothing to us. Decoding is hpack's; what
it returned is kept by the block's bytes for as long as the dynamic table stays as it was, since a client repeats its
headers as the same few index bytes (70 us become 1). Left out: trailers' meaning.

Invariant: a ``RequestHead`` is well-formed by RFC 9113 section 8: lower-case names, no control characters in values,
the pseudo-headers once each and first, no connection headers.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from functools import lru_cache
from typing import Any

import hpack
from hpack.exceptions import HPACKError, OversizedHeaderListError

from wakeful.kit.http2.frames import Code, WireError

Fields = list[tuple[str, str]]
_NAME = re.compile(r"[!#$%&'*+.^_`|~0-9a-z-]+").fullmatch
_TOKEN = re.compile(r"[!#$%&'*+.^_`|~0-9A-Za-z-]+").fullmatch
_CONTROL = re.compile(r"[\0\r\n]").search
_TARGET = re.compile(r"[/*][\x21-\x7e\x80-\xff]*").fullmatch
_HOP_BY_HOP = frozenset({"connection", "keep-alive", "proxy-connection", "transfer-encoding", "upgrade"})
_PSEUDO = frozenset({":method", ":path", ":scheme", ":authority"})
KEPT_BLOCKS = 64
KEPT_BLOCK_BYTES = 512
ENTRY_BYTES = 32
"""What RFC 9113 adds per field to the size of a header list."""
HARD_FACTOR = 4
"""A header list this many times over the limit ends the connection instead of the request."""


class MalformedError(Exception):
    """The request's head breaks RFC 9113 section 8; the stream is reset, the connection lives."""


@dataclass(slots=True)
class RequestHead:
    """A request's head. The same object may serve many requests whose blocks were the same bytes."""

    method: str
    target: str
    """Path and query as they came."""
    authority: str
    fields: Fields
    """Ordinary headers in order, ``host`` included where only ``:authority`` was sent."""
    content_length: int | None = None
    is_too_large: bool = False
    """Over the advertised header list size; the fields are not to be trusted to be small."""
    memo: Any = field(default=None, compare=False)
    """What the owner made of this head (its route, say); kept for as long as the head is."""


class Decoder:
    """One connection's incoming header blocks."""

    def __init__(self, list_bytes: int) -> None:
        self._list_bytes = list_bytes
        self._hpack = hpack.Decoder(max_header_list_size=list_bytes * HARD_FACTOR)
        self._kept: dict[bytes, RequestHead] = {}

    def request(self, block: bytes) -> RequestHead:
        """The request that ``block`` opens. Raises ``MalformedError``, ``WireError``."""
        kept = self._kept.get(block)
        if kept is not None:
            return kept
        entries = self._hpack.header_table.dynamic_entries
        before = (len(entries), entries[0] if entries else None)
        raw, size_bytes = self._decode(block)
        is_unchanged = before[0] == len(entries) and (not entries or before[1] is entries[0])
        if not is_unchanged:
            self._kept.clear()
        head = _checked(raw)
        head.is_too_large = size_bytes > self._list_bytes
        resizes = block[:1] >= b"\x20" and block[0] & 0xE0 == 0x20  # it must be carried out each time
        if is_unchanged and not resizes and len(block) <= KEPT_BLOCK_BYTES:
            if len(self._kept) >= KEPT_BLOCKS:
                self._kept.clear()
            self._kept[block] = head
        return head

    def trailers(self, block: bytes) -> Fields:
        """The trailers in ``block``. Raises ``MalformedError``, ``WireError``."""
        self._kept.clear()
        raw, _ = self._decode(block)
        fields = [(name.decode("latin-1"), _value(value)) for name, value in raw]
        wrong = next((name for name, _ in fields if not _NAME(name)), None)
        if wrong is not None:
            raise MalformedError(f"a trailer is called {wrong[:40]!r}")
        return fields

    def _decode(self, block: bytes) -> tuple[list[tuple[bytes, bytes]], int]:
        try:
            raw = self._hpack.decode(block, raw=True)
        except OversizedHeaderListError as error:
            raise WireError(Code.ENHANCE_YOUR_CALM, "the headers are far too large") from error
        except (HPACKError, UnicodeError, IndexError, ValueError) as error:
            raise WireError(Code.COMPRESSION_ERROR, f"the header block cannot be read: {error}") from error
        pairs = [(bytes(name), bytes(value)) for name, value in raw]
        return pairs, sum(len(name) + len(value) + ENTRY_BYTES for name, value in pairs)


def _value(raw: bytes) -> str:
    text = raw.decode("latin-1").strip(" \t")
    if _CONTROL(text):
        raise MalformedError("a header's value holds a control character")
    return text


def _checked(raw: list[tuple[bytes, bytes]]) -> RequestHead:
    pseudo: dict[str, str] = {}
    fields: Fields = []
    for raw_name, raw_value in raw:
        name, value = raw_name.decode("latin-1"), _value(raw_value)
        if name.startswith(":"):
            if name not in _PSEUDO or name in pseudo or fields:
                raise MalformedError(f"{name[:40]} is unknown, repeated, or after other headers")
            pseudo[name] = value
            continue
        if not _NAME(name):
            raise MalformedError(f"a header is called {name[:40]!r}: names are lower-case tokens")
        if name in _HOP_BY_HOP or (name == "te" and value.lower() != "trailers"):
            raise MalformedError(f"{name} has no place in HTTP/2")
        fields.append((name, value))
    method, target = pseudo.get(":method", ""), pseudo.get(":path", "")
    if not _TOKEN(method) or method == "CONNECT" or ":scheme" not in pseudo:
        raise MalformedError("the request has no usable :method and :scheme")
    if not _TARGET(target):
        raise MalformedError("the request has no usable :path")
    return RequestHead(method, target, _authority(pseudo, fields), fields, _content_length(fields))


def _authority(pseudo: dict[str, str], fields: Fields) -> str:
    """``:authority``, which ``host`` may repeat but not contradict."""
    hosts = {value for name, value in fields if name == "host"}
    authority = pseudo.get(":authority", "")
    if authority:
        if hosts - {authority}:
            raise MalformedError("host and :authority differ")
        if not hosts:
            fields.append(("host", authority))
        return authority
    if len(hosts) > 1:
        raise MalformedError("the request names several hosts")
    return next(iter(hosts), "")


def _content_length(fields: Fields) -> int | None:
    lengths = {value for name, value in fields if name == "content-length"}
    if not lengths:
        return None
    value = lengths.pop()
    if lengths or not (value.isascii() and value.isdigit() and len(value) < 19):
        raise MalformedError("content-length is not one number")
    return int(value)


def is_name(name: str) -> bool:
    """Whether ``name`` can be a header's (lower case)."""
    return _NAME(name) is not None


def encode(fields: list[tuple[str, str]]) -> bytes:
    """A header block; ``:status`` comes first where it is there. Names must be lower case."""
    return b"".join(
        [_kept_field(name, value) if len(value) < 64 else literal(name, value) for name, value in fields]
    )


def literal(name: str, value: str) -> bytes:
    """One field, for values that are hardly sent twice: literal without indexing, new name (RFC 7541 section 6.2.2)."""
    if (name, value) == (":status", "200"):
        return b"\x88"
    key, content = name.encode("latin-1", "replace"), value.encode("utf-8")
    return b"\0" + _length(len(key)) + key + _length(len(content)) + content


_kept_field = lru_cache(maxsize=512)(literal)


def _length(value: int) -> bytes:
    """An integer with a 7-bit prefix (RFC 7541 section 5.1)."""
    if value < 127:
        return bytes((value,))
    out, value = bytearray((127,)), value - 127
    while value >= 128:
        out.append(value % 128 + 128)
        value //= 128
    out.append(value)
    return bytes(out)
