"""The model server: base class, registry, data plane, edges. ``from wakeful.serving import Model, serve``.

Names load lazily (PEP 562), so that importing one module of this package does not import the others.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from wakeful.core.errors import FailureError, FailureKind, InvalidError
    from wakeful.core.protocol.arrays import from_array, to_array
    from wakeful.core.protocol.oip import InferRequest, InferResponse, Tensor
    from wakeful.serving.model import Context, LoadError, Model, TensorSpec
    from wakeful.serving.parts import Joining
    from wakeful.serving.server import serve

_HOME = {
    "Context": "wakeful.serving.model",
    "FailureError": "wakeful.core.errors",
    "FailureKind": "wakeful.core.errors",
    "InferRequest": "wakeful.core.protocol.oip",
    "InferResponse": "wakeful.core.protocol.oip",
    "InvalidError": "wakeful.core.errors",
    "Joining": "wakeful.serving.parts",
    "LoadError": "wakeful.serving.model",
    "Model": "wakeful.serving.model",
    "Tensor": "wakeful.core.protocol.oip",
    "TensorSpec": "wakeful.serving.model",
    "from_array": "wakeful.core.protocol.arrays",
    "serve": "wakeful.serving.server",
    "to_array": "wakeful.core.protocol.arrays",
}

__all__ = [
    "Context",
    "FailureError",
    "FailureKind",
    "InferRequest",
    "InferResponse",
    "InvalidError",
    "Joining",
    "LoadError",
    "Model",
    "Tensor",
    "TensorSpec",
    "from_array",
    "serve",
    "to_array",
]


def __getattr__(name: str) -> Any:
    if name in _HOME:
        return getattr(importlib.import_module(_HOME[name]), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
