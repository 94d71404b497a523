"""What every folder of tests may import: the modules of ``tests/rig``."""

from __future__ import annotations

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent / "rig"))
