"""Answers that the gateway gives itself: status, headers, a short body that says what, where and what to do. Pure.

The texts that Knative's activator and queue-proxy use are kept exactly (spec 3.3, 3.7, 3.12), clients match on them.
gRPC clients get the same as a trailers-only answer, since they do not read HTTP bodies.
"""

from __future__ import annotations

from dataclasses import dataclass
from urllib.parse import quote

from standalone.gateway.inbox import Headers

QUEUE_FULL = "pending request queue full"
ACTIVATOR_TIMEOUT = "activator request timeout"
REQUEST_TIMEOUT = "request timeout"
GRPC_OF_STATUS = {400: 13, 404: 12, 408: 4, 413: 8, 429: 8, 431: 8, 500: 13, 502: 14, 503: 14, 504: 4}


@dataclass(frozen=True, slots=True)
class Reply:
    """A whole answer."""

    status: int
    headers: Headers
    body: bytes


def text(status: int, message: str, *extra: tuple[bytes, bytes]) -> Reply:
    """A plain-text answer; a newline is added as Go's ``http.Error`` does."""
    body = (message + "\n").encode()
    headers = [
        (b"content-type", b"text/plain; charset=utf-8"),
        (b"x-content-type-options", b"nosniff"),
        (b"content-length", b"%d" % len(body)),
        *extra,
    ]
    return Reply(status, headers, body)


def empty(status: int, *extra: tuple[bytes, bytes]) -> Reply:
    return Reply(status, [(b"content-length", b"0"), *extra], b"")


def queue_full(retry_after_s: int = 1) -> Reply:
    """503 as the breaker answers, with a hint when to come again."""
    return text(503, QUEUE_FULL, (b"retry-after", b"%d" % retry_after_s))


def grpc(reply: Reply) -> Headers:
    """The trailers of a gRPC answer with the same meaning."""
    code = GRPC_OF_STATUS.get(reply.status, 2)
    message = quote(reply.body.decode(errors="replace").strip(), safe=" !#$&'()*+,-./:;<=>?@[]^_`{|}~\"")
    return [
        (b"grpc-status", b"%d" % code),
        (b"grpc-message", message.encode()),
    ]
