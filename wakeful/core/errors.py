"""The closed set of failure kinds, and what each means to HTTP, gRPC and event delivery.

Every room raises or returns a ``FailureError`` (or its own error that carries a ``FailureKind``); every edge looks
the meaning up here, so that the same failure can never be retried by one protocol and given up by another.
Left out: texts for people (they belong where the failure is understood) and client libraries' own exceptions
(adapters translate them and chain the cause).

Invariant: ``MEANING`` has exactly one row a kind; ``tests/core/protocol/test_errors.py`` demands it.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum


class FailureKind(StrEnum):
    """What went wrong, in the words of the caller's next step."""

    INVALID = "invalid"
    """The request itself is wrong; sending it again unchanged can never work."""
    NOT_FOUND = "not_found"
    NOT_READY = "not_ready"
    """It exists, and is not able to answer yet."""
    CONFLICT = "conflict"
    OVERLOADED = "overloaded"
    """A bounded queue is full; nothing was done."""
    DEADLINE = "deadline"
    UNAVAILABLE = "unavailable"
    """Something it needs cannot be reached."""
    UNSUPPORTED = "unsupported"
    CANCELLED = "cancelled"
    """The caller went away."""
    INTERNAL = "internal"


class Fault(StrEnum):
    """Who has to change something."""

    CALLER = "caller"
    SERVER = "server"


class DeliveryAction(StrEnum):
    """What a broker does with the event whose delivery failed so."""

    RETRY = "retry"
    DEAD_LETTER = "dead_letter"


@dataclass(frozen=True, slots=True)
class Meaning:
    """One kind's row: its HTTP status, gRPC code name, and what delivery does."""

    http_status: int
    grpc_code: str
    is_retryable: bool
    fault: Fault
    delivery: DeliveryAction


_CALLER, _SERVER = Fault.CALLER, Fault.SERVER
_RETRY, _DEAD = DeliveryAction.RETRY, DeliveryAction.DEAD_LETTER

MEANING: dict[FailureKind, Meaning] = {
    FailureKind.INVALID: Meaning(400, "INVALID_ARGUMENT", False, _CALLER, _DEAD),
    FailureKind.NOT_FOUND: Meaning(404, "NOT_FOUND", False, _CALLER, _RETRY),
    FailureKind.NOT_READY: Meaning(503, "UNAVAILABLE", True, _SERVER, _RETRY),
    FailureKind.CONFLICT: Meaning(409, "ABORTED", False, _CALLER, _RETRY),
    FailureKind.OVERLOADED: Meaning(503, "RESOURCE_EXHAUSTED", True, _SERVER, _RETRY),
    FailureKind.DEADLINE: Meaning(504, "DEADLINE_EXCEEDED", True, _SERVER, _RETRY),
    FailureKind.UNAVAILABLE: Meaning(503, "UNAVAILABLE", True, _SERVER, _RETRY),
    FailureKind.UNSUPPORTED: Meaning(501, "UNIMPLEMENTED", False, _CALLER, _DEAD),
    FailureKind.CANCELLED: Meaning(499, "CANCELLED", True, _CALLER, _RETRY),
    FailureKind.INTERNAL: Meaning(500, "INTERNAL", True, _SERVER, _RETRY),
}
"""Retried by delivery although not "retryable" for a caller: 404 and 409, as Knative's dispatcher does (404 while a
route appears, 409 a lost race): knative-and-cloudevents.md, delivery."""


class FailureError(Exception):
    """A failure with its kind; ``str()`` is one sentence that says what, where, and what to do.

    ``retry_after_s`` (>= 0) is when another try makes sense, where that is known. Of a ``message`` that repeats what is no
    UTF-8 (a header's bytes, a file's name) those bytes are written out: every edge can send it.
    """

    def __init__(self, kind: FailureKind, message: str, retry_after_s: float | None = None) -> None:
        if not message.isascii():
            message = message.encode("utf-8", "backslashreplace").decode()
        super().__init__(message)
        self.kind = kind
        self.retry_after_s = retry_after_s

    @property
    def meaning(self) -> Meaning:
        """The row of this failure's kind."""
        return MEANING[self.kind]


class InvalidError(FailureError):
    """The request is wrong (400): the commonest failure, so it has a name of its own."""

    def __init__(self, message: str) -> None:
        super().__init__(FailureKind.INVALID, message)


class UpstreamError(FailureError):
    """Another server answered with an error, which is passed on: its HTTP ``status`` stays, its text is the sentence."""

    def __init__(self, status: int, message: str, retry_after_s: float | None = None) -> None:
        super().__init__(kind_of_status(status), message, retry_after_s)
        self.status = status


_KIND_OF_STATUS = {
    404: FailureKind.NOT_FOUND,
    405: FailureKind.UNSUPPORTED,
    408: FailureKind.DEADLINE,
    409: FailureKind.CONFLICT,
    429: FailureKind.OVERLOADED,
    499: FailureKind.CANCELLED,
    501: FailureKind.UNSUPPORTED,
    502: FailureKind.UNAVAILABLE,
    503: FailureKind.UNAVAILABLE,
    504: FailureKind.DEADLINE,
}


def kind_of_status(status: int) -> FailureKind:
    """The kind that an HTTP error status of another server means; 3xx and odd ones are its fault (internal)."""
    if status in _KIND_OF_STATUS:
        return _KIND_OF_STATUS[status]
    return FailureKind.INVALID if 400 <= status < 500 else FailureKind.INTERNAL
