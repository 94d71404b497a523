"""Wakeful: event-driven, serverless inference. This is the one package a user's own code imports.

``from wakeful import Model, serve`` loads the model server; ``import wakeful`` alone loads nothing. The names are
documented in docs/reference/python-api.md; KServe's own names are in ``wakeful.kserve``.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from wakeful.client import AsyncInferenceClient, InferenceClient, UpstreamError
    from wakeful.serving import (
        Context,
        FailureError,
        FailureKind,
        InferRequest,
        InferResponse,
        InvalidError,
        Joining,
        LoadError,
        Model,
        Tensor,
        TensorSpec,
        from_array,
        serve,
        to_array,
    )

__version__ = "0.1.0"
_CLIENT = frozenset({"AsyncInferenceClient", "InferenceClient", "UpstreamError"})
__all__ = [
    "AsyncInferenceClient",
    "Context",
    "FailureError",
    "FailureKind",
    "InferRequest",
    "InferResponse",
    "InferenceClient",
    "InvalidError",
    "Joining",
    "LoadError",
    "Model",
    "Tensor",
    "TensorSpec",
    "UpstreamError",
    "__version__",
    "from_array",
    "serve",
    "to_array",
]


def __getattr__(name: str) -> Any:
    if name in _CLIENT:
        return getattr(importlib.import_module("wakeful.client"), name)
    if name in __all__:
        return getattr(importlib.import_module("wakeful.serving"), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
