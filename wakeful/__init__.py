"""Wakeful: event-driven, serverless inference. This is the one package a user's own code imports.

``from wakeful import Model, serve`` loads the model server; ``import wakeful`` alone loads nothing.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from wakeful.serving import Model, serve

__version__ = "0.1.0"
__all__ = ["Model", "__version__", "serve"]


def __getattr__(name: str) -> Any:
    if name in ("Model", "serve"):
        return getattr(importlib.import_module("wakeful.serving"), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
