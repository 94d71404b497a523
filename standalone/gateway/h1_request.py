"""Read HTTP/1 requests from a byte stream with httptools, and refuse what is dangerous to pass on.

``h1_front`` feeds it. llhttp in its strict mode refuses CL with TE, two or malformed lengths, obs-fold, bare CR or LF,
white space in names, control characters; added here: sizes and counts, exactly one Host, HTTP/0.9, CONNECT, transfer
codings other than chunked, and chunk framing that costs far more than it carries.

Invariant: ``feed`` either passes every byte on once, in order, or raises ``BadRequest`` and is never fed again.
"""

from __future__ import annotations

from typing import Protocol
from urllib.parse import urlsplit

import httptools

from standalone.gateway import h1_wire
from standalone.gateway.exchange import Head
from standalone.gateway.h1_exchange import H1Exchange
from standalone.gateway.inbox import Headers
from standalone.gateway.settings import Limits

TRAILERS = 100
FRAMING_SLACK_BYTES = 1 << 20
FRAMING_FACTOR = 32
"""A body of one-byte chunks costs 6 bytes each; beyond 32 (and 1 MiB) chunk extensions are an attack."""
HTTP2_ONLY = b"h2c"


class BadRequest(Exception):
    """The request is refused with ``status``; the text says why."""

    def __init__(self, status: int, message: str) -> None:
        super().__init__(message)
        self.status = status


class Owner(Protocol):
    """Where requests go."""

    def on_request(self, head: Head) -> H1Exchange: ...


