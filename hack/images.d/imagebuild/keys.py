"""Names a result by what it was made of, so that a second build of the same is only a look.

Called by __main__.py. A key covers the Containerfile, every file it copies (contents and whether it is executable; not
time stamps, which do not reach the image), the base, the version and how the builder is called.

Invariant: equal keys mean equal images, as far as the builder is deterministic.
"""

from __future__ import annotations

import hashlib
import shutil
from collections.abc import Iterator
from pathlib import Path

from imagebuild.containerfile import Containerfile, ContainerfileError

KEY_LENGTH = 16
LEFT_OUT = {"__pycache__", ".mypy_cache", ".ruff_cache"}


def files_of(image: Containerfile, root: Path) -> Iterator[tuple[str, Path]]:
    """(name in the tree, path) of every file that the build may read, sorted. Raises ContainerfileError."""
    for source in sorted({*image.sources, str(image.path)}):
        path = root / source
        if path.is_file():
            yield source, path
        elif path.is_dir():
            for file in sorted(path.rglob("*")):
                inside = file.relative_to(root)
                if file.is_file() and not LEFT_OUT.intersection(inside.parts) and file.suffix != ".pyc":
                    yield str(inside), file
        else:
            raise ContainerfileError(f"{image.path}: it copies {source}, which does not exist")


def key_of(image: Containerfile, root: Path, *circumstances: str) -> str:
    """The key of an image; ``circumstances`` is all else that the result depends on."""
    total = hashlib.sha256("\0".join(circumstances).encode())
    for name, path in files_of(image, root):
        mode = "x" if path.stat().st_mode & 0o100 else "-"
        with path.open("rb") as file:
            total.update(f"\0{name}\0{mode}\0{hashlib.file_digest(file, 'sha256').hexdigest()}".encode())
    return total.hexdigest()[:KEY_LENGTH]


def stage(image: Containerfile, root: Path, folder: Path) -> None:
    """Copy what the build may read into ``folder``: nothing else of the working tree can get into an image."""
    for name, path in files_of(image, root):
        target = folder / name
        target.parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(path, target)
        target.chmod(0o755 if path.stat().st_mode & 0o100 else 0o644)
