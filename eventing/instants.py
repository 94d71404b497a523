"""Unix seconds as RFC 3339 in UTC, for event attributes."""

from __future__ import annotations

from datetime import UTC, datetime


def rfc3339(at: float) -> str:
    """``1767225600.5`` is ``2026-01-01T00:00:00.500000Z``."""
    return datetime.fromtimestamp(at, UTC).strftime("%Y-%m-%dT%H:%M:%S.%fZ")
