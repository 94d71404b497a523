"""Makes hack/images' modules importable (package `imagebuild`), and builds the images where the run allows it.

Building takes minutes when nothing is cached, so by default only images that are cached for today's sources are
tested. WAKEFUL_TEST_IMAGES=build (CI sets it) builds what is missing; =all builds and tests the LARGE ones too, which
take minutes and gigabytes each. An image is built and unpacked when a test first asks for it, so `-k NAME` does no more.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path

import pytest
from image_box import WANTED, Unpacked, of_this_run, unpack

ROOT = Path(__file__).resolve().parents[3]
sys.path.append(str(ROOT / "hack" / "images.d"))
BUILD_LIMIT_S = 1500


class Images(Mapping[str, Unpacked]):
    """Every image of this run by name, unpacked at the first look."""

    def __init__(self, folder: Path) -> None:
        from imagebuild import containerfile

        self._names = of_this_run(image.name for image in containerfile.find_all(ROOT))
        self._folder = folder
        self._found: dict[str, Unpacked] = {}

    def __iter__(self) -> Iterator[str]:
        return iter(self._names)

    def __len__(self) -> int:
        return len(self._names)

    def __getitem__(self, name: str) -> Unpacked:
        if name not in self._names:
            raise KeyError(name)
        if name not in self._found:
            archive, place = built(name, self._folder), self._folder / name
            place.mkdir()
            self._found[name] = unpack(archive, place)
        return self._found[name]


def built(name: str, folder: Path) -> Path:
    """The archive of one image; a skip where it would have to be built and this run may not."""
    command = [str(ROOT / "hack" / "images"), "build", name, "--output", str(folder)]
    if WANTED not in ("build", "all"):
        command.append("--cached")
    done = subprocess.run(
        command, capture_output=True, text=True, timeout=BUILD_LIMIT_S, check=False, stdin=subprocess.DEVNULL
    )
    if done.returncode == 3:
        pytest.skip(
            f"{name} is not built from today's sources: hack/images build, or WAKEFUL_TEST_IMAGES=build"
        )
    assert done.returncode == 0, done.stdout + done.stderr
    return folder / f"{name}.tar"


@pytest.fixture(scope="session")
def unpacked(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Mapping[str, Unpacked]]:
    """Every image; removed afterwards, since they are gigabytes."""
    if os.geteuid() != 0 or sys.platform != "linux":
        pytest.skip("unpacking and running images needs root on Linux")
    folder = tmp_path_factory.mktemp("images")
    yield Images(folder)
    shutil.rmtree(folder)
