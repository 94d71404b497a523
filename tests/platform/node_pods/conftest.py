"""A node without an API server, for the tests of this folder."""

from __future__ import annotations

import contextlib
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from node_machine import Machine


@pytest.fixture
async def machine(tmp_path: Path) -> AsyncIterator[Machine]:
    made = Machine(tmp_path / "d")
    await made.open()
    yield made
    with contextlib.suppress(Exception):
        await made.close()
