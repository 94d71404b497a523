"""Fetches the pinned packages of an image into the cache, with the machine's own pip settings.

Called by __main__.py before a build, so that the build itself reads a folder and no network: nothing of the machine's
settings, certificates or credentials can get into an image. Only wheels for CPython 3.11 are taken; each is checked
against the lock's hash here and again inside the build. What no image's lock names any more goes when something is fetched.

Left out: packages with compiled parts that come only as source.
"""

from __future__ import annotations

import re
import shutil
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from imagebuild.steps import Steps, run

# Pure Python that no index has a wheel of: built inside the build, by the setuptools of containerfile.TOOLS.
SOURCE_ONLY = {"lime"}
WAYS = {
    False: ("--only-binary=:all:", "--python-version=3.11", "--implementation=cp"),
    True: ("--no-binary=" + ",".join(sorted(SOURCE_ONLY)),),
}


def fetch(locks: Sequence[Path], all_locks: Sequence[Path], cache: Path, log: Path, steps: Steps) -> Path:
    """The folder that holds every wheel that ``locks`` name; only missing ones are asked for. Raises ImageError.

    ``all_locks``: those of all images, whose wheels stay.
    """
    folder = cache / "wheels"
    folder.mkdir(parents=True, exist_ok=True)
    wanted_pins = [pin for lock in locks for pin in pins(lock.read_text())]
    missing = [pin for pin in wanted_pins if not any(folder.glob(pin.pattern))]
    if not missing:
        return folder
    wanted = cache / "missing.txt"
    partial = cache / "wheels.partial"
    shutil.rmtree(partial, ignore_errors=True)
    command = [str(pip(cache, log)), "download", "--quiet", "--disable-pip-version-check", "--no-deps"]
    command += ["--require-hashes", "--dest", str(partial), "--requirement", str(wanted)]
    for is_source, kind in WAYS.items():
        wanted.write_text("".join(pin.text for pin in missing if pin.is_source == is_source))
        if wanted.stat().st_size:
            run([*command, *kind], log)
    for wheel in partial.iterdir():
        wheel.replace(folder / wheel.name)
    forget_others(folder, all_locks)
    steps.done(f"fetched {len(missing)} packages of {locks[0].name}")
    return folder


def forget_others(folder: Path, locks: Sequence[Path]) -> None:
    """Drop the wheels that none of ``locks`` names."""
    named = {path for lock in locks for pin in pins(lock.read_text()) for path in folder.glob(pin.pattern)}
    for path in set(folder.iterdir()) - named:
        path.unlink()


@dataclass(frozen=True, slots=True)
class Pin:
    """One package of a lock: its lines, the names that its file can have, whether that is its source."""

    text: str
    pattern: str
    is_source: bool


def pins(lock: str) -> list[Pin]:
    """The packages of a lock file, each with its hashes."""
    found = re.findall(r"^([A-Za-z0-9._-]+)==(\S+) \\\n((?:    --hash=\S+(?: \\)?\n)+)", lock, re.MULTILINE)
    return [
        Pin(f"{name}=={version} \\\n{hashes}", pattern_of(name, version), name in SOURCE_ONLY)
        for name, version, hashes in found
    ]


def pattern_of(name: str, version: str) -> str:
    """The names that a package's file can have."""
    end = ".tar.gz" if name in SOURCE_ONLY else "-*.whl"
    return f"{re.sub(r'[-_.]+', '_', name).lower()}-{version}{end}"


def pip(cache: Path, log: Path) -> Path:
    """A pip of our own: the interpreter that runs this may have none."""
    found = cache / "pip" / "bin" / "pip"
    if not found.exists():
        run([sys.executable, "-m", "venv", "--clear", str(cache / "pip")], log)
    return found
