"""How HTTP/1.1 messages are written, shared by the side towards clients and the side towards pods. Pure.

Left out: reading, which is httptools' (llhttp, strict: it refuses CL with TE, two lengths, obs-fold and bare LF).
"""

from __future__ import annotations

from http import HTTPStatus

from standalone.gateway.inbox import Headers

LAST_CHUNK = b"0\r\n\r\n"
_REASONS = {int(status): status.phrase.encode() for status in HTTPStatus}
NO_BODY = frozenset({204, 304})


def status_line(status: int, version: str = "1.1") -> bytes:
    """The first line of an answer, CRLF included."""
    return b"HTTP/1.%d %d %b\r\n" % (0 if version == "1.0" else 1, status, _REASONS.get(status, b""))


def field_lines(headers: Headers) -> bytes:
    """Header lines, CRLF after each."""
    return b"".join([b"%b: %b\r\n" % field for field in headers])


def chunk(data: bytes) -> bytes:
    """One chunk of a chunked body; nothing for no bytes (an empty chunk would end it)."""
    return b"%x\r\n%b\r\n" % (len(data), data) if data else b""


def last_chunk(trailers: Headers) -> bytes:
    """The end of a chunked body."""
    return b"0\r\n" + field_lines(trailers) + b"\r\n" if trailers else LAST_CHUNK


def content_length(headers: Headers) -> int | None:
    """The Content-Length, or None where there is none or it is no plain number."""
    for name, value in headers:
        if name == b"content-length":
            return int(value) if value.isdigit() and len(value) < 19 else None
    return None
