"""The programs that can run a Containerfile: docker or podman where an engine answers, else buildah without any.

Called by __main__.py, which picks one with ``choose``. A builder turns a staged context into a docker-archive. buildah
needs no daemon and, with chroot isolation, no container runtime; its storage is a folder of the cache (bounded: storage.py).

Invariant: the same context gives the same image with each of them, up to the layers' time stamps under docker.
"""

from __future__ import annotations

import os
import shutil
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from imagebuild import storage
from imagebuild.foundation import Foundation
from imagebuild.steps import ImageError, answers, run

OFFLINE = "--no-index --find-links /wheels"
PACKAGES = {"buildah": "buildah", "mmdebstrap": "mmdebstrap"}


@dataclass(frozen=True, slots=True)
class Job:
    """One build: the file inside ``context``, build arguments, the folder of wheels, the name to build under."""

    file: Path
    context: Path
    arguments: Mapping[str, str]
    wheels: Path
    tag: str


class Builder(Protocol):
    """Runs Containerfiles."""

    name: str

    def load_base(self, foundation: Foundation) -> str:
        """Make the base known; its image name. Raises ImageError."""

    def build(self, job: Job, saved: Path) -> None:
        """Build and write a docker-archive. Raises ImageError."""


class Buildah:
    """buildah as root, in a storage of its own."""

    name = "buildah"

    def __init__(self, cache: Path, log: Path) -> None:
        self._log = log
        self._storage = cache / "storage"
        driver = "overlay" if "overlay" in Path("/proc/filesystems").read_text() else "vfs"
        self._call = [
            "buildah",
            f"--root={self._storage}/root",
            f"--runroot={self._storage}/run",
            f"--storage-driver={driver}",
        ]
        run([*self._call, "rm", "--all"], log)  # what a killed build left
        storage.bound(self._storage, self._call)

    def load_base(self, foundation: Foundation) -> str:
        image = f"localhost/wakeful/base:{foundation.key}"
        if not answers(*self._call, "inspect", "--type=image", image):
            folder = foundation.tar.with_suffix(".context")
            shutil.rmtree(folder, ignore_errors=True)
            folder.mkdir()
            os.link(foundation.tar, folder / "base.tar")
            (folder / "Containerfile").write_text("FROM scratch\nADD base.tar /\n")
            run(
                [
                    *self._call,
                    "build",
                    "--quiet",
                    "--isolation=chroot",
                    "--timestamp=0",
                    "--tag",
                    image,
                    str(folder),
                ],
                self._log,
            )
            shutil.rmtree(folder)
        return image

    def build(self, job: Job, saved: Path) -> None:
        options = ["--isolation=chroot", "--layers", "--timestamp=0", f"--volume={job.wheels}:/wheels:ro"]
        arguments = {**job.arguments, "PIP_OPTIONS": OFFLINE}
        run([*self._call, "build", *options, *build_words(job, arguments)], self._log)
        saved.unlink(missing_ok=True)
        run(
            [*self._call, "push", "--quiet", f"localhost/{job.tag}", f"docker-archive:{saved}:{job.tag}"],
            self._log,
        )
        storage.bound(self._storage, self._call)


class Engine:
    """docker or podman."""

    def __init__(self, name: str, log: Path) -> None:
        self.name = name
        self._log = log

    def load_base(self, foundation: Foundation) -> str:
        image = f"localhost/wakeful/base:{foundation.key}"
        if not answers(self.name, "image", "inspect", image):
            run([self.name, "import", str(foundation.tar), image], self._log)
        return image

    def build(self, job: Job, saved: Path) -> None:
        arguments, options = dict(job.arguments), []
        if self.name == "podman":
            # chroot isolation asks nothing of the machine's cgroups and container runtime
            options = ["--isolation=chroot", "--layers", "--timestamp=0", f"--volume={job.wheels}:/wheels:ro"]
            arguments["PIP_OPTIONS"] = OFFLINE
        else:  # docker mounts nothing into a build: pip asks the network there, and checks the same hashes
            arguments["SOURCE_DATE_EPOCH"] = "0"
        run([self.name, "build", *options, *build_words(job, arguments)], self._log)
        saved.unlink(missing_ok=True)
        run([self.name, "save", "--output", str(saved), job.tag], self._log)


def build_words(job: Job, arguments: Mapping[str, str]) -> list[str]:
    """What ``build`` of every program understands."""
    words = [f"--file={job.context / job.file}", f"--tag={job.tag}"]
    for name, value in sorted(arguments.items()):
        words += ["--build-arg", f"{name}={value}"]
    return [*words, str(job.context)]


def choose(wanted: str | None, cache: Path, log: Path) -> Builder:
    """The builder that ``wanted`` names, else the first that works here. Raises ImageError."""
    for name in ("docker", "podman"):
        if wanted == name or (wanted is None and answers(name, "info")):
            if not answers(name, "info"):
                raise ImageError(f"{name} does not answer (`{name} info`): start it, or leave --with out")
            return Engine(name, log)
    install("buildah", log)
    return Buildah(cache, log)


def install(program: str, log: Path) -> None:
    """See that ``program`` is there and may be used: apt-get brings it to root on Debian. Raises ImageError."""
    if os.geteuid() != 0:
        raise ImageError(f"without docker or podman, {program} builds the images, and it needs root here")
    if shutil.which(program) is None:
        if shutil.which("apt-get") is None:
            raise ImageError(f"{program} is needed: install it, or start docker or podman")
        apt = ["apt-get", "-y", "-qq", "--no-install-recommends", "install", PACKAGES[program]]
        try:
            run(apt, log, {"DEBIAN_FRONTEND": "noninteractive"})
        except ImageError:  # often only the lists are old
            run(["apt-get", "-qq", "update"], log)
            run(apt, log, {"DEBIAN_FRONTEND": "noninteractive"})
