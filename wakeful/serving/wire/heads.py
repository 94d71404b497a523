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
MAX_NAMES = 1024

_names: dict[str, bytes | None] = {}


def render(status: int, headers: Mapping[str, str], framing: bytes) -> bytes:
    """The head with ``headers`` and then ``framing`` (lines of the wire's own). Raises ``FailureError`` (internal)."""
    line = STATUS_LINES.get(status) or f"HTTP/1.1 {status} Status\r\nServer: wakeful\r\n".encode()
    parts = [line]
    for name, value in headers.items():
        try:
            start = _names[name]
        except KeyError:
            start = _learn(name)
        if start is not None:
            parts += (start, value.encode("utf-8", "surrogateescape"), b"\r\n")
    lines = (len(parts) - 1) // 3 + 2
    if len(headers) > 0:
        head = b"".join(parts)
        if head.count(b"\n") != lines or head.count(b"\r") != lines or b"\0" in head:
            raise FailureError(
                FailureKind.INTERNAL, "a header of the answer holds a line break: the model must not set it"
            )
        return head + framing
    return line + framing


def _learn(name: str) -> bytes | None:
    """The start of a header's line, or None for one that is dropped."""
    if not TOKEN.fullmatch(name):
        raise FailureError(
            FailureKind.INTERNAL, f"{name[:80]!r} is no name of a header: the model must not set it"
        )
    start = None if name.lower() in FRAMING else f"{name}: ".encode()
    if len(_names) < MAX_NAMES:
        _names[name] = start
    return start
