"""The models of one server by name, with the state of each: loading, ready, failed or unloaded.

``server`` registers and loads at start; the V2 repository routes load and unload later; the data plane asks for
``ready``. Left out: where models come from (the runtime's business). Calls are prepared once, at registration: which
stages are overridden, which are ``async``, which take a context.

Invariant: ``ready`` returns a model only while it is loaded; ``names`` keeps the order of registration; a loaded model
is loaded anew and unloaded (within the drain time) only when no call is with it.
"""

from __future__ import annotations

import asyncio
import inspect
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any

from wakeful.core.errors import FailureError, FailureKind
from wakeful.core.protocol.problem import SHOWN_CHARACTERS
from wakeful.serving import model_check
from wakeful.serving.gate import Gate
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
    gate: Gate = field(default_factory=Gate)
    """Closed while it is loaded anew, and when it was unloaded."""
    change: str = ""
    """What is being done to it: loading or unloading."""
    loads: int = 0
    """How often it was loaded: another model may be behind the name since."""


class Registry:
    """Name to model; event loop only."""

    def __init__(self, models: Sequence[Model]) -> None:
        self._entries: dict[str, Entry] = {}
        self.follows_predictor = False
        """Whether readiness asks the predictors too."""
        self.drain_s = 20.0
        """How long loading anew and unloading by request wait for the calls that a model has."""
        for model in model_check.checked(models):
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

    async def load(self, name: str, in_thread: bool = False, drain_s: float = 0.0) -> None:
        """Load a model. Raises ``LoadError`` with one sentence, whatever the model raised.

        At start-up on the loop's own thread, which has nothing else to do; ``in_thread`` while requests are served. One
        that is loaded already answers what it has, at most ``drain_s``; what comes meanwhile waits for the new one. Where
        that cannot be loaded, the old one answers on.
        """
        entry = self.entry(name)
        _begin(entry, "loading")
        try:
            if entry.state is State.READY:
                await _reload(entry, in_thread, drain_s)
            else:
                entry.state, entry.cause = State.LOADING, ""
                await _load(entry, in_thread)
        except (LoadError, asyncio.CancelledError) as error:
            if entry.state is not State.READY:
                entry.state, entry.cause = State.FAILED, _sentence(name, error)
            raise
        finally:
            entry.change = ""
        entry.state = State.READY
        entry.loads += 1
        if entry.gate.is_closed:
            entry.gate.open()

    async def unload(self, name: str, drain_s: float = 0.0) -> None:
        """Take a model out of service, let it answer what it has, at most ``drain_s``, then free what it holds.

        Nothing for one that is unloaded. Raises ``LoadError`` while it is being loaded or unloaded, and where the model's own
        ``unload`` fails: it is out of service all the same.
        """
        entry = self.entry(name)
        if entry.state is State.UNLOADED and not entry.change:
            return
        if drain_s:
            _begin(entry, "unloading")
        entry.state = State.UNLOADED
        entry.gate.close()
        try:
            if drain_s:
                await entry.gate.empty(drain_s)
            result = entry.model.unload()
            if inspect.isawaitable(result):
                await result
        except (Exception, SystemExit) as error:
            raise LoadError(f"model {name} failed to unload: {_said(error)}") from error
        finally:
            entry.change = ""


def _begin(entry: Entry, change: str) -> None:
    if entry.change:
        raise LoadError(f"model {entry.model.name} is {entry.change} already: try again later")
    entry.change = change


async def _load(entry: Entry, in_thread: bool) -> None:
    """Have the model load. Raises ``LoadError``."""
    name = entry.model.name
    try:
        result = await asyncio.to_thread(entry.model.load) if in_thread else entry.model.load()
        if inspect.isawaitable(result):
            result = await result
        if result is False:
            raise LoadError(f"model {name}: load() returned False")
    except LoadError:
        raise
    except (Exception, SystemExit) as error:  # code in a model's file may exit, even with status 0
        raise LoadError(_sentence(name, error)) from error


async def _reload(entry: Entry, in_thread: bool, drain_s: float) -> None:
    """Load a model anew between two calls of it. Raises ``LoadError``, the model as it was."""
    name, gate, before = entry.model.name, entry.gate, dict(vars(entry.model))
    gate.close()
    try:
        if not await gate.empty(drain_s):
            raise LoadError(
                f"model {name} still answers {gate.busy} requests after {drain_s:g} s: try again later"
            )
        await _load(entry, in_thread)
    except (LoadError, asyncio.CancelledError) as error:
        vars(entry.model).clear()
        vars(entry.model).update(before)
        gate.open()
        if isinstance(error, LoadError):
            raise LoadError(f"{error}; the model that was loaded before answers on") from error
        raise


def _sentence(name: str, error: BaseException) -> str:
    if isinstance(error, LoadError):
        return str(error)
    return f"model {name} failed to load: {_said(error)}"


def _said(error: BaseException) -> str:
    text = " ".join(str(error).split())[:500]
    return f"{type(error).__name__}: {text}" if text else type(error).__name__


def _is_own(model: Model, name: str) -> bool:
    """Whether ``model`` overrides the method ``name`` of the base class."""
    return getattr(type(model), name) is not getattr(Model, name) or name in vars(model)


def _stage(model: Model, name: str) -> Stage:
    method = getattr(model, name)
    takes_context = model_check.takes_context(method, f"model {model.name}: {name}")
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
