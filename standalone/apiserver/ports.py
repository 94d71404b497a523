"""What the API server asks of the rest of the platform: in-process admission of kinds that have no webhook.

A ``Reviewer`` is a synchronous callable for one (group, kind). Knative's own webhooks default and validate Services,
Brokers and so on in a cluster; on one machine ``standalone.knative.admission.REVIEWERS`` does, without a network
hop. ``__main__`` composes them. They run as the last mutating step, after the schema's defaults and before
validation, for create and update of the main resource (not for subresources).

Invariant: a reviewer changes only ``review.obj``, does no I/O, and refuses by raising ``Denied``.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

Obj = dict[str, Any]


class Denied(Exception):
    """The object is refused. With ``path`` (``spec.template.spec``) it is a 422 about a field, else a 403."""

    def __init__(self, message: str, path: str = "", reason: str = "FieldValueInvalid") -> None:
        super().__init__(message)
        self.message = message
        self.path = path
        self.reason = reason


@dataclass(slots=True)
class Review:
    """One write under admission."""

    operation: str
    """``CREATE`` or ``UPDATE``."""
    obj: Obj
    """The new object; change it in place to default it."""
    old: Obj | None
    """The present object of an update. Read-only."""
    username: str
    is_dry_run: bool = False
    warnings: list[str] = field(default_factory=list)
    """Append sentences; the client sees them as ``Warning`` headers."""


Reviewer = Callable[[Review], None]
Reviewers = Mapping[tuple[str, str], Reviewer]
"""By (group, kind), any version."""
