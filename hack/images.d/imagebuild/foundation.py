"""Makes the image that all builds start from: a small Debian with Python 3.11, from the machine's own package sources.

Called by __main__.py when no --base is given. mmdebstrap reads the apt sources of the machine, so no mirror is named
here and security updates are in it; debootstrap would take one suite only and twice the time. The result is cached and
made again by `hack/images base --refresh`: that is how security updates of Debian get into images. One of another recipe
goes when a new one is made.

Only what Python needs is copied from it into an image (rootfs.py), so its own size does not matter.
"""

from __future__ import annotations

import hashlib
import time
from dataclasses import dataclass
from pathlib import Path

from imagebuild.keys import KEY_LENGTH
from imagebuild.steps import Steps, run

SUITE = "bookworm"
# binutils: torch's stand-ins (cpu_torch.py); libnuma1: vLLM. Neither gets into another image.
PACKAGES = (
    "python3.11",
    "python3.11-venv",
    "ca-certificates",
    "libstdc++6",
    "libgomp1",
    "binutils",
    "libnuma1",
)
OPTIONS = (
    "--variant=essential",
    "--dpkgopt=path-exclude=/usr/share/man/*",
    "--dpkgopt=path-exclude=/usr/share/locale/*",
    "--dpkgopt=force-unsafe-io",
)
DAY_S = 86400
OLD_DAYS = 14


@dataclass(frozen=True, slots=True)
class Foundation:
    """The base as a file: its path and a key of its contents."""

    tar: Path
    key: str


def ensure(cache: Path, log: Path, steps: Steps, *, is_refreshed: bool = False) -> Foundation:
    """The base, made where it is not there yet. Raises ImageError."""
    tar = path_of(cache)
    if is_refreshed or not tar.exists():
        partial = tar.with_suffix(".partial")
        partial.unlink(missing_ok=True)
        run(
            [
                "mmdebstrap",
                "--quiet",
                "--format=tar",
                *OPTIONS,
                f"--include={','.join(PACKAGES)}",
                SUITE,
                str(partial),
            ],
            log,
            {"SOURCE_DATE_EPOCH": "0", "TMPDIR": "/tmp"},
        )
        tar.with_suffix(".key").unlink(missing_ok=True)
        partial.replace(tar)
        for path in set(cache.glob("base-*")) - {tar}:
            path.unlink()
        steps.done(f"made the base ({SUITE} with Python 3.11)", tar)
    age_days = (time.time() - tar.stat().st_mtime) / DAY_S
    if age_days > OLD_DAYS:
        steps.done(
            f"the base is {age_days:.0f} days old: `hack/images base --refresh` brings Debian's updates"
        )
    return Foundation(tar, content_key(tar))


def path_of(cache: Path) -> Path:
    """Where the base of today's recipe is kept."""
    recipe = hashlib.sha256(repr((SUITE, PACKAGES, OPTIONS)).encode()).hexdigest()[:KEY_LENGTH]
    return cache / f"base-{recipe}.tar"


def content_key(tar: Path) -> str:
    """A key of the file's contents, remembered beside it."""
    known = tar.with_suffix(".key")
    if not known.exists():
        with tar.open("rb") as file:
            known.write_text(hashlib.file_digest(file, "sha256").hexdigest()[:KEY_LENGTH])
    return known.read_text()
