"""A gateway in this process, on a real port, fed with objects by the test; on uvloop, as in production."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Mapping
from dataclasses import replace

import pytest
import uvloop
from gateway_world import World

from standalone.gateway.settings import Limits


def pytest_asyncio_loop_factories() -> Mapping[str, Callable[[], asyncio.AbstractEventLoop]]:
    """uvloop's transports differ from asyncio's (no subclass of Transport, other errors): the tests must meet them."""
    return {"uvloop": uvloop.new_event_loop}


@pytest.fixture
def limits() -> Limits:
    return replace(Limits(), fail_after_s=0.2, drain_s=0.5)


@pytest.fixture
async def world(limits: Limits) -> AsyncIterator[World]:
    world = World(limits)
    await world.start()
    yield world
    await world.stop()
