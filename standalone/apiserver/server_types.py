"""What passes between the HTTP edge and the handlers: ``Request``, ``Response``, ``Stream`` and its ``Sink``.

Left out: parsing and sockets (``server_http``), what is answered (handlers).

Invariant: a ``Response`` is complete bytes; a ``Stream`` is started once and owns its sink until it is closed.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, Protocol
from urllib.parse import parse_qsl

import orjson

from standalone.apiserver import errors

JSON = "application/json"
_INTEGER = re.compile(r"[+-]?[0-9]{1,18}")
TEXT = "text/plain; charset=utf-8"


@dataclass(frozen=True, slots=True)
class User:
    """Who asks, as TokenReview and admission show it."""

    name: str
    groups: tuple[str, ...]
    uid: str = ""
    extra: dict[str, list[str]] = field(default_factory=dict)

    def info(self) -> dict[str, Any]:
        """The ``UserInfo`` of Kubernetes."""
        info: dict[str, Any] = {"username": self.name, "groups": list(self.groups)}
        if self.uid:
            info["uid"] = self.uid
        if self.extra:
            info["extra"] = self.extra
        return info


class Request:
    """One request, read completely."""

    __slots__ = ("_query", "body", "headers", "method", "path", "query_text", "user", "warnings")

    def __init__(self, method: str, path: str, query_text: str, headers: dict[str, str], body: bytes) -> None:
        self.method = method
        self.path = path
        self.query_text = query_text
        self.headers = headers
        """By lower-case name."""
        self.body = body
        self.user = ANONYMOUS
        self.warnings: list[str] = []
        """Sent as ``Warning: 299`` headers with the answer."""
        self._query: dict[str, str] | None = None

    @property
    def query(self) -> dict[str, str]:
        """The query's parameters; of a repeated one the last."""
        if self._query is None:
            text = self.query_text
            self._query = dict(parse_qsl(text, keep_blank_values=True)) if text else {}
        return self._query

    def is_set(self, name: str) -> bool:
        """Whether a boolean parameter is true (``?watch``, ``?watch=1`` and ``?watch=true`` are)."""
        return self.query.get(name, "false").lower() in ("", "1", "true", "t")

    def number(self, name: str) -> int | None:
        """A parameter as a non-negative integer, None when absent. Raises 400."""
        text = self.query.get(name)
        if not text:
            return None
        if not text.isascii() or not text.isdigit() or len(text) > 18:
            wrong = f'{name}: Invalid value: "{text[:40]}"'
            raise errors.bad_request(f'{wrong}: strconv.ParseUint: parsing "{text[:40]}": invalid syntax')
        return int(text)

    def integer(self, name: str) -> int | None:
        """A parameter as an integer, None when absent. Raises 400."""
        text = self.query.get(name)
        if not text:
            return None
        if not _INTEGER.fullmatch(text):
            raise errors.bad_request(f'strconv.ParseInt: parsing "{text[:40]}": invalid syntax')
        return int(text)


ANONYMOUS = User("system:anonymous", ("system:unauthenticated",))


@dataclass(slots=True)
class Response:
    """A complete answer."""

    status: int
    body: bytes
    content_type: str = JSON
    headers: tuple[tuple[str, str], ...] = ()


class Sink(Protocol):
    """The writing end of a streamed answer."""

    def write(self, data: bytes) -> None:
        """Send ``data`` as one chunk; nothing happens after the end."""

    def write_framed(self, chunk: bytes) -> None:
        """Send bytes that already are a chunk (``frame``), so that many sinks share them."""

    def close(self) -> None:
        """End the answer properly."""

    def abort(self) -> None:
        """Cut the connection: the reader is too slow or the answer cannot be completed."""

    def waiting_bytes(self) -> int:
        """Bytes accepted and not yet taken by the socket."""


def frame(data: bytes) -> bytes:
    """One HTTP/1.1 chunk."""
    return b"%x\r\n%b\r\n" % (len(data), data)


@dataclass(slots=True)
class Stream:
    """An answer in parts. ``start`` gets the sink and returns what to call when the connection ends."""

    content_type: str
    start: Callable[[Sink], Callable[[], None]]


def json_response(value: Any, status: int = 200) -> Response:
    return Response(status, orjson.dumps(value))


def error_response(error: errors.StatusError) -> Response:
    """The answer to a ``StatusError``, with ``Retry-After`` where the error names a wait."""
    if isinstance(error, errors.UnknownPathError):
        return Response(error.code, error.message.encode(), TEXT)
    wait_s = (error.details or {}).get("retryAfterSeconds")
    headers = (("Retry-After", str(wait_s)),) if wait_s else ()
    return Response(error.code, orjson.dumps(error.status()), JSON, headers)
