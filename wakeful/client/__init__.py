"""Clients of inference servers: ``from wakeful.client import InferenceClient, AsyncInferenceClient``.

Names load lazily, so that a module of this package (``targets``) can be imported without aiohttp and numpy.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from wakeful.client.answers import Answer
    from wakeful.client.asynchronous import AsyncInferenceClient
    from wakeful.client.blocking import InferenceClient
    from wakeful.core.errors import FailureError, FailureKind, UpstreamError

_HOME = {
    "Answer": "wakeful.client.answers",
    "AsyncInferenceClient": "wakeful.client.asynchronous",
    "FailureError": "wakeful.core.errors",
    "FailureKind": "wakeful.core.errors",
    "InferenceClient": "wakeful.client.blocking",
    "UpstreamError": "wakeful.core.errors",
}

__all__ = [
    "Answer",
    "AsyncInferenceClient",
    "FailureError",
    "FailureKind",
    "InferenceClient",
    "UpstreamError",
]


def __getattr__(name: str) -> Any:
    if name in _HOME:
        return getattr(importlib.import_module(_HOME[name]), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
