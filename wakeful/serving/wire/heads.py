"""The head of an HTTP/1.1 answer as bytes.

Called by ``http1`` for every answer, so what does not change is made once: status lines, header names. Framing is the
wire's alone: a ``Content-Length``, ``Transfer-Encoding`` or ``Connection`` that an edge or a model sets is dropped,
since it could cut one answer into two.

Invariant: a head holds exactly the lines it was made of: a line break in a name or value is refused.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from http import HTTPStatus

from wakeful.core.errors import FailureError, FailureKind

STATUS_LINES = {
    status.value: f"HTTP/1.1 {status.value} {status.phrase}\r\nServer: wakeful\r\n".encode()
    for status in HTTPStatus
}
FRAMING = frozenset(
    {
        "content-length",
        "transfer-encoding",
        "connection",
        "keep-alive",
        "upgrade",
        "trailer",
        "te",
        "date",
        "server",
    }
)
TOKEN = re.compile(r"[!#$%&'*+.^_`|~0-9A-Za-z-]+")
FORBIDDEN = re.compile(rb"[\r\n\0]")
MAX_KEPT = 512
KEPT = frozenset({"Content-Type", "Vary", "Cache-Control", "Retry-After", "Content-Encoding", "Allow"})
"""Headers with few values: their lines are made once."""

_lines: dict[tuple[str, str], bytes] = {}


def render(status: int, headers: Mapping[str, str], framing: bytes) -> bytes:
    """The head with ``headers`` and then ``framing`` (lines of the wire's own). Raises ``FailureError`` (internal)."""
    head = STATUS_LINES.get(status) or b"HTTP/1.1 %d Status\r\nServer: wakeful\r\n" % status
    for item in headers.items():
        line = _lines.get(item)
        if line is not None:
            head += line
            continue
        name, value = item
        if name == "X-Request-Id" and value.isalnum() and value.isascii():  # most answers' own line
            head += b"X-Request-Id: %b\r\n" % value.encode()
        else:
            head += _line(name, value)
    return head + framing


def _line(name: str, value: str) -> bytes:
    """One header's line, empty for one that is dropped."""
    if not TOKEN.fullmatch(name):
        raise FailureError(
            FailureKind.INTERNAL, f"{name[:80]!r} is no name of a header: the model must not set it"
        )
    if name.lower() in FRAMING:
        return b""
    try:
        line = f"{name}: {value}".encode("utf-8", "surrogateescape")
    except UnicodeEncodeError:
        line = b"\0"
    if FORBIDDEN.search(line):
        raise FailureError(
            FailureKind.INTERNAL,
            f"header {name} of the answer holds a line break or the like: the model must not set it",
        )
    line += b"\r\n"
    if name in KEPT and len(_lines) < MAX_KEPT:
        _lines[name, value] = line
    return line
