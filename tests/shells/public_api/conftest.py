"""Models as users write them, served on loopback in the test's own loop; and whole scripts as processes."""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AsyncExitStack

import pytest

from wakeful import Model
from wakeful.serving.server import Server
from wakeful.serving.settings import Settings

Start = Callable[..., Awaitable[str]]


@pytest.fixture
async def start() -> AsyncIterator[Start]:
    """``await start(model, ..., **settings)``: the URL of a server of these models."""
    async with AsyncExitStack() as stack:

        async def begin(*models: Model, **options: object) -> str:
            settings = Settings(
                **{
                    "http_port": 0,
                    "http_address": "127.0.0.1",
                    "drain_s": 2.0,
                    "drain_quiet_s": 0.0,
                    **options,
                }  # type: ignore[arg-type]
            )
            server = Server(models, settings, {})
            await server.load()
            await server.listen()
            stack.push_async_callback(server.drain)
            return f"http://127.0.0.1:{server.port}"

        yield begin
