"""A process of ours and the number of files it may open."""

from __future__ import annotations

import resource
import subprocess
import sys

import pytest

SHOW = """
import resource
from wakeful.kit import lifecycle

async def main():
    print(*resource.getrlimit(resource.RLIMIT_NOFILE))

raise SystemExit(lifecycle.run(main()))
"""
HARD = resource.getrlimit(resource.RLIMIT_NOFILE)[1]


@pytest.mark.parametrize(
    ("soft", "hard", "wanted"),
    [(64, 4096, 4096), (64, HARD, min(HARD, 65_536) if HARD > 0 else 65_536), (64, 64, 64)],
)
def test_as_many_files_as_the_system_allows(soft: int, hard: int, wanted: int) -> None:
    """With a login's 1,024 the gateway stopped to accept at a tenth of its own bound, and said nothing."""

    def limit() -> None:
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))

    done = subprocess.run([sys.executable, "-c", SHOW], preexec_fn=limit, capture_output=True, check=True)
    assert int(done.stdout.split()[0]) == wanted
