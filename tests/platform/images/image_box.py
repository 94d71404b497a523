"""Unpacks an image's archive and runs it as a kubelet would: user 65532, no capability, read-only root, no new privileges.

Used by test_built_images.py. util-linux and a chroot do it, since a container runtime is not on every machine; the real
cluster's suite (e2e/) runs the same archives under containerd.
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import tarfile
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

USER = "65532:65532"
WANTED = os.environ.get("WAKEFUL_TEST_IMAGES", "")
# Built and tested by WAKEFUL_TEST_IMAGES=all only: minutes and gigabytes each, or (pmml) what few have a use for.
LARGE = {"huggingface", "pmml", "torch", "vllm"}
SCRIPT = """
set -e
PATH=$PATH:/usr/sbin:/sbin:/bin
mount --make-rprivate /
mount --bind "$1" "$1"
mkdir -p "$1/dev" "$1/proc" "$1/sys"
mount --rbind /dev "$1/dev"
mount -t tmpfs -o size=64m,mode=1777 tmpfs "$1/dev/shm"
mount --bind /proc "$1/proc"
mount --bind /sys "$1/sys"
mount -o remount,bind,ro "$1/sys"
for folder in $2; do mkdir -p "$1/$folder"; mount -t tmpfs -o mode=1777 tmpfs "$1/$folder"; done
if [ -n "$3" ]; then mount --bind "$3" "$1/mnt"; fi
mount -o remount,bind,ro "$1"
root=$1; shift 3
exec setpriv --no-new-privs --inh-caps=-all chroot --userspec=65532:65532 "$root" "$@"
"""


@dataclass(frozen=True, slots=True)
class Unpacked:
    """An image on disk: its configuration, its layers' digests, its files."""

    config: dict[str, Any]
    layers: tuple[str, ...]
    root: Path
    size_bytes: int

    def command(self, *arguments: str, writable: Sequence[str] = (), mnt: Path | None = None) -> list[str]:
        """The words that run the entry point with ``arguments``; ``writable`` folders are memory."""
        return self.program(*self.config["Entrypoint"], *arguments, writable=writable, mnt=mnt)

    def program(self, *words: str, writable: Sequence[str] = (), mnt: Path | None = None) -> list[str]:
        """The words that run any program of the image in its box."""
        environment = ["env", "-i", *self.config["Env"]]
        inside = [str(Path("/usr/bin", words[0])) if "/" not in words[0] else words[0], *words[1:]]
        box = ["/usr/bin/unshare", "--mount", "--ipc", "--", "/bin/sh", "-c", SCRIPT, "box", str(self.root)]
        return [*environment, *box, " ".join(writable), str(mnt or ""), *inside]

    def python(self, code: str, writable: Sequence[str] = (), mnt: Path | None = None) -> str:
        """What ``code`` prints when the image's Python runs it in the box."""
        done = subprocess.run(
            self.program("python3", "-P", "-c", code, writable=writable, mnt=mnt),
            capture_output=True,
            text=True,
            timeout=120,
            check=False,
        )
        assert done.returncode == 0, done.stderr
        return done.stdout


def of_this_run(names: Iterable[str]) -> list[str]:
    """Those of ``names`` that this run builds and tests."""
    return sorted(name for name in names if WANTED == "all" or name not in LARGE)


def unpack(archive: Path, folder: Path) -> Unpacked:
    """The image of ``archive``, its layers laid over each other in ``folder``."""
    root = folder / "root"
    root.mkdir()
    root.chmod(0o755)
    size_bytes = 0
    with tarfile.open(archive) as outer:
        entry = json.load(member(outer, "manifest.json"))[0]
        described = json.load(member(outer, entry["Config"]))
        for name in entry["Layers"]:
            layer = folder / "layer.tar"
            with layer.open("wb") as file:
                shutil.copyfileobj(member(outer, name), file)
            size_bytes += layer.stat().st_size
            with tarfile.open(layer) as inner:
                inner.extractall(root, numeric_owner=True, filter="fully_trusted")
            layer.unlink()
    return Unpacked(described["config"], tuple(described["rootfs"]["diff_ids"]), root, size_bytes)


def member(outer: tarfile.TarFile, name: str) -> Any:
    found = outer.extractfile(name)
    assert found is not None, name
    return found
