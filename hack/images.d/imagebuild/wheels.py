"""Fetches the pinned packages of an image into the cache, with the machine's own pip settings.

Called by __main__.py before a build, so that the build itself reads a folder and no network: nothing of the machine's
settings, certificates or credentials can get into an image. Only wheels for CPython 3.11 are taken; each is checked
against the lock's hash here and again inside the build.

Left out: packages that come only as source.
"""

from __future__ import annotations

import re
import shutil
import sys
from dataclasses import dataclass
from pathlib import Path

from imagebuild.steps import Steps, run


def fetch(lock: Path, cache: Path, log: Path, steps: Steps) -> Path:
    """The folder that holds every wheel that ``lock`` names; only missing ones are asked for. Raises ImageError."""
    folder = cache / "wheels"
    folder.mkdir(parents=True, exist_ok=True)
    missing = [pin for pin in pins(lock.read_text()) if not any(folder.glob(pin.pattern))]
    if not missing:
        return folder
    wanted = cache / "missing.txt"
    wanted.write_text("".join(pin.text for pin in missing))
    partial = cache / "wheels.partial"
    shutil.rmtree(partial, ignore_errors=True)
    command = [str(pip(cache, log)), "download", "--quiet", "--disable-pip-version-check", "--no-deps"]
    command += ["--require-hashes", "--only-binary=:all:", "--python-version=3.11", "--implementation=cp"]
    run([*command, "--dest", str(partial), "--requirement", str(wanted)], log)
    for wheel in partial.iterdir():
        wheel.replace(folder / wheel.name)
    steps.done(f"fetched {len(missing)} packages of {lock.name}")
    return folder


@dataclass(frozen=True, slots=True)
class Pin:
    """One package of a lock: its lines, and the names that its wheel can have."""

    text: str
    pattern: str


def pins(lock: str) -> list[Pin]:
    """The packages of a lock file, each with its hashes."""
    found = re.findall(r"^([A-Za-z0-9._-]+)==(\S+) \\\n((?:    --hash=\S+(?: \\)?\n)+)", lock, re.MULTILINE)
    return [
        Pin(f"{name}=={version} \\\n{hashes}", f"{re.sub(r'[-_.]+', '_', name).lower()}-{version}-*.whl")
        for name, version, hashes in found
    ]


def pip(cache: Path, log: Path) -> Path:
    """A pip of our own: the interpreter that runs this may have none."""
    found = cache / "pip" / "bin" / "pip"
    if not found.exists():
        run([sys.executable, "-m", "venv", "--clear", str(cache / "pip")], log)
    return found