class RequestReader:
    """The parser of one connection."""

    def __init__(self, owner: Owner, limits: Limits) -> None:
        self._owner = owner
        self._limits = limits
        self._parser = httptools.HttpRequestParser(self)
        self.exchange: H1Exchange | None = None
        """The request whose body is coming, or came last."""
        self.is_in_head = False
        """A request has begun and its headers are not complete."""
        self.is_tunnel = False
        self._is_resuming = False
        self._is_in_body = False
        self._bad: BadRequest | None = None
        self._head_bytes = 0
        self._framing_bytes = 0
        self._target = b""
        self._headers: Headers = []

    def feed(self, data: bytes) -> None:
        """Parse. Raises ``BadRequest``."""
        while data:
            if self.is_tunnel:
                assert self.exchange is not None
                self.exchange.body.feed(data)
                return
            data = self._feed_some(data)

    def _feed_some(self, data: bytes) -> bytes:
        rest = b""
        exchange, was_in_head, counted = self.exchange, self.is_in_head, self._head_bytes
        fed = exchange.body.total if exchange is not None else 0
        try:
            self._parser.feed_data(data)
        except httptools.HttpParserUpgrade as upgrade:
            rest = data[upgrade.args[0] :]
            self._on_upgrade()
        except httptools.HttpParserCallbackError as error:
            raise self._bad or error from error
        except httptools.HttpParserError as error:
            raise self._bad or BadRequest(400, f"not a valid HTTP/1.1 request: {error}") from error
        if self._bad is not None:
            raise self._bad
        if self.is_in_head and was_in_head:
            # a line that does not end is seen by no callback
            self._count_head(max(len(data) - (self._head_bytes - counted), 0))
        elif self._is_in_body and self.exchange is exchange and exchange is not None:
            self._framing_bytes += len(data) - (exchange.body.total - fed)
            if self._framing_bytes > FRAMING_SLACK_BYTES + FRAMING_FACTOR * exchange.body.total:
                raise BadRequest(400, "the request's chunk framing is far larger than its body")
        return rest

    def _count_head(self, size_bytes: int) -> None:
        self._head_bytes += size_bytes
        if self._head_bytes > self._limits.head_bytes:
            self._bad = BadRequest(431, f"the request's headers exceed {self._limits.head_bytes} bytes")
            raise self._bad

    def _on_upgrade(self) -> None:
        exchange = self.exchange
        assert exchange is not None
        head = exchange.head
        if head.upgrade:
            self.is_tunnel = True
            return
        # the client offered a protocol that we do not speak: read on as HTTP/1.1. llhttp has stopped at the end of
        # the head, so a new parser is told of the same framing and takes the body and what follows
        self._parser = httptools.HttpRequestParser(self)
        framing = b""
        if head.has_body:
            framing = (
                b"transfer-encoding: chunked\r\n"
                if head.length is None
                else b"content-length: %d\r\n" % head.length
            )
            self._is_resuming = self._is_in_body = True
            self._parser.feed_data(b"POST / HTTP/1.1\r\nhost: x\r\n" + framing + b"\r\n")
            self._is_resuming = False

    # ---- httptools

    def on_message_begin(self) -> None:
        if self._is_resuming:
            return
        self.is_in_head = True
        self._is_in_body = False
        self._head_bytes = self._framing_bytes = 0
        self._target = b""
        self._headers = []

    def on_url(self, url: bytes) -> None:
        if self._is_resuming:
            return
        self._target += url
        if len(self._target) > self._limits.target_bytes:
            self._bad = BadRequest(414, f"the request target exceeds {self._limits.target_bytes} bytes")
            raise self._bad

    def on_header(self, name: bytes, value: bytes) -> None:
        if self._is_resuming:
            return
        field = (name.lower(), value.strip(b" \t"))
        if not self.is_in_head:
            assert self.exchange is not None
            trailers = self.exchange.body.trailers
            trailers.append(field)
            if len(trailers) > TRAILERS:
                self._bad = BadRequest(431, f"the request has more than {TRAILERS} trailers")
                raise self._bad
            return
        self._headers.append(field)
        self._count_head(len(name) + len(value))
        if len(self._headers) > self._limits.header_count:
            self._bad = BadRequest(431, f"the request has more than {self._limits.header_count} headers")
            raise self._bad

    def on_headers_complete(self) -> None:
        if self._is_resuming:
            return
        try:
            head = self._make_head()
        except BadRequest as error:
            self._bad = error
            raise
        self.is_in_head = False
        self._is_in_body = head.has_body
        self.exchange = self._owner.on_request(head)
        if not self._parser.should_keep_alive():
            self.exchange.closes = True

    def on_body(self, body: bytes) -> None:
        assert self.exchange is not None
        inbox = self.exchange.body
        inbox.feed(body)
        if 0 < self._limits.body_bytes < inbox.total:
            self._bad = BadRequest(413, f"the request's body exceeds {self._limits.body_bytes} bytes")
            raise self._bad

    def on_message_complete(self) -> None:
        exchange = self.exchange
        assert exchange is not None
        if self._parser.should_upgrade() and (exchange.head.upgrade or exchange.head.has_body):
            return  # what follows belongs to this request
        self._is_in_body = False
        exchange.body.end()

    # ---- the head

    def _make_head(self) -> Head:
        method = self._parser.get_method()
        version = self._parser.get_http_version()
        if version not in ("1.1", "1.0"):
            raise BadRequest(505, f"HTTP/{version} is not served here; use HTTP/1.1 or HTTP/2")
        if method == b"CONNECT":
            raise BadRequest(501, "CONNECT is not served here")
        hosts = [value for name, value in self._headers if name == b"host"]
        if len(hosts) > 1 or (not hosts and version == "1.1"):
            raise BadRequest(400, "an HTTP/1.1 request needs exactly one Host header")
        codings = [value.lower() for name, value in self._headers if name == b"transfer-encoding"]
        if codings and (codings != [b"chunked"] or version == "1.0"):
            raise BadRequest(501, "only the transfer coding 'chunked' is served, and only in HTTP/1.1")
        length = h1_wire.content_length(self._headers)
        if 0 < self._limits.body_bytes < (length or 0):
            raise BadRequest(413, f"the request's body exceeds {self._limits.body_bytes} bytes")
        host = hosts[0].decode("latin-1") if hosts else ""
        authority, target, is_absolute = _split_target(self._target, host)
        upgrade = b""
        if self._parser.should_upgrade():
            asked = next((value for name, value in self._headers if name == b"upgrade"), b"")
            is_served = HTTP2_ONLY not in asked.lower() and not codings and not length
            upgrade = asked if is_served else b""
        return Head(
            method=method,
            target=target,
            authority=authority,
            headers=self._headers,
            version=version,
            upgrade=upgrade,
            is_absolute=is_absolute,
            has_body=bool(codings) or bool(length),
            length=None if codings else length or 0,
        )


def _split_target(target: bytes, host: str) -> tuple[str, bytes, bool]:
    """(authority, origin-form target, was it absolute). RFC 9112 3.2.2: an absolute target overrides Host."""
    if target[:1] == b"/" or target == b"*":
        return host, target, False
    try:
        url = urlsplit(target.decode("ascii"))
    except ValueError as error:
        raise BadRequest(400, f"the request target is not a valid URL: {error}") from error
    if url.scheme.lower() != "http" or not url.netloc or "@" in url.netloc:
        raise BadRequest(400, "a proxy request needs a target of the form http://HOST[:PORT]/PATH")
    path = (url.path or "/") + (f"?{url.query}" if url.query else "")
    return url.netloc, path.encode("ascii"), True
