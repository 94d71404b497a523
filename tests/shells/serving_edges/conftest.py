"""Fixtures over ``edges_rig``: servers that end with their test."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack
from typing import Any

import pytest
import uvloop
from edges_rig import Client, Echo, Sleepy, Staged, Start, Stream, running

from wakeful.serving import Model


def pytest_asyncio_loop_factories(config: pytest.Config, item: pytest.Item) -> dict[str, Any]:
    """The loop that the product runs on; tests of the wire run on asyncio's own too."""
    both = {"uvloop": uvloop.new_event_loop, "asyncio": asyncio.new_event_loop}
    return both if "wire" in item.nodeid else {"uvloop": uvloop.new_event_loop}


@pytest.fixture
async def start() -> AsyncIterator[Start]:
    async with AsyncExitStack() as stack:

        async def begin(*models: Model, **options: Any) -> Client:
            return await stack.enter_async_context(running(list(models) or [Echo("m")], **options))

        yield begin


@pytest.fixture
def models() -> dict[str, type[Model]]:
    """The model classes, for tests that need several."""
    return {"echo": Echo, "staged": Staged, "stream": Stream, "sleepy": Sleepy}
