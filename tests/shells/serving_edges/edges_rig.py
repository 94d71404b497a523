"""A real model server on loopback in the test's own loop, and models that misbehave on request: what tests here import."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from typing import Any

import aiohttp
import numpy as np

from wakeful.core.errors import InvalidError
from wakeful.serving import Context, InferRequest, InferResponse, Model, Tensor
from wakeful.serving.server import Server
from wakeful.serving.settings import Settings


class Echo(Model):
    """Answers what it was sent; V2 inputs become outputs. ``{"do": VERB}`` makes it misbehave."""

    def __init__(self, name: str) -> None:
        super().__init__(name)
        self.gate = threading.Event()
        self.running = 0

    def predict(self, payload: Any, context: Context) -> Any:
        if isinstance(payload, InferRequest):
            outputs = [Tensor(t.name, t.shape, t.datatype, t.data) for t in payload.inputs]
            return InferResponse(outputs)
        match payload.get("do") if isinstance(payload, dict) else None:
            case "wait":
                self.running += 1
                self.gate.wait(20)
            case "raise":
                raise KeyError("secret payload")
            case "invalid":
                raise InvalidError("the third row is upside down")
            case "text":
                return "plain"
            case "object":
                return {"x": object()}
            case "nan":
                return {"predictions": [float("nan"), np.float32(1.5), np.array([1, 2]), "x"]}
            case "stop":
                raise StopIteration
            case "headers":
                context.response_headers["X-Model"] = context["X-Asked"]
        return {"predictions": payload if isinstance(payload, dict) else len(payload)}


class Staged(Model):
    """Every stage overridden, sync and async mixed, with and without context."""

    def preprocess(self, payload: Any) -> Any:  # type: ignore[override]
        return [*payload["instances"], "pre"]

    async def predict(self, payload: Any, context: Context) -> Any:
        await asyncio.sleep(0)
        return [*payload, "predict"]

    def postprocess(self, result: Any, context: Context) -> Any:
        return {"predictions": [*result, "post"]}

    def explain(self, payload: Any, context: Context) -> Any:
        return [*payload, "explain"]


class Stream(Model):
    async def predict(self, payload: Any, context: Context) -> Any:
        async def parts() -> AsyncIterator[str]:
            yield "one "
            yield "two"

        return parts()


class Sleepy(Model):
    async def predict(self, payload: Any, context: Context) -> Any:
        await asyncio.sleep(30)


class Client:
    """A server and a session to it."""

    def __init__(self, server: Server, session: aiohttp.ClientSession) -> None:
        self.server = server
        self.session = session

    async def ask(self, method: str, path: str, **options: Any) -> tuple[int, Any, aiohttp.ClientResponse]:
        async with self.session.request(method, path, **options) as response:
            raw = await response.read()
            is_json = response.content_type == "application/json" and raw
            return response.status, (await response.json() if is_json else raw), response


Start = Callable[..., Awaitable[Client]]


@asynccontextmanager
async def running(models: list[Model], **options: Any) -> AsyncIterator[Client]:
    settings = Settings(
        http_port=0, http_address="127.0.0.1", **{"drain_s": 2.0, "drain_quiet_s": 0.0, **options}
    )
    server = Server(models, settings, {})
    await server.load()
    await server.listen()
    base = f"http://127.0.0.1:{server.port}"
    async with aiohttp.ClientSession(base, timeout=aiohttp.ClientTimeout(total=15)) as session:
        try:
            yield Client(server, session)
        finally:
            for model in models:
                if isinstance(model, Echo):
                    model.gate.set()
            await server.drain()
