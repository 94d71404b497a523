"""When this process began, how long imports and load took, and whether it drains: what readiness answers tell.

Contract (docs/explanation/standalone.md, "Cold start by phase"): readiness answers carry ``Server-Timing:
import;dur=MS, load;dur=MS``; ``WAKEFUL_STARTED_AT`` (Unix seconds, set by the node or its fork server) is the start,
else the kernel's record of it, to 10 ms.

A start makes much that lives as long as the process and hardly any garbage, so a ``main`` may let the garbage collector
rest (``rest_collector``) until the server listens; what is there by then is never looked at again (``keep_loaded``).

Invariant: the server listens only after ``loaded`` was called, so a readiness answer always has both numbers.
"""

from __future__ import annotations

import gc
import os
import time
from collections.abc import Mapping
from pathlib import Path


def started_at(environ: Mapping[str, str]) -> float:
    """Unix seconds of the process start; now, where it is not known."""
    try:
        return float(environ["WAKEFUL_STARTED_AT"])
    except (KeyError, ValueError):
        pass
    try:
        fields = Path("/proc/self/stat").read_text().rpartition(")")[2].split()
        up_s = float(Path("/proc/uptime").read_text().split()[0])
        return time.time() - (up_s - int(fields[19]) / os.sysconf("SC_CLK_TCK"))
    except (OSError, ValueError, IndexError):
        return time.time()


def rest_collector() -> None:
    """Collect no garbage until ``keep_loaded``: a sixth of a start's processor time (docs/decisions/0109)."""
    global _is_resting
    _is_resting = True
    gc.disable()


def keep_loaded() -> None:
    """What is there now stays: looking through it for garbage costs 75 ms a time (docs/decisions/0118). Once, when a process
    begins to serve; the collector works from here on."""
    global _is_resting
    gc.freeze()
    if _is_resting:
        _is_resting = False
        gc.enable()


_is_resting = False


class Startup:
    """The phases of one server's start and its end."""

    def __init__(self, started_unix_s: float) -> None:
        self._started_unix_s = started_unix_s
        self._load_from = 0.0
        self.import_ms = 0.0
        self.load_ms = 0.0
        self.is_draining = False
        self.server_timing = ""

    def loading(self) -> None:
        """Imports are done; load begins."""
        self.import_ms = max(0.0, (time.time() - self._started_unix_s) * 1000)
        self._load_from = time.perf_counter()

    def loaded(self) -> None:
        """Every model is loaded."""
        self.load_ms = (time.perf_counter() - self._load_from) * 1000
        self.server_timing = f"import;dur={self.import_ms:.1f}, load;dur={self.load_ms:.1f}"
