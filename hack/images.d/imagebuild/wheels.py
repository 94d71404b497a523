"""Fetches the pinned packages of an image into the cache, with the machine's own pip settings.

Called by __main__.py before a build, so that the build itself reads a folder and no network: nothing of the machine's
settings, certificates or credentials can get into an image. Only wheels for CPython 3.11 are taken; each is checked
against the lock's hash here and again inside the build.

Left out: packages that come only as source.
"""

from __future__ import annotations

import hashlib
import sys
from pathlib import Path

from imagebuild.steps import Steps, run


def fetch(lock: Path, cache: Path, log: Path, steps: Steps) -> Path:
    """The folder that holds every wheel that ``lock`` names. Raises ImageError."""
    folder = cache / "wheels"
    folder.mkdir(parents=True, exist_ok=True)
    stamp = folder / f".{hashlib.sha256(lock.read_bytes()).hexdigest()[:16]}"
    if stamp.exists():
        return folder
    command = [str(pip(cache, log)), "download", "--quiet", "--disable-pip-version-check", "--no-deps"]
    command += ["--require-hashes", "--only-binary=:all:", "--python-version=3.11", "--implementation=cp"]
    run([*command, "--dest", str(folder), "--requirement", str(lock)], log)
    stamp.touch()
    steps.done(f"fetched the packages of {lock.name}")
    return folder


def pip(cache: Path, log: Path) -> Path:
    """A pip of our own: the interpreter that runs this may have none."""
    found = cache / "pip" / "bin" / "pip"
    if not found.exists():
        run([sys.executable, "-m", "venv", "--clear", str(cache / "pip")], log)
    return found
