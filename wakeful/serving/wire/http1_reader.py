"""HTTP/1.1 bytes to requests: httptools (llhttp) parses, this bounds, collects and checks. No socket, no clock.

Fed by ``http1``, one per connection. What llhttp refuses itself: ``Content-Length`` with ``Transfer-Encoding``, two
lengths, bare LF, folded lines, control characters, spaces before colons. What is refused here: sizes and counts,
transfer codings other than ``chunked``, versions other than 1.0 and 1.1. ``Upgrade`` is ignored, as RFC 9110 7.8
allows: the request is answered as it stands, its body included.

Invariants: any cut of the same bytes into pieces gives the same turns; memory is bounded by the limits and one piece.
"""

from __future__ import annotations

import re
from collections import deque
from typing import Any

import httptools

from wakeful.core.errors import FailureError
from wakeful.serving.exchange import Headers, Request
from wakeful.serving.http_body import (
    BodyTooLargeError,
    Budget,
    ExpectationError,
    HeadTooLargeError,
    MethodError,
    TargetTooLongError,
    VersionError,
    WireError,
)
from wakeful.serving.wire import authority, coding, known_heads
from wakeful.serving.wire.known_heads import END, KnownHeads
from wakeful.serving.wire.limits import Limits
from wakeful.serving.wire.turns import CLOSE, KEEP, Turn

MAX_NAMES = 1024
FRAMING_TIMES = 8
"""Bytes on the wire for one byte of a chunked body: seven in one-byte chunks, and no more than that is needed."""
SMALL_BYTES = 4096
ODD_METHOD = re.compile(rb"(?:\r\n)*[!#$%&'*+.^_`|~0-9A-Za-z-]{1,64} [^ \r\n]+ HTTP/1\.[01]\r\n")
"""A request line that llhttp refuses for its method alone: 501 where a piece begins with it. Anything else that is no
method is what follows a body of the wrong length, or no HTTP."""

_names: dict[bytes, str] = {}
_methods: dict[bytes, str] = {}


