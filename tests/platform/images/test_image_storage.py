"""What is forgotten of earlier builds: the oldest that nothing stands on, until the storage is small enough."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
from collections.abc import Iterator, Sequence
from pathlib import Path

import pytest
from imagebuild import storage
from imagebuild.storage import Kept, Layer

KB = 1000
# base <- python <- old, new: two images on what they share.
TREE = Kept(
    (
        Layer("base", "", 10 * KB, "2026-01-01"),
        Layer("python", "base", 10 * KB, "2026-01-02"),
        Layer("new", "python", 10 * KB, "2026-01-04"),
        Layer("old", "python", 10 * KB, "2026-01-03"),
    ),
    {"base": ("B",), "python": ("P",), "new": ("N",), "old": ("O", "O-labelled")},
)


def test_the_oldest_end_goes_first_and_what_is_shared_stays() -> None:
    assert TREE.oldest_images() == ("O", "O-labelled")
    without = Kept(tuple(layer for layer in TREE.layers if layer.name != "old"), TREE.images)
    assert without.oldest_images() == ("N",)


def test_a_layer_without_an_image_is_nobodys_end() -> None:
    """One that a build is making just now: it has no image yet."""
    assert Kept(TREE.layers, {"base": ("B",), "new": ("N",)}).oldest_images() == ("N",)
    assert Kept((), {}).oldest_images() == ()


def test_bounds_are_bytes_and_layers() -> None:
    assert not TREE.is_over(40 * KB, 4)
    assert TREE.is_over(39 * KB, 4) and TREE.is_over(40 * KB, 3)


@pytest.mark.parametrize("text", ["{", '[{"created": "x"}]', "[1]"], ids=["cut", "no-id", "other"])
def test_a_damaged_storage_is_emptied(tmp_path: Path, text: str) -> None:
    place = tmp_path / "storage/root/overlay-layers"
    place.mkdir(parents=True)
    (place / "layers.json").write_text(text)
    storage.bound(tmp_path / "storage", ["false"])
    assert list(tmp_path.iterdir()) == []


def test_a_storage_that_gives_nothing_up_is_emptied(tmp_path: Path) -> None:
    place = tmp_path / "storage/root/overlay-layers"
    place.mkdir(parents=True)
    (place / "layers.json").write_text(json.dumps([{"id": "a", "diff-size": 5}]))
    storage.bound(tmp_path / "storage", ["true"], most_bytes=5)
    assert place.exists()
    storage.bound(tmp_path / "storage", ["true"], most_bytes=4)
    assert list(tmp_path.iterdir()) == []


@pytest.fixture
def buildah(tmp_path: Path) -> Iterator[list[str]]:
    """The words that run buildah on a storage of its own."""
    if os.geteuid() != 0 or shutil.which("buildah") is None:
        pytest.skip("buildah and root are needed")
    folder = tmp_path / "storage"
    yield ["buildah", f"--root={folder}/root", f"--runroot={folder}/run", "--storage-driver=vfs"]
    if folder.exists():
        shutil.rmtree(folder)


def build(call: Sequence[str], folder: Path, name: str) -> str:
    """An image of three layers: one that all share, two of its own; and a label. What buildah says."""
    folder.mkdir(exist_ok=True)
    (folder / "shared").write_bytes(b"s" * 100 * KB)
    for own in ("one", "two"):
        (folder / f"{name}-{own}").write_bytes(name.encode() * 50 * KB)
    lines = ["FROM scratch", "COPY shared /", f"COPY {name}-one /", f"COPY {name}-two /", "LABEL a=b"]
    (folder / "Containerfile").write_text("\n".join(lines))
    words = ["build", "--layers", "--timestamp=0", "--isolation=chroot", f"--tag=localhost/{name}:1"]
    done = subprocess.run(
        [*call, *words, str(folder)], capture_output=True, text=True, timeout=60, check=False
    )
    assert done.returncode == 0, done.stderr
    return done.stdout + done.stderr


def test_buildah_forgets_what_was_built_first(tmp_path: Path, buildah: list[str]) -> None:
    for name in ("a", "b", "c"):
        build(buildah, tmp_path / "context", name)
    root = tmp_path / "storage/root"
    before = storage.read(root)
    assert (len(before.layers), before.size_bytes > 400 * KB) == (7, True)
    storage.bound(tmp_path / "storage", buildah, most_bytes=before.size_bytes - 1)
    after = storage.read(root)
    assert after.size_bytes < before.size_bytes
    assert build(buildah, tmp_path / "context", "c").count("Using cache") == 4
    assert build(buildah, tmp_path / "context", "b").count("Using cache") == 4
    assert build(buildah, tmp_path / "context", "a").count("Using cache") < 4
    storage.bound(tmp_path / "storage", buildah, most_bytes=KB)
    assert not root.exists() or storage.read(root).size_bytes <= KB
