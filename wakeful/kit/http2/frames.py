"""HTTP/2 frames as bytes (RFC 9113 sections 4 and 6): numbers, error codes, and the small frames ready to send.

Used by ``connection`` and ``stream``. Left out: state; what a frame means.
Worked number: a frame is 9 bytes (length 3, type 1, flags 1, stream 4) and its payload, so that a PING takes 17.
"""

from __future__ import annotations

import struct
from enum import IntEnum

PREFACE = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"
"""The first bytes of every HTTP/2 connection from the client."""
HEAD_BYTES = 9
DATA, HEADERS, PRIORITY, RST_STREAM, SETTINGS, PUSH_PROMISE, PING, GOAWAY, WINDOW_UPDATE, CONTINUATION = (
    range(10)
)
END_STREAM = ACK = 0x1
END_HEADERS = 0x4
PADDED = 0x8
WITH_PRIORITY = 0x20
MAX_WINDOW = 2**31 - 1
MAX_NUMBER = 2**31 - 1
"""The highest stream number, which also says "every stream" in a first GOAWAY."""
DEFAULT_WINDOW = 65_535
DEFAULT_FRAME_BYTES = 16_384

unpack_head = struct.Struct(">HBBBI").unpack_from
"""(length's upper 16 bits, its lower 8, type, flags, stream) from a buffer at an offset."""
_pack_head = struct.Struct(">HBBBI").pack
_pack_32 = struct.Struct(">I").pack
_pack_setting = struct.Struct(">HI").pack


class Code(IntEnum):
    """Error codes (RFC 9113 section 7)."""

    NO_ERROR = 0
    PROTOCOL_ERROR = 1
    INTERNAL_ERROR = 2
    FLOW_CONTROL_ERROR = 3
    SETTINGS_TIMEOUT = 4
    STREAM_CLOSED = 5
    FRAME_SIZE_ERROR = 6
    REFUSED_STREAM = 7
    CANCEL = 8
    COMPRESSION_ERROR = 9
    CONNECT_ERROR = 10
    ENHANCE_YOUR_CALM = 11
    INADEQUATE_SECURITY = 12
    HTTP_1_1_REQUIRED = 13


class Setting(IntEnum):
    """Settings (RFC 9113 section 6.5.2)."""

    HEADER_TABLE_SIZE = 1
    ENABLE_PUSH = 2
    MAX_CONCURRENT_STREAMS = 3
    INITIAL_WINDOW_SIZE = 4
    MAX_FRAME_SIZE = 5
    MAX_HEADER_LIST_SIZE = 6


class WireError(Exception):
    """The peer broke the protocol: the whole connection ends with ``code``."""

    def __init__(self, code: Code, reason: str) -> None:
        super().__init__(reason)
        self.code = code


def head(length: int, kind: int, flags: int, number: int) -> bytes:
    """The 9 bytes before a payload of ``length``."""
    return _pack_head(length >> 8, length & 0xFF, kind, flags, number)


def settings(values: dict[Setting, int]) -> bytes:
    """A SETTINGS frame."""
    payload = b"".join(_pack_setting(name, value) for name, value in values.items())
    return head(len(payload), SETTINGS, 0, 0) + payload


SETTINGS_ACK = head(0, SETTINGS, ACK, 0)


def window_update(number: int, size_bytes: int) -> bytes:
    """Window credit for a stream, or for the connection (0)."""
    return head(4, WINDOW_UPDATE, 0, number) + _pack_32(size_bytes)


def reset(number: int, code: int) -> bytes:
    """The end of a stream before its time."""
    return head(4, RST_STREAM, 0, number) + _pack_32(code)


def ping(payload: bytes, *, is_answer: bool) -> bytes:
    """A PING of 8 bytes, or the answer to one."""
    return head(8, PING, ACK if is_answer else 0, 0) + payload


def goaway(last: int, code: int, reason: str = "") -> bytes:
    """The end of the connection: streams up to ``last`` are or may be answered, later ones were not touched."""
    text = reason.encode("utf-8", "replace")[:200]
    return head(8 + len(text), GOAWAY, 0, 0) + _pack_32(last) + _pack_32(code) + text


def headers(number: int, block: bytes, *, is_last: bool, frame_bytes: int = DEFAULT_FRAME_BYTES) -> bytes:
    """A header block as HEADERS and as many CONTINUATION frames as it takes."""
    flags = END_STREAM if is_last else 0
    if len(block) <= frame_bytes:
        return head(len(block), HEADERS, flags | END_HEADERS, number) + block
    parts = [head(frame_bytes, HEADERS, flags, number), block[:frame_bytes]]
    for start in range(frame_bytes, len(block), frame_bytes):
        piece = block[start : start + frame_bytes]
        is_end = start + frame_bytes >= len(block)
        parts += (head(len(piece), CONTINUATION, END_HEADERS if is_end else 0, number), piece)
    return b"".join(parts)