class Reader:
    """The requests of one connection: whole ones in ``turns``, the one whose body is on its way in ``body``."""

    def __init__(self, limits: Limits, budget: Budget, known: KnownHeads) -> None:
        self._limits = limits
        self._budget = budget
        self._known = known
        self.peer = ""
        self.turns: deque[Turn] = deque()
        self.body: Turn | None = None
        self.is_done = False
        """The client has said that it sends no more; what follows is ignored."""
        self._parser: Any = httptools.HttpRequestParser(self)
        self._fed_bytes = self._head_bytes = self._raw_bytes = self._size = 0
        self._is_new = self._is_upgrade = self._is_synthetic = False
        self._url = b""
        self._pairs: list[tuple[str, str]] = []
        self._chunk = b""
        self._parts: list[bytes] = []
        self._small = bytearray()
        """The body: its first piece, further ones, and small ones together (an object each would outweigh them)."""
        self._is_between = True
        """Whether the next byte begins a request, as far as the parser has been fed."""
        self._head = b""
        """The bytes of the head that began there, if they came in one piece."""
        self._since = self._ended = self._missing = 0
        """Bytes fed and requests ended since then; bytes of a known head's body that have not come."""

    def feed(self, data: bytes) -> None:
        """Take ``data``. Raises ``FailureError`` when no more can be read; ``body`` is then the request it was in."""
        if self.is_done:
            return
        if self._missing or self._is_between:
            data = self._read_known(data)
            if not data:
                return
        self._since += len(data)
        ended = self._ended
        self._parse(data)
        if self.body is not None:
            self._bound_framing(len(data))
        elif self._url or self._head_bytes:
            self._bound_head(len(data))
        elif self._head and self._ended == 1 and ended == 0 and not self.is_done:
            self._find_boundary()

    def _read_known(self, data: bytes) -> bytes:
        """Take the requests whose heads are known; what is left is for the parser."""
        at = 0
        if self._missing:
            at = min(self._missing, len(data))
            self._missing -= at
            self.on_body(data[:at])
            if not self._missing:
                self.on_message_complete()
        count = len(data)
        while at < count and not self._missing:
            end = data.find(END, at) + 4
            head = self._known.get(data[at:end])
            if head is None:
                self._is_between, self._since, self._ended = False, 0, 0
                self._head = data[at:end] if end > 3 else b""
                return data[at:] if at else data
            turn = self.body = Turn(Request(head.method, head.target, head.headers, peer=self.peer))
            at = end + head.length
            if at > count:
                self._missing = at - count
                if count > end:
                    self.on_body(data[end:])
                break
            if at > end:
                self._take_body(turn, data[end:at])
            self.body = None
            self._ended += 1
            self.turns.append(turn)
        return b""

    def _take_body(self, turn: Turn, body: bytes) -> None:
        """A body that came whole. Raises ``FailureError``."""
        size = len(body)
        if size > self._limits.body_bytes:
            raise BodyTooLargeError(self._limits.body_bytes)
        self._budget.charge(size)
        turn.held_bytes = size
        turn.request.body = body  # type: ignore[union-attr]  # a turn that is being read has a request

    def _find_boundary(self) -> None:
        """After one request: whether it was all that came, so that the next byte begins another."""
        turn = self.turns[-1]
        assert turn.request is not None
        length = len(turn.request.body)
        if self._since == len(self._head) + length:
            self._is_between = True
            if not turn.connection:
                known_heads.learn(self._known, self._head, length, turn.request)

    def _parse(self, data: bytes) -> None:
        self._fed_bytes = len(data)
        self._is_new = False
        ended = self._ended
        rest: bytes | memoryview = data
        try:
            while True:
                try:
                    self._parser.feed_data(rest)
                    break
                except httptools.HttpParserUpgrade as upgrade:
                    rest = memoryview(rest)[upgrade.args[0] :]
                    if self.is_over():
                        return
                    self._go_on_without_upgrade()
        except httptools.HttpParserCallbackError as error:
            if isinstance(error.__context__, FailureError):
                raise error.__context__ from None
            raise
        except httptools.HttpParserError as error:
            if self.is_over():
                return
            if (
                self._ended == ended
                and isinstance(error, httptools.HttpParserInvalidMethodError)
                and ODD_METHOD.match(data)
            ):
                raise MethodError() from error
            raise WireError(f"not HTTP/1.1: {error}") from error

    def is_over(self) -> bool:
        """Whether the client has said that it sends no more, or nothing more is read."""
        return self.is_done

    def stop(self) -> int:
        """Read no more; how many bytes of the budget the unfinished request held."""
        held = self._size if self.body is not None else 0
        self.body, self._size, self._missing = None, 0, 0
        self._chunk, self._parts, self._small = b"", [], bytearray()
        self.is_done = True
        self._parser = None  # it holds this object's methods: no cycle is left for the collector
        return held

    def close(self) -> int:
        """Forget everything; how many bytes of the budget were held."""
        held = self.stop() + sum(turn.held_bytes for turn in self.turns)
        self.turns.clear()
        return held

    def _bound_head(self, count: int) -> None:
        """A head that does not end. What came in one piece with other requests may be them: it counts from the next."""
        self._head_bytes += 0 if self._is_new else count
        if self._head_bytes > self._limits.head_bytes:
            raise self._too_large(self._url)

    def _bound_framing(self, count: int) -> None:
        self._raw_bytes += 0 if self._is_new else count
        if self._raw_bytes > FRAMING_TIMES * self._size + self._limits.head_bytes:
            raise WireError(
                "the request body is nearly all framing: send larger chunks, and no long extensions or trailers"
            )

    # What httptools calls.

    def on_url(self, url: bytes) -> None:
        self._url += url

    def on_header(self, name: bytes, value: bytes) -> None:
        if self.body is not None:
            self._trailer(name, value)
            return
        value = value.rstrip(b" \t")  # RFC 9112 5: no part of it; llhttp leaves what follows a value
        self._pairs.append((_names.get(name) or _name(name), value.decode("utf-8", "surrogateescape")))

    def on_headers_complete(self) -> None:
        self._is_new = True
        self._raw_bytes = 0
        parser = self._parser
        if self._is_synthetic:
            self._is_synthetic = False
            self._url, self._pairs = b"", []
            return
        limits = self._limits
        url, pairs = self._url, self._pairs
        if self._fed_bytes + self._head_bytes > limits.head_bytes:
            self._check_head(url, pairs)
        self._url, self._pairs, self._head_bytes = b"", [], 0
        method = parser.get_method()
        headers = Headers(pairs)
        target = url.decode("latin-1")
        request = Request(
            _methods.get(method) or _method(method),
            target if target[:1] == "/" else _origin_form(target),
            headers,
            peer=self.peer,
        )
        turn = self.body = Turn(request, not parser.should_keep_alive())
        self._size = 0
        if len(pairs) > limits.headers:
            raise HeadTooLargeError(f"the request has more than {limits.headers} headers")
        first = headers.first
        if turn.is_last or "connection" in first:
            self._judge_version(turn, parser.get_http_version())
        if "host" not in first or len(first) != len(pairs):
            self._judge_host(turn, headers)
        authority.check(first.get("host", ""))
        if "content-length" in first and int(first["content-length"]) > limits.body_bytes:
            raise BodyTooLargeError(limits.body_bytes)
        if (
            "transfer-encoding" in first
            or "content-encoding" in first
            or "expect" in first
            or "upgrade" in first
        ):
            self._special(turn, first)
        if method == b"CONNECT":
            turn.is_last = True
            turn.connection = CLOSE

    def on_body(self, chunk: bytes) -> None:
        count = len(chunk)
        if self._size + count > self._limits.body_bytes:
            raise BodyTooLargeError(self._limits.body_bytes)
        self._budget.charge(count)
        self._size += count
        if self._size == count:
            self._chunk = chunk
        elif count < SMALL_BYTES:
            self._small += chunk
        else:
            if self._small:
                self._parts.append(bytes(self._small))
                self._small.clear()
            self._parts.append(chunk)

    def on_message_complete(self) -> None:
        turn = self.body
        if turn is None or self._is_upgrade:
            return
        self._is_new, self._head_bytes = True, 0
        self._ended += 1
        if self._size:
            assert turn.request is not None
            turn.held_bytes = self._size
            turn.request.body = self._chunk
            if len(self._chunk) != self._size:
                turn.request.body = b"".join((self._chunk, *self._parts, self._small))
                self._parts, self._small = [], bytearray()
            self._chunk, self._size = b"", 0
        self.body = None
        self.is_done = turn.is_last
        self.turns.append(turn)

    # The rare.

    def _trailer(self, name: bytes, value: bytes) -> None:
        """Dropped, as RFC 9110 6.5.1 allows: merged into the headers it could change what the request means."""
        if self._is_synthetic:
            return
        self._head_bytes += len(name) + len(value) + 4
        if self._head_bytes > self._limits.head_bytes:
            raise HeadTooLargeError(f"the request's trailers are larger than {self._limits.head_bytes} bytes")

    def _check_head(self, url: bytes, pairs: list[tuple[str, str]]) -> None:
        size = len(url) + sum(len(name) + len(value) + 4 for name, value in pairs)
        if size > self._limits.head_bytes:
            raise self._too_large(url)

    def _too_large(self, url: bytes) -> WireError:
        """The refusal of a head over the limit: 414 where most of it is the target (RFC 9112 3), else 431 (RFC 6585 5)."""
        bound = self._limits.head_bytes
        if len(url) > bound // 2:
            return TargetTooLongError(f"the request's target is longer than {bound // 2} bytes")
        return HeadTooLargeError(f"the request's head is larger than {bound} bytes")

    def _judge_version(self, turn: Turn, version: str) -> None:
        if version == "1.0":
            turn.is_http10 = True
            turn.connection = CLOSE if turn.is_last else KEEP
        elif version != "1.1":
            raise VersionError(f"HTTP/{version} is not spoken here: send HTTP/1.1")

    def _judge_host(self, turn: Turn, headers: Headers) -> None:
        hosts = len(headers.all("host"))
        if hosts > 1 or (hosts == 0 and not turn.is_http10):
            has = "several Host headers" if hosts else "no Host header"
            raise WireError(f"the request has {has}: HTTP/1.1 wants exactly one")

    def _special(self, turn: Turn, first: dict[str, str]) -> None:
        assert turn.request is not None
        transfer = first.get("transfer-encoding")
        if transfer is not None and (turn.is_http10 or transfer.strip().lower() != "chunked"):
            raise WireError(
                f"Transfer-Encoding {transfer[:40]!r}: send chunked over HTTP/1.1, or a Content-Length"
            )
        turn.coding = coding.known(turn.request.headers)
        expectation = first.get("expect")
        if expectation is not None and not turn.is_http10:
            if expectation.strip().lower() != "100-continue":
                raise ExpectationError(f"Expect: {expectation[:40]} is not known: only 100-continue is")
            turn.expects_continue = True
        self._is_upgrade = bool(self._parser.should_upgrade())

    def _go_on_without_upgrade(self) -> None:
        """llhttp stops at an upgrade, before the body: a new parser reads on, told how the body is framed."""
        turn = self.body
        assert turn is not None and turn.request is not None
        first = turn.request.headers.first
        framing = f"Content-Length: {first.get('content-length', '0')}"
        if "transfer-encoding" in first:
            framing = "Transfer-Encoding: chunked"
        self._is_upgrade, self._is_synthetic = False, True
        self._parser = httptools.HttpRequestParser(self)
        self._parser.feed_data(f"POST / HTTP/1.1\r\n{framing}\r\n\r\n".encode())


def _name(name: bytes) -> str:
    """The header's name in lower case; the common ones are remembered."""
    made = name.decode("latin-1").lower()
    if len(_names) < MAX_NAMES:
        _names[name] = made
    return made


def _method(method: bytes) -> str:
    made = method.decode("latin-1")
    if len(_methods) < MAX_NAMES:
        _methods[method] = made
    return made


def _origin_form(target: str) -> str:
    """``http://host/path`` as ``/path``, which RFC 9112 3.2.2 has servers accept; ``*`` and others as they are.

    Raises ``WireError`` where the host is none (RFC 9110 4.2.1).
    """
    scheme, colon, rest = target.partition("://")
    if not colon or scheme.lower() not in ("http", "https"):
        return target
    host = re.split("[/?]", rest, maxsplit=1)[0]
    authority.check(host)
    if not host.partition(":")[0]:
        raise WireError("the request's target names no host")
    rest = rest[len(host) :]
    return rest if rest[:1] == "/" else "/" + rest
