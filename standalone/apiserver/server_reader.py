"""Bytes of one connection to ``Request`` values: httptools' callbacks, with bounds on head and body.

Used by ``server_http``. Left out: what is answered, and when. Invariant: ``feed`` raises nothing but ``StatusError``,
after which the connection has no more meaning and must be ended.
"""

from __future__ import annotations

from collections.abc import Callable
from urllib.parse import unquote

import httptools

from standalone.apiserver import errors
from standalone.apiserver.server_types import Request

MAX_HEAD_BYTES = 64 * 1024
MAX_BODY_BYTES = 3 * 1024 * 1024
"""What kube-apiserver takes for one object."""


class RequestReader:
    """Parses; ``on_request`` gets each request and whether the connection stays open after it."""

    def __init__(
        self,
        on_begin: Callable[[], None],
        on_continue: Callable[[], None],
        on_request: Callable[[Request, bool], None],
    ) -> None:
        self._parser = httptools.HttpRequestParser(self)
        self._on_begin = on_begin
        self._on_continue = on_continue
        self._on_request = on_request
        self.is_receiving = False
        """Whether a request has begun and is not complete."""
        self._reset()

    def feed(self, data: bytes) -> None:
        """Take bytes from the socket. Raises ``StatusError`` when they are no HTTP or too much."""
        try:
            self._parser.feed_data(data)
        except httptools.HttpParserUpgrade as error:
            text = "protocol upgrades are not supported by the embedded API: send no Upgrade header"
            raise errors.StatusError(501, "NotImplemented", text) from error
        except httptools.HttpParserCallbackError as error:
            cause = error.__context__
            if isinstance(cause, errors.StatusError):
                raise cause from error
            raise errors.bad_request(f"malformed HTTP request: {cause or error}") from error
        except httptools.HttpParserError as error:
            raise errors.bad_request(f"malformed HTTP request: {error}") from error

    def _reset(self) -> None:
        self._url = b""
        self._headers: dict[str, str] = {}
        self._head_bytes = 0
        self._body: list[bytes] = []
        self._body_bytes = 0

    def _count_head(self, size: int) -> None:
        self._head_bytes += size
        if self._head_bytes > MAX_HEAD_BYTES:
            raise errors.StatusError(431, "BadRequest", f"request head is over {MAX_HEAD_BYTES} bytes")

    # -- httptools' callbacks

    def on_message_begin(self) -> None:
        self._reset()
        self.is_receiving = True
        self._on_begin()

    def on_url(self, url: bytes) -> None:
        self._url += url
        self._count_head(len(url))

    def on_header(self, name: bytes, value: bytes) -> None:
        self._count_head(len(name) + len(value))
        self._headers[name.decode("latin-1").lower()] = value.decode("latin-1")

    def on_headers_complete(self) -> None:
        length = self._headers.get("content-length", "")
        if length.isdigit() and (len(length) > 12 or int(length) > MAX_BODY_BYTES):
            raise errors.too_large(MAX_BODY_BYTES)
        if self._headers.get("expect", "").lower() == "100-continue":
            self._on_continue()

    def on_body(self, body: bytes) -> None:
        self._body_bytes += len(body)
        if self._body_bytes > MAX_BODY_BYTES:
            raise errors.too_large(MAX_BODY_BYTES)
        self._body.append(body)

    def on_message_complete(self) -> None:
        self.is_receiving = False
        url = httptools.parse_url(self._url)
        path = url.path.decode("latin-1") if url.path else "/"
        query = url.query.decode("latin-1") if url.query else ""
        body = self._body[0] if len(self._body) == 1 else b"".join(self._body)
        method = self._parser.get_method().decode("latin-1")
        if "%" in path:
            path = unquote(path)
        request = Request(method, path, query, self._headers, body)
        self._body = []
        self._on_request(request, self._parser.should_keep_alive())
