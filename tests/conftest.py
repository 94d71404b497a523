"""What every folder of tests may import: the modules of ``tests/rig``."""

from __future__ import annotations

import sys
from pathlib import Path

from hypothesis import settings

sys.path.insert(0, str(Path(__file__).resolve().parent / "rig"))

# A machine that does something else for 0.2 s is no failure of the code under test; pytest-timeout bounds each test.
settings.register_profile("wakeful", deadline=None)
settings.load_profile("wakeful")
