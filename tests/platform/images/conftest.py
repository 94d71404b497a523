"""Makes hack/images' modules importable (package `imagebuild`), and builds the images where the run allows it.

Building takes minutes when nothing is cached, so by default only images that are cached for today's sources are
tested; WAKEFUL_TEST_IMAGES=build (the real cluster's suite in .ci sets it) builds what is missing.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from image_box import Unpacked, unpack

ROOT = Path(__file__).resolve().parents[3]
sys.path.append(str(ROOT / "hack" / "images.d"))
BUILD_LIMIT_S = 1500


@pytest.fixture(scope="session")
def archives(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """Every image's archive by the image's name."""
    if os.geteuid() != 0 or sys.platform != "linux":
        pytest.skip("unpacking and running images needs root on Linux")
    folder = tmp_path_factory.mktemp("archives")
    command = [str(ROOT / "hack" / "images"), "build", "--output", str(folder)]
    if os.environ.get("WAKEFUL_TEST_IMAGES") != "build":
        command.append("--cached")
    done = subprocess.run(
        command, capture_output=True, text=True, timeout=BUILD_LIMIT_S, check=False, stdin=subprocess.DEVNULL
    )
    if done.returncode == 3:
        pytest.skip(
            "the images of today's sources are not built: hack/images build, or WAKEFUL_TEST_IMAGES=build"
        )
    assert done.returncode == 0, done.stdout + done.stderr
    return {path.stem: path for path in folder.glob("*.tar")}


@pytest.fixture(scope="session")
def unpacked(
    archives: dict[str, Path], tmp_path_factory: pytest.TempPathFactory
) -> Iterator[dict[str, Unpacked]]:
    """Every image, unpacked; removed afterwards, since it is half a gigabyte."""
    folders = {name: tmp_path_factory.mktemp(f"image-{name}") for name in archives}
    yield {name: unpack(archive, folders[name]) for name, archive in sorted(archives.items())}
    for folder in folders.values():
        shutil.rmtree(folder)
