"""How many threads a framework gets: the container's limit, not the machine's cores."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from runtimes import processors

CORES = len(os.sched_getaffinity(0))


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("max 100000", CORES),
        ("50000 100000", 1),
        ("150000 100000", min(2, CORES)),
        ("9900000 100000", CORES),
        ("", CORES),
    ],
)
def test_the_limit_of_control_groups_v2(tmp_path: Path, text: str, expected: int) -> None:
    (tmp_path / "cpu.max").write_text(text)
    assert processors.usable(tmp_path) == expected


@pytest.mark.parametrize(("quota", "expected"), [("-1", CORES), ("100000", 1), ("nonsense", CORES)])
def test_the_limit_of_control_groups_v1(tmp_path: Path, quota: str, expected: int) -> None:
    (tmp_path / "cpu").mkdir()
    (tmp_path / "cpu" / "cpu.cfs_quota_us").write_text(quota)
    (tmp_path / "cpu" / "cpu.cfs_period_us").write_text("100000\n")
    assert processors.usable(tmp_path) == expected


def test_without_control_groups_it_is_what_the_scheduler_allows(tmp_path: Path) -> None:
    assert processors.usable(tmp_path) == CORES
