"""``wakeful doctor`` on one machine."""

from __future__ import annotations

import subprocess
import sys

import pytest
from whole_platform import Platform

pytestmark = pytest.mark.platform


def test_one_machine_that_is_well(platform: Platform) -> None:
    argv = [sys.executable, "-m", "wakeful.cli", "doctor", "--data-dir", str(platform.layout.data_dir)]
    done = subprocess.run(argv, capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    for name in (
        "process apiserver",
        "process controller",
        "gateway",
        "disk",
        "admission",
        "Knative Serving",
    ):
        assert f"ok    {name}" in done.stdout, done.stdout
    assert "leader" not in done.stdout, "one machine has no Lease"
