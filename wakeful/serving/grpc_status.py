"""gRPC's status codes, and the ends of calls as header blocks.

Used by every part of the gRPC edge. Source: gRPC over HTTP/2, "Responses" and "Status". A status comes in trailers, or
(for a call without any answer) in a single header block.

Invariant: a message is printable ASCII with the rest percent-encoded, at most ``MESSAGE_BYTES`` long, whatever an error's
text held; what a model adds to it keeps the whole within ``METADATA_BYTES``, which every client takes.
"""

from __future__ import annotations

import base64
from collections.abc import Mapping
from enum import IntEnum

from wakeful.core.errors import FailureError, FailureKind, InvalidError
from wakeful.kit.http2 import heads

MESSAGE_BYTES = 4096
METADATA_BYTES = 7 * 1024
"""gRPC's own clients refuse some trailers over 8 KiB and all over 16 KiB, as an error of the protocol; 1 KiB is for the call's own."""
FIELD_BYTES = 32
"""What HTTP/2 adds to the size of a header."""
CUT = " [cut]"
"""Ends a message that is not whole."""
_PLAIN = frozenset(range(0x20, 0x7F)) - {ord("%")}
RESERVED = frozenset(
    {"content-type", "content-length", "te", "host", "connection", "transfer-encoding", "x-request-id"}
)
"""What a model's response headers cannot say here."""


class Status(IntEnum):
    """The codes (canonical, public)."""

    OK = 0
    CANCELLED = 1
    UNKNOWN = 2
    INVALID_ARGUMENT = 3
    DEADLINE_EXCEEDED = 4
    NOT_FOUND = 5
    ALREADY_EXISTS = 6
    PERMISSION_DENIED = 7
    RESOURCE_EXHAUSTED = 8
    FAILED_PRECONDITION = 9
    ABORTED = 10
    OUT_OF_RANGE = 11
    UNIMPLEMENTED = 12
    INTERNAL = 13
    UNAVAILABLE = 14
    DATA_LOSS = 15
    UNAUTHENTICATED = 16


class TooLargeError(InvalidError):
    """A message over the limit: RESOURCE_EXHAUSTED, as gRPC's own servers say it."""


def of(error: FailureError) -> Status:
    """The code for a failure."""
    if isinstance(error, TooLargeError):
        return Status.RESOURCE_EXHAUSTED
    return Status[error.meaning.grpc_code]


def http_status(error: FailureError) -> int:
    """The HTTP status that the same failure has over REST, so that one metric counts both."""
    return 413 if isinstance(error, TooLargeError) else error.meaning.http_status


HEAD = heads.encode([(":status", "200"), ("content-type", "application/grpc")])
"""The headers of every answer that has messages."""
ACCEPTED = heads.encode([("grpc-accept-encoding", "identity, deflate, gzip")])
_OK = heads.encode([("grpc-status", "0")])


def ok(metadata: Mapping[str, str]) -> bytes:
    """The trailers of a call that went well. Raises ``FailureError`` (internal) for more metadata than clients take."""
    if not metadata:
        return _OK
    fields = metadata_of(metadata)
    size = _size(fields)
    if size > METADATA_BYTES:
        longest = max(fields, key=lambda field: len(field[1]))[0]
        raise FailureError(
            FailureKind.INTERNAL,
            f"the model's headers take {size} bytes, the longest is {longest}: gRPC's clients take {METADATA_BYTES} as trailers, "
            "so return it as an output or a parameter",
        )
    return _OK + heads.encode(fields)


def failed(error: FailureError, metadata: Mapping[str, str] | None = None) -> bytes:
    """The trailers of a call that failed; an overload says when to come back (gRFC A6).

    ``metadata`` that has no room beside the message is left out.
    """
    fields = [("grpc-status", str(int(of(error)))), ("grpc-message", _percent_encoded(str(error)))]
    if error.kind is FailureKind.OVERLOADED and error.retry_after_s is not None:
        fields.append(("grpc-retry-pushback-ms", str(max(1, round(error.retry_after_s * 1000)))))
    more = metadata_of(metadata) if metadata else []
    return heads.encode(fields + more if _size(fields) + _size(more) <= METADATA_BYTES else fields)


def metadata_of(metadata: Mapping[str, str]) -> heads.Fields:
    """Headers that a model gave its answer, as metadata: lower-case names, printable text, base64 where the name ends so.

    What HTTP owns and the request id, which the call's head has, are left out.
    """
    fields = []
    for name, value in metadata.items():
        key = str(name).lower()
        if key in RESERVED or key.startswith((":", "grpc-")) or not heads.is_name(key):
            continue
        fields.append((key, _binary(value) if key.endswith("-bin") else _printable(str(value))))
    return fields


def _size(fields: heads.Fields) -> int:
    return sum(len(name) + len(value) + FIELD_BYTES for name, value in fields)


def _printable(text: str) -> str:
    return "".join(c if " " <= c <= "~" else "?" for c in text).strip()


def _binary(value: object) -> str:
    raw = bytes(value) if isinstance(value, bytes | bytearray | memoryview) else str(value).encode()
    return base64.b64encode(raw).decode()


def _percent_encoded(text: str) -> str:
    found, size = [], 0
    for character in text:
        raw = character.encode("utf-8", "replace")
        found.append("".join(chr(byte) if byte in _PLAIN else f"%{byte:02X}" for byte in raw))
        size += len(found[-1])
        if size > MESSAGE_BYTES:
            while size > MESSAGE_BYTES - len(CUT):
                size -= len(found.pop())
            return "".join(found) + CUT
    return "".join(found)
