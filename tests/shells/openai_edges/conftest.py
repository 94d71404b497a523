"""A real model server on loopback with a tiny engine, and the official ``openai`` client to it."""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from typing import Any

import aiohttp
import openai
import pytest
from tiny_engine_rig import TinyModel

from wakeful.serving import Model
from wakeful.serving.server import Server
from wakeful.serving.settings import Settings


@dataclass
class Place:
    """One server, the model on it, and two clients."""

    server: Server
    model: TinyModel
    client: openai.AsyncOpenAI
    session: aiohttp.ClientSession


Start = Callable[..., Awaitable[Place]]


@asynccontextmanager
async def running(models: list[Model], prefix: str, **options: Any) -> AsyncIterator[Place]:
    settings = Settings(http_port=0, http_address="127.0.0.1", drain_s=2.0, drain_quiet_s=0.0, **options)
    server = Server(models, settings, {})
    await server.load()
    await server.listen()
    base = f"http://127.0.0.1:{server.port}"
    client = openai.AsyncOpenAI(base_url=base + prefix, api_key="none", max_retries=0, timeout=15)
    async with aiohttp.ClientSession(base, timeout=aiohttp.ClientTimeout(total=15)) as session:
        try:
            model = models[0]
            assert isinstance(model, TinyModel)
            yield Place(server, model, client, session)
        finally:
            await client.close()
            await server.drain()


@pytest.fixture
async def start() -> AsyncIterator[Start]:
    async with AsyncExitStack() as stack:

        async def begin(*models: Model, prefix: str = "/openai/v1", **options: Any) -> Place:
            return await stack.enter_async_context(
                running(list(models) or [TinyModel("tiny")], prefix, **options)
            )

        yield begin
