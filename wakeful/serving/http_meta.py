"""Answers that need no inference: lists, metadata, health, and the V2 repository verbs.

Called by ``http_edge``; returns JSON values or raises ``FailureError``. Source: kserve.md 5.2. The repository verbs
change what the server does for everybody, so they work only with ``--enable_repository``.

Invariant: every readiness answer is 503 from the moment the server drains.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Mapping, Sequence
from typing import Any

import wakeful
from wakeful.core.errors import FailureError, FailureKind
from wakeful.core.protocol import oip_repository
from wakeful.serving.http_routes import Kind, Route
from wakeful.serving.model import LoadError
from wakeful.serving.registry import Registry, State
from wakeful.serving.startup import Startup


class Meta:
    """Everything a client can ask about the server and its models."""

    def __init__(self, registry: Registry, startup: Startup, has_repository: bool) -> None:
        self._registry = registry
        self._startup = startup
        self._has_repository = has_repository
        self._changes: set[asyncio.Future[None]] = set()
        self.change_all: Callable[[str, str], Awaitable[None]] | None = None
        """Where this process is one of several workers: ``change`` in all of them."""

    async def answer(
        self, route: Route, asked: bytes | Mapping[str, Any] = b""
    ) -> dict[str, Any] | list[Any]:
        """The JSON value for a route that is not inference. Raises ``FailureError``.

        ``asked`` is what a repository verb was sent: a body, or the members that it would have.
        """
        match route.kind:
            case Kind.ALIVE:
                return {"status": "alive"}
            case Kind.V1_LIST | Kind.V2_LIST:
                return {"models": self._registry.names()}
            case Kind.V1_READY | Kind.V2_MODEL_READY:
                self._refuse_draining()
                name = self._registry.ready(route.model).model.name
                await self._follow_predictors([name])
                return {"name": name, "ready": True}
            case Kind.V2_SERVER:
                extensions = [
                    "binary_tensor_data",
                    "classification",
                    *(["model_repository_extension"] * self._has_repository),
                ]
                return {"name": "wakeful", "version": wakeful.__version__, "extensions": extensions}
            case Kind.V2_LIVE:
                return {"live": True}
            case Kind.V2_SERVER_READY:
                self._refuse_draining()
                if not self._registry.is_ready():
                    raise FailureError(
                        FailureKind.NOT_READY, "the server is not ready: a model is not loaded"
                    )
                await self._follow_predictors(self._registry.names())
                return {"ready": True}
            case Kind.V2_MODEL:
                return self._metadata(route.model)
            case Kind.V2_VERSION:
                raise FailureError(FailureKind.UNSUPPORTED, "Model versioning not supported yet.")
            case _:
                return await self._repository(route, asked)

    def _refuse_draining(self) -> None:
        if self._startup.is_draining:
            raise FailureError(FailureKind.NOT_READY, "the server is shutting down")

    async def _follow_predictors(self, names: Sequence[str]) -> None:
        """With ``--enable_predictor_health_check`` a transformer is as ready as its predictor."""
        if not self._registry.follows_predictor:
            return
        for name in names:
            predictor = self._registry.entry(name).model.predictor
            if predictor is not None and not await predictor.is_ready():
                raise FailureError(FailureKind.NOT_READY, f"the predictor of model {name} is not ready")

    def _metadata(self, name: str) -> dict[str, Any]:
        model = self._registry.ready(name).model
        return {
            "name": model.name,
            "versions": None,
            "platform": model.platform(),
            "inputs": [spec.as_json() for spec in model.inputs()],
            "outputs": [spec.as_json() for spec in model.outputs()],
        }

    def _index(self, asked: bytes | Mapping[str, Any]) -> list[Any]:
        given = oip_repository.members(asked, "ready") if isinstance(asked, bytes) else asked
        is_ready_only = oip_repository.is_ready_only(given)
        states = {name: self._registry.entry(name).state for name in self._registry.names()}
        return [
            {"name": name, "state": "READY" if state is State.READY else "UNAVAILABLE"}
            for name, state in states.items()
            if state is State.READY or not is_ready_only
        ]

    async def _repository(self, route: Route, asked: bytes | Mapping[str, Any]) -> dict[str, Any] | list[Any]:
        if route.kind is Kind.V2_INDEX:
            return self._index(asked)
        if not self._has_repository:
            raise FailureError(
                FailureKind.UNSUPPORTED,
                "loading and unloading by request is off: start with --enable_repository=true",
            )
        name = self._registry.entry(route.model).model.name
        verb = "load" if route.kind is Kind.V2_LOAD else "unload"
        given = oip_repository.members(asked, "parameters") if isinstance(asked, bytes) else asked
        oip_repository.check_parameters(verb, given.get("parameters"))
        change = (self.change_all or self.change)(verb, name)
        task = asyncio.ensure_future(change)  # once begun it ends, whether or not the caller waits
        self._changes.add(task)
        task.add_done_callback(self._changes.discard)
        try:
            await asyncio.shield(task)
        except LoadError as error:
            raise FailureError(FailureKind.UNAVAILABLE, str(error)) from error
        return {"name": name, verb: True}

    async def change(self, verb: str, name: str) -> None:
        """Load or unload a model while requests are served, in this process. Raises ``LoadError``."""
        registry = self._registry
        if verb == "load":
            await registry.load(name, in_thread=True, drain_s=registry.drain_s)
        else:
            await registry.unload(name, drain_s=registry.drain_s)
