"""Whether what a user's script serves can be served: said at the start, in one sentence, instead of at the first request.

Called by ``registry`` before anything is loaded. Left out: whether a model answers well, which its ``load`` and its
callers find out.

Invariant: what passes has a name, known ``takes`` and ``batching``, and methods that take a payload and perhaps a context.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable, Sequence
from typing import Any

from wakeful.serving.model import LoadError, Model
from wakeful.serving.parts import Joining

TAKES = ("either", "rows", "tensors")
POSITIONAL = (inspect.Parameter.POSITIONAL_ONLY, inspect.Parameter.POSITIONAL_OR_KEYWORD)


def checked(models: Any) -> Sequence[Model]:
    """``models`` if each of them is a model with a name. Raises ``LoadError``."""
    if isinstance(models, Model) or not isinstance(models, Sequence):
        raise LoadError(f"serve takes a list of models, such as serve([model]), not {_kind(models)}")
    if not models:
        raise LoadError("there is no model to serve: the list is empty")
    for model in models:
        if isinstance(model, type):
            raise LoadError(
                f"{model.__name__} is a class: make a model of it, such as {model.__name__}('name')"
            )
        if not isinstance(model, Model):
            raise LoadError(f"{_kind(model)} is no wakeful.Model: derive its class from that")
        name = getattr(model, "name", None)
        if not isinstance(name, str) or not name:
            raise LoadError(
                f"{_kind(model)} has no name: its __init__ has to call super().__init__(name), a text that is not empty"
            )
        _check(model)
    return models


def takes_context(method: Callable[..., Any], what: str) -> bool:
    """Whether ``method`` takes the context beside the payload. Raises ``LoadError`` where it takes neither, or more."""
    signature = inspect.signature(method)
    parameters = signature.parameters.values()
    places = [parameter for parameter in parameters if parameter.kind in POSITIONAL]
    is_open = any(parameter.kind is parameter.VAR_POSITIONAL for parameter in parameters)
    needed = [p for p in places if p.default is p.empty]
    unnamed = [p for p in parameters if p.kind is p.KEYWORD_ONLY and p.default is p.empty]
    if len(needed) > 2 or unnamed or not (places or is_open):
        raise LoadError(f"{what}{signature} cannot be called with a payload, or with a payload and a context")
    return is_open or len(places) >= 2


def _check(model: Model) -> None:
    if model.takes not in TAKES:
        raise LoadError(f"model {model.name}: takes is {model.takes!r}: one of {', '.join(TAKES)}")
    batching = model.batching
    if batching is None or isinstance(batching, Joining):
        return
    if not all(callable(getattr(batching, name, None)) for name in ("part", "answer")):
        raise LoadError(
            f"model {model.name}: batching is {_kind(batching)}: None, a Joining, or an object with part and answer"
        )


def _kind(value: object) -> str:
    return f"an object of {type(value).__qualname__}"
