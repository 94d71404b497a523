"""One real platform for the tests of this folder: `wakeful up` on free ports and a data directory of its own.

Slow to start (seconds), so it is shared by the session; each test uses a namespace of its own.
"""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest
from whole_platform import Platform, free_port

from standalone.layout import Layout


@pytest.fixture(scope="session")
def platform() -> Iterator[Platform]:
    folder = Path(tempfile.mkdtemp(prefix="wk-"))
    running = Platform(Layout(folder), (free_port(), free_port(), free_port()))
    running.start()
    yield running
    running.stop()
    shutil.rmtree(folder, ignore_errors=True)


@pytest.fixture
def needs_kubectl() -> None:
    if shutil.which("kubectl") is None:
        pytest.skip("kubectl is not installed on this machine")
