"""Why a download failed, as a closed set; the text is the sentence that ends up in the pod's termination message.

Raised by stores, transfer, archive and place; ``__main__`` prints it. Invariant: a text never holds a credential, a
query string or a user-info part of a URL.
"""

from __future__ import annotations

from enum import StrEnum

from wakeful.core.errors import FailureKind


class Reason(StrEnum):
    """What went wrong with a source, a transfer or the destination."""

    INVALID = "invalid"
    UNSUPPORTED = "unsupported"
    NOT_FOUND = "not_found"
    AUTH_FAILED = "auth_failed"
    """The credentials are missing or wrong."""
    ACCESS_DENIED = "access_denied"
    """The credentials are known, and may not read this."""
    UNAVAILABLE = "unavailable"
    STALLED = "stalled"
    CHANGED = "changed"
    CHECKSUM = "checksum"
    TOO_LARGE = "too_large"
    NO_SPACE = "no_space"
    UNSAFE = "unsafe"
    """An archive member, a link or a redirect leads where it must not."""
    LOCAL = "local"
    """The destination cannot be written."""


RETRYABLE = frozenset({Reason.UNAVAILABLE, Reason.STALLED, Reason.CHANGED, Reason.CHECKSUM})

KIND = {
    Reason.INVALID: FailureKind.INVALID,
    Reason.UNSUPPORTED: FailureKind.UNSUPPORTED,
    Reason.NOT_FOUND: FailureKind.NOT_FOUND,
    Reason.AUTH_FAILED: FailureKind.INVALID,
    Reason.ACCESS_DENIED: FailureKind.INVALID,
    Reason.UNAVAILABLE: FailureKind.UNAVAILABLE,
    Reason.STALLED: FailureKind.DEADLINE,
    Reason.CHANGED: FailureKind.CONFLICT,
    Reason.CHECKSUM: FailureKind.UNAVAILABLE,
    Reason.TOO_LARGE: FailureKind.INVALID,
    Reason.NO_SPACE: FailureKind.OVERLOADED,
    Reason.UNSAFE: FailureKind.INVALID,
    Reason.LOCAL: FailureKind.INTERNAL,
}


class StorageError(Exception):
    """A failure with its reason; ``str()`` is one sentence."""

    def __init__(self, reason: Reason, message: str) -> None:
        super().__init__(message)
        self.reason = reason

    @property
    def is_retryable(self) -> bool:
        """Whether the same step may work a moment later."""
        return self.reason in RETRYABLE
