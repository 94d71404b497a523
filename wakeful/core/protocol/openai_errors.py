"""Failures as OpenAI's clients expect them: ``{"error": {"message", "type", "param", "code"}}``.

Parsers of the OpenAI protocol raise ``RefusedError`` with the member it is about; the edge renders every failure with
``render``. Types and codes are those of OpenAI's API reference (the official client maps the HTTP status to its
exception class and reads ``type``, ``code`` and ``param`` from the object). Left out: HTTP itself.

Invariant: ``TYPES`` has a row for every failure kind; every body has all four members.
"""

from __future__ import annotations

from typing import Any

from wakeful.core.errors import FailureError, FailureKind, InvalidError
from wakeful.core.protocol.problem import Problem

INVALID_REQUEST = "invalid_request_error"
SERVER_ERROR = "server_error"

TYPES: dict[FailureKind, tuple[str, str | None]] = {
    FailureKind.INVALID: (INVALID_REQUEST, None),
    FailureKind.NOT_FOUND: (INVALID_REQUEST, "model_not_found"),
    FailureKind.NOT_READY: (SERVER_ERROR, "model_not_ready"),
    FailureKind.CONFLICT: (INVALID_REQUEST, "conflict"),
    FailureKind.OVERLOADED: ("rate_limit_error", "overloaded"),
    FailureKind.DEADLINE: (SERVER_ERROR, "timeout"),
    FailureKind.UNAVAILABLE: (SERVER_ERROR, "engine_unavailable"),
    FailureKind.UNSUPPORTED: (INVALID_REQUEST, "unsupported"),
    FailureKind.CANCELLED: (SERVER_ERROR, "cancelled"),
    FailureKind.INTERNAL: (SERVER_ERROR, None),
}
"""Kind to (type, code)."""


class RefusedError(InvalidError):
    """The request is wrong (400); ``param`` is the member, as a path from the body down (``messages[0].role``)."""

    def __init__(self, message: str, param: str | None = None, code: str | None = None) -> None:
        super().__init__(message)
        self.param = param
        self.code = code


class ModelNotFoundError(FailureError):
    """404: the body's ``model`` is not served here."""

    def __init__(self, name: str, known: str) -> None:
        super().__init__(FailureKind.NOT_FOUND, f"The model {name!r} does not exist; served here: {known}.")


def body(error: FailureError) -> dict[str, Any]:
    """The error object of ``error``, as a whole body or as one event of a stream."""
    kind, code = TYPES[error.kind]
    param = None
    if isinstance(error, RefusedError):
        param, code = error.param, error.code
    elif isinstance(error, ModelNotFoundError):
        param = "model"
    return {"error": {"message": str(error), "type": kind, "param": param, "code": code}}


def render(error: FailureError) -> Problem:
    """Status, body and Retry-After of ``error``."""
    status = error.meaning.http_status
    if error.kind is FailureKind.UNSUPPORTED:  # a task that this model does not do: kserve.md 5.5 answers 400
        status = 400
    retry_s = error.retry_after_s
    if retry_s is None and status == 503:
        retry_s = 1.0
    return Problem(status, body(error), None if retry_s is None else max(1, round(retry_s)))
