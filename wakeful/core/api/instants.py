"""Instants as the Kubernetes API and CloudEvents write them: RFC 3339 in UTC, whole seconds or microseconds.

Called wherever a timestamp is rendered or read. Two forms: ``metav1.Time`` (``2026-01-01T00:00:00Z``) and
``metav1.MicroTime`` (``2026-01-01T00:00:00.500000Z``, also that of event attributes). Left out: what time it is.

Invariant: ``parse(render(x)) == x`` for whole seconds; a text that is no instant is the epoch, never an error.
"""

from __future__ import annotations

from datetime import UTC, datetime

EPOCH = datetime.fromtimestamp(0, UTC)


def render(at: datetime) -> str:
    """``metav1.Time``."""
    return at.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


def render_micro(at: datetime) -> str:
    """``metav1.MicroTime``."""
    return at.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%S.%fZ")


def of_unix(at: float) -> datetime:
    """The instant ``at`` Unix seconds."""
    return datetime.fromtimestamp(at, UTC)


def parse(text: object) -> datetime:
    """Either form, or any other RFC 3339; the epoch for what is none."""
    try:
        found = datetime.fromisoformat(str(text or "").replace("Z", "+00:00"))
    except ValueError:
        return EPOCH
    return found if found.tzinfo is not None else found.replace(tzinfo=UTC)
