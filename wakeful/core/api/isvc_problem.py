"""One thing that is wrong with an object a user gave us: where, what, what to do.

Parsers and validators of this package return lists of ``Problem``; webhooks turn them into denials or warnings, the
controller into conditions. Invariant: ``str(problem)`` is one sentence that names the path.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from typing import Any

Obj = dict[str, Any]
"""A Kubernetes object, or a part of one, as its JSON."""


class ProblemReason(StrEnum):
    """Why a value is refused, in the words of Kubernetes' own field errors."""

    REQUIRED = "FieldValueRequired"
    INVALID = "FieldValueInvalid"
    NOT_SUPPORTED = "FieldValueNotSupported"
    DUPLICATE = "FieldValueDuplicate"
    FORBIDDEN = "FieldValueForbidden"


@dataclass(frozen=True, slots=True)
class Problem:
    """``path`` is dotted JSON (``spec.predictor.minReplicas``); ``message`` says what is wrong and what to do."""

    path: str
    message: str
    reason: ProblemReason = ProblemReason.INVALID

    def __str__(self) -> str:
        return f"{self.path}: {self.message}"


def mapping(value: Any) -> Obj:
    """``value`` if it is a mapping, else an empty one: the schema reports wrong types, nobody here should crash."""
    return value if isinstance(value, dict) else {}


def sequence(value: Any) -> list[Any]:
    """``value`` if it is a list, else an empty one."""
    return value if isinstance(value, list) else []


def mappings(value: Any) -> list[Obj]:
    """The mappings in the list ``value``; anything else is left out."""
    return [item for item in sequence(value) if isinstance(item, dict)]


def text(value: Any) -> str:
    """``value`` if it is a string, else the empty string."""
    return value if isinstance(value, str) else ""


def integer(value: Any) -> int | None:
    """``value`` if it is an integer (not a boolean), else None."""
    return value if isinstance(value, int) and not isinstance(value, bool) else None
