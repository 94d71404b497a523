"""The API server as a process of its own, for tests that kill, fill and starve it."""

from __future__ import annotations

import sys
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[2] / "contracts" / "cluster"))

import pytest
from inside_server import Inside, running
from server_process import ServerProcess

from standalone.apiserver.store import Store
from standalone.apiserver.store_db import Database
from standalone.layout import Layout


@pytest.fixture
def server(tmp_path: Path) -> Iterator[ServerProcess]:
    """A started server on a fresh data directory."""
    found = ServerProcess(tmp_path / "data")
    found.start()
    yield found
    found.stop()


@pytest.fixture(scope="module")
def shared(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ServerProcess]:
    """One server for the cases of a file that leave it whole."""
    found = ServerProcess(tmp_path_factory.mktemp("shared") / "data")
    found.start()
    yield found
    found.stop()


@pytest.fixture
async def inside(tmp_path: Path) -> AsyncIterator[Inside]:
    """One in the test's own loop."""
    async with running(tmp_path) as found:
        yield found


@pytest.fixture
async def store(tmp_path: Path) -> AsyncIterator[Store]:
    """A store on a fresh database."""
    layout = Layout(tmp_path)
    layout.make()
    found = Store(Database(layout.objects_db))
    yield found
    await found.close()
