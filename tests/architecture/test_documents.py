"""Documents stay true: links resolve, lock files name no address, scripts are executable."""

from __future__ import annotations

import os
import re
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
DOCUMENTS = sorted([*ROOT.glob("*.md"), *(ROOT / "docs").rglob("*.md"), *(ROOT / "benchmarks").rglob("*.md")])
LINK = re.compile(r"\[[^\]]*\]\(([^)#\s]+)(?:#[^)]*)?\)")


@pytest.mark.parametrize("path", DOCUMENTS, ids=lambda path: str(path.relative_to(ROOT)))
def test_links_resolve(path: Path) -> None:
    targets = [target for target in LINK.findall(path.read_text()) if "://" not in target]
    assert [target for target in targets if not (path.parent / target).exists()] == []


def test_lock_files_name_no_address() -> None:
    named = [
        f"{path.relative_to(ROOT)}: {line}"
        for path in (ROOT / "requirements").rglob("*.txt")
        for line in path.read_text().splitlines()
        if "://" in line or "index-url" in line
    ]
    assert named == []


def test_lock_files_have_hashes() -> None:
    for path in (ROOT / "requirements").rglob("*.txt"):
        text = path.read_text()
        assert text.count("==") <= text.count("--hash=sha256:"), path.name


def test_scripts_are_executable() -> None:
    scripts = [path for path in [*(ROOT / "hack").iterdir(), ROOT / ".ci" / "run"] if path.is_file()]
    scripts = [path for path in scripts if path.read_bytes().startswith(b"#!")]
    assert [path.name for path in scripts if not os.access(path, os.X_OK)] == []
