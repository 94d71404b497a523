"""Error bodies as KServe's clients expect them, and JSON in and out.

Edges of the model server call ``render``; codecs call ``parse_json``. Bodies (kserve.md section 5.1): ``{"error":
TEXT}`` for everything; schema mismatches on V2 (422) have KServe's ``"detail": [{"loc", "msg", "type"}]`` beside it, unknown
paths ``{"detail": "Not Found"}``. Left out: HTTP itself.

Invariant: no body holds a traceback, a file path of the server or a part of another request.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import orjson

from wakeful.core.errors import FailureError, FailureKind, InvalidError, UpstreamError

SHOWN_CHARACTERS = 80


@dataclass(frozen=True, slots=True)
class SchemaIssue:
    """One place of a V2 body that does not fit the schema: path from the body down, sentence, machine type."""

    loc: tuple[str | int, ...]
    msg: str
    type: str

    def as_json(self) -> dict[str, Any]:
        return {"loc": list(self.loc), "msg": self.msg, "type": self.type}


class SchemaError(FailureError):
    """A V2 body whose members are missing or of the wrong type: 422, every place listed."""

    def __init__(self, issues: Sequence[SchemaIssue]) -> None:
        first = issues[0]
        where = ".".join(str(part) for part in first.loc)
        more = f" (and {len(issues) - 1} more)" if len(issues) > 1 else ""
        super().__init__(FailureKind.INVALID, f"{where}: {first.msg}{more}")
        self.issues = tuple(issues)


@dataclass(frozen=True, slots=True)
class Problem:
    """What an HTTP edge answers: status, JSON body, and Retry-After in whole seconds where given."""

    status: int
    body: dict[str, Any]
    retry_after_s: int | None = None


def render(error: FailureError) -> Problem:
    """The answer for ``error``: status by kind, 422 for ``SchemaError``, the other server's for ``UpstreamError``."""
    if isinstance(error, SchemaError):
        return Problem(422, {"detail": [issue.as_json() for issue in error.issues], "error": str(error)})
    status = error.meaning.http_status
    if isinstance(error, UpstreamError):
        status = error.status if error.status >= 400 else 502  # its redirect is not for our caller
    retry = error.retry_after_s
    if retry is None and status == 503:
        retry = 1.0
    return Problem(status, {"error": str(error)}, None if retry is None else max(1, round(retry)))


def parse_json(body: bytes | memoryview, what: str) -> Any:
    """The value of a JSON text. Raises ``FailureError`` (invalid) with the place; ``NaN`` and infinities are refused.

    Nesting over 1,024 levels and numbers that no double holds are refused by the parser itself.
    """
    try:
        return orjson.loads(body)
    except orjson.JSONDecodeError as error:
        raise InvalidError(f"{what} is not valid JSON: {error}{_hint(error)}") from error
    except RecursionError as error:
        raise InvalidError(f"{what} is nested too deeply") from error


def _hint(error: orjson.JSONDecodeError) -> str:
    """What Python's own json module would have written there, if it is that."""
    if error.doc[error.pos : error.pos + 9].startswith(("NaN", "Infinity", "-Infinity")):
        return "; JSON has neither NaN nor Infinity: send null for a missing value"
    return ""


def shown(value: object) -> str:
    """``value`` as it may appear in an error text: one line, at most 80 characters."""
    text = repr(value)
    return text if len(text) <= SHOWN_CHARACTERS else text[: SHOWN_CHARACTERS - 3] + "..."


def type_name(value: object) -> str:
    """The JSON type of a parsed value, in words."""
    match value:
        case None:
            return "null"
        case bool():
            return "a boolean"
        case int() | float():
            return "a number"
        case str():
            return "a string"
        case list():
            return "an array"
        case dict():
            return "an object"
        case _:
            return type(value).__name__
