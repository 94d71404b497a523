"""How many threads a framework may keep busy here: the processors that this container may use.

Called by runtimes for ``--nthread=0``. Libraries count the machine's cores, which on a node with 64 of them and a
container limited to one makes every call slower. Left out: changes of the limit while it runs.

Invariant: at least 1, at most the processors that the scheduler lets this process run on.
"""

from __future__ import annotations

import math
import os
from pathlib import Path

V2 = "cpu.max"
V1 = ("cpu/cpu.cfs_quota_us", "cpu/cpu.cfs_period_us")


def usable(root: Path = Path("/sys/fs/cgroup")) -> int:
    """Whole processors, rounded up; ``root`` is where the container's control group is mounted."""
    allowed = len(os.sched_getaffinity(0))
    quota = _quota(root)
    return allowed if quota is None else max(1, min(allowed, math.ceil(quota)))


def _quota(root: Path) -> float | None:
    """The limit in processors; None where there is none or it cannot be read."""
    try:
        if (root / V2).exists():
            words = (root / V2).read_text().split()
        else:
            words = [(root / name).read_text().strip() for name in V1]
        quota, period = float(words[0]), float(words[1])
    except (OSError, ValueError, IndexError):  # "max" is no number: no limit
        return None
    return quota / period if quota > 0 and period > 0 else None
