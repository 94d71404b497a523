"""KServe's exceptions as failures of Wakeful: raised by users' models, answered with the status KServe gives them.

Invariant: each is a ``FailureError`` (``ModelMissingError``: a ``LoadError``), so edges and metrics know it.
"""

from __future__ import annotations

from typing import Any

from wakeful.core.errors import FailureError, FailureKind, InvalidError
from wakeful.serving.model import LoadError


class InvalidInput(InvalidError):
    """The request is wrong: 400."""

    def __init__(self, reason: str) -> None:
        super().__init__(str(reason))
        self.reason = reason


class InferenceError(FailureError):
    """The model failed: 500."""

    def __init__(self, reason: str, status: Any = None, debug_details: Any = None) -> None:
        super().__init__(FailureKind.INTERNAL, str(reason))
        self.reason = reason
        self.status = status
        self.debug_details = debug_details


class ModelMissingError(LoadError):
    """There is no model at a path; raised by ``load``."""

    def __init__(self, path: str) -> None:
        super().__init__(f"no model at {path}")
        self.path = path


class ModelNotFound(FailureError):
    """No model of that name: 404."""

    def __init__(self, model_name: str | None = None) -> None:
        super().__init__(FailureKind.NOT_FOUND, f"Model with name {model_name} does not exist.")


class ModelNotReady(FailureError):
    """The model cannot answer yet: 503."""

    def __init__(self, model_name: str, detail: str | None = None) -> None:
        super().__init__(
            FailureKind.NOT_READY, f"Model with name {model_name} is not ready. {detail or ''}".rstrip()
        )


class UnsupportedProtocol(FailureError):
    """A protocol nobody here speaks: 501."""

    def __init__(self, protocol_version: str | None = None) -> None:
        super().__init__(FailureKind.UNSUPPORTED, f"Unsupported protocol {protocol_version}.")
