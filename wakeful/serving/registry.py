"""The models of one server by name, with the state of each: loading, ready, failed or unloaded.

``server`` registers and loads at start; the V2 repository routes load and unload later; the data plane asks for
``ready``. Left out: where models come from (the runtime's business). Calls are prepared once, at registration: which
stages are overridden, which are ``async``, which take a context.

Invariant: ``ready`` returns a model only while it is loaded; ``names`` keeps the order of registration.
"""

from __future__ import annotations

import asyncio
import inspect
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Any

from wakeful.core.errors import FailureError, FailureKind
from wakeful.core.protocol.problem import SHOWN_CHARACTERS
from wakeful.serving.model import LoadError, Model

STAGES = ("preprocess", "predict", "explain", "postprocess")


class State(StrEnum):
    """Where a model is in its life."""

    UNLOADED = "unloaded"
    LOADING = "loading"
    READY = "ready"
    FAILED = "failed"


@dataclass(frozen=True, slots=True)
class Stage:
    """One step of a call: what to call with (payload, context), and where."""

    name: str
    call: Callable[[Any, Any], Any]
    is_async: bool


@dataclass(slots=True)
class Entry:
    """A registered model."""

    model: Model
    predict: tuple[Stage, ...]
    explain: tuple[Stage, ...]
    state: State = State.UNLOADED
    cause: str = ""
    loads: int = 0
    """How often it was loaded: another model may be behind the name since."""


class Registry:
    """Name to model; event loop only."""

    def __init__(self, models: Sequence[Model]) -> None:
        self._entries: dict[str, Entry] = {}
        self.follows_predictor = False
        """Whether readiness asks the predictors too."""
        for model in models:
            if model.name in self._entries:
                raise LoadError(f"two models are called {model.name}: give each its own name")
            stages = {name: _stage(model, name) for name in STAGES}
            if _is_own(model, "stream"):
                stages["predict"] = _streaming(stages["predict"], _stage(model, "stream"))
            before = [stages["preprocess"]] if _is_own(model, "preprocess") else []
            after = [stages["postprocess"]] if _is_own(model, "postprocess") else []
            self._entries[model.name] = Entry(
                model,
                predict=(*before, stages["predict"], *after),
                explain=(*before, stages["explain"], *after),
            )

    def names(self) -> list[str]:
        return list(self._entries)

    def only(self) -> str | None:
        """The name of the single model, or None where there are several."""
        return next(iter(self._entries)) if len(self._entries) == 1 else None

    def entry(self, name: str) -> Entry:
        """The model called ``name``. Raises ``FailureError`` (not found)."""
        entry = self._entries.get(name)
        if entry is None:
            raise FailureError(
                FailureKind.NOT_FOUND, f"Model with name {name[:SHOWN_CHARACTERS]} does not exist."
            )
        return entry

    def ready(self, name: str) -> Entry:
        """The model called ``name`` if it can answer. Raises ``FailureError`` (not found, not ready)."""
        entry = self.entry(name)
        if entry.state is not State.READY:
            because = f" Loading failed: {entry.cause}" if entry.state is State.FAILED else ""
            raise FailureError(FailureKind.NOT_READY, f"Model with name {name} is not ready.{because}")
        return entry

    def is_ready(self) -> bool:
        """Whether every model that was not unloaded on purpose can answer, and there is one."""
        states = {entry.state for entry in self._entries.values()} - {State.UNLOADED}
        return states == {State.READY}

    async def load(self, name: str, in_thread: bool = False) -> None:
        """Load a model. Raises ``LoadError`` with one sentence, whatever the model raised.

        At start-up on the loop's own thread, which has nothing else to do; ``in_thread`` while requests are served.
        """
        entry = self.entry(name)
        if entry.state is State.LOADING:
            raise LoadError(f"model {name} is being loaded already")
        entry.state, entry.cause = State.LOADING, ""
        try:
            result = await asyncio.to_thread(entry.model.load) if in_thread else entry.model.load()
            if inspect.isawaitable(result):
                result = await result
            if result is False:
                raise LoadError(f"model {name}: load() returned False")
        except (Exception, asyncio.CancelledError) as error:
            entry.state, entry.cause = State.FAILED, _sentence(name, error)
            if isinstance(error, LoadError | asyncio.CancelledError):
                raise
            raise LoadError(entry.cause) from error
        entry.state = State.READY
        entry.loads += 1

    async def unload(self, name: str) -> None:
        """Take a model out of service, then let it free what it holds."""
        entry = self.entry(name)
        entry.state = State.UNLOADED
        result = entry.model.unload()
        if inspect.isawaitable(result):
            await result


def _sentence(name: str, error: BaseException) -> str:
    if isinstance(error, LoadError):
        return str(error)
    text = " ".join(str(error).split())[:500]
    return f"model {name} failed to load: {type(error).__name__}: {text}"


def _is_own(model: Model, name: str) -> bool:
    """Whether ``model`` overrides the method ``name`` of the base class."""
    return getattr(type(model), name) is not getattr(Model, name) or name in vars(model)


def _stage(model: Model, name: str) -> Stage:
    method = getattr(model, name)
    parameters = [
        parameter
        for parameter in inspect.signature(method).parameters.values()
        if parameter.kind
        in (parameter.POSITIONAL_ONLY, parameter.POSITIONAL_OR_KEYWORD, parameter.VAR_POSITIONAL)
    ]
    takes_context = len(parameters) >= 2 or any(p.kind is p.VAR_POSITIONAL for p in parameters)
    call = method if takes_context else lambda payload, _context: method(payload)
    return Stage(name, call, inspect.iscoroutinefunction(method))


def _streaming(predict: Stage, stream: Stage) -> Stage:
    """The predict stage of a model that can also answer in parts, for callers that ask for it."""
    if not predict.is_async:
        return Stage(
            predict.name,
            lambda payload, context: (stream if context.wants_stream(payload) else predict).call(
                payload, context
            ),
            is_async=False,
        )

    async def call(payload: Any, context: Any) -> Any:
        if context.wants_stream(payload):
            return stream.call(payload, context)  # a generator function: calling it runs nothing yet
        return await predict.call(payload, context)

    return Stage(predict.name, call, is_async=True)
