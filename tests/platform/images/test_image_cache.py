"""What hack/images keeps of earlier builds: the base of today's recipe, and the wheels that some image's lock names."""

from __future__ import annotations

import hashlib
import os
import sys
import zipfile
from pathlib import Path

import pytest
from imagebuild import foundation, wheels
from imagebuild.steps import Steps

ROOT = Path(__file__).resolve().parents[3]
MMDEBSTRAP = """#!/bin/sh
for last; do :; done
echo a system > "$last"
"""


def test_a_new_base_takes_the_place_of_those_of_other_recipes(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    program = tmp_path / "bin/mmdebstrap"
    program.parent.mkdir()
    program.write_text(MMDEBSTRAP)
    program.chmod(0o755)
    monkeypatch.setenv("PATH", f"{program.parent}:{os.environ['PATH']}")
    cache = tmp_path / "cache"
    cache.mkdir()
    for name in ("base-0.tar", "base-0.key", "base-1.partial", "sklearn-0.tar"):
        (cache / name).touch()
    made = foundation.ensure(cache, tmp_path / "log", Steps())
    key = made.tar.with_suffix(".key")
    assert made.tar.read_text() == "a system\n"
    assert {path.name for path in cache.iterdir()} == {made.tar.name, key.name, "sklearn-0.tar"}
    (cache / "base-2.tar").touch()
    assert foundation.ensure(cache, tmp_path / "log", Steps()) == made
    assert (cache / "base-2.tar").exists(), "nothing new was made"


class Shelf:
    """Wheels that pip finds in a folder, and a cache that has a pip."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder / "shelf"
        self.cache = folder / "cache"
        self.locks = [folder / "one.txt", folder / "two.txt"]
        self.folder.mkdir()
        pip = self.cache / "pip/bin/pip"
        pip.parent.mkdir(parents=True)
        pip.write_text(f'#!/bin/sh\nexec {sys.executable} -m pip "$@"\n')
        pip.chmod(0o755)

    def lock(self, number: int, name: str, version: str) -> None:
        """Let an image's lock name this package."""
        info = f"{name}-{version}.dist-info"
        path = self.folder / f"{name}-{version}-py3-none-any.whl"
        with zipfile.ZipFile(path, "w") as wheel:
            wheel.writestr(f"{info}/METADATA", f"Metadata-Version: 2.1\nName: {name}\nVersion: {version}\n")
            wheel.writestr(f"{info}/WHEEL", "Wheel-Version: 1.0\nRoot-Is-Purelib: true\nTag: py3-none-any\n")
            wheel.writestr(f"{info}/RECORD", "")
        digest = hashlib.sha256(path.read_bytes()).hexdigest()
        self.locks[number].write_text(f"{name}=={version} \\\n    --hash=sha256:{digest}\n")

    def fetch(self, number: int, log: Path) -> set[str]:
        found = wheels.fetch([self.locks[number]], self.locks, self.cache, log, Steps())
        return {path.name.partition("-py3")[0] for path in found.iterdir()}


def test_wheels_that_no_lock_names_go_when_others_are_fetched(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    shelf = Shelf(tmp_path)
    monkeypatch.setenv("PIP_NO_INDEX", "1")
    monkeypatch.setenv("PIP_FIND_LINKS", str(shelf.folder))
    log = tmp_path / "log"
    shelf.lock(0, "one", "1")
    shelf.lock(1, "two", "1")
    assert shelf.fetch(0, log) == {"one-1"}
    assert shelf.fetch(1, log) == {"one-1", "two-1"}
    shelf.lock(0, "one", "2")
    assert shelf.fetch(1, log) == {"one-1", "two-1"}, "nothing was fetched"
    assert shelf.fetch(0, log) == {"one-2", "two-1"}
