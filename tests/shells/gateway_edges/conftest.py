"""A gateway in this process, on a real port, fed with objects by the test."""

from __future__ import annotations

from collections.abc import AsyncIterator
from dataclasses import replace

import pytest
from gateway_world import World

from standalone.gateway.settings import Limits


@pytest.fixture
def limits() -> Limits:
    return replace(Limits(), fail_after_s=0.2, drain_s=0.5)


@pytest.fixture
async def world(limits: Limits) -> AsyncIterator[World]:
    world = World(limits)
    await world.start()
    yield world
    await world.stop()
