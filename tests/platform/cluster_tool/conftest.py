"""Makes hack/cluster's modules importable (package `realnode`), and says what these tests need of a machine."""

from __future__ import annotations

import os
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[3]
sys.path.append(str(ROOT / "hack" / "cluster.d"))


@pytest.fixture
def needs_root() -> None:
    if os.geteuid() != 0 or sys.platform != "linux":
        pytest.skip("making namespaces needs root on Linux")
