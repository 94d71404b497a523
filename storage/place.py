"""The destination folder: staging inside it, commit by rename, a marker that says what is complete.

Called by ``initializer``. A destination is often a mount point, which cannot be renamed, so files are collected in
``DST/.wakeful-staging-FINGERPRINT`` and then renamed one by one; ``DST/.wakeful-complete.json`` is taken back before the
first rename and written after the last. Finished files in staging survive a crash and are not fetched again.

Invariant: the marker names a source only while every one of its files is in place; files nobody recorded are never
removed.
"""

from __future__ import annotations

import contextlib
import errno
import fcntl
import hashlib
import json
import os
import shutil
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Any

from storage.errors import Reason, StorageError
from wakeful.kit import files

MARKER = ".wakeful-complete.json"
STAGING = ".wakeful-staging-"
RESERVE_BYTES = 16 * 1024 * 1024
"""Left free on the volume, so that logs and markers can still be written."""


@dataclass(frozen=True, slots=True)
class Staged:
    """A file ready to be moved: where it is, and its relative path at the destination."""

    file: Path
    path: str


def source_key(uri: str) -> str:
    """What the marker calls a source: a digest, because a URI may hold a signature."""
    return hashlib.sha256(uri.encode()).hexdigest()[:32]


def is_reserved(path: str) -> bool:
    """Whether a destination's relative ``path`` is one of our own marks: a model copied from a volume brings them."""
    top = PurePosixPath(path).parts[0]
    return path == MARKER or top.startswith(STAGING)


class Place:
    """One destination folder, made when missing and locked against a second initializer."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    @contextlib.contextmanager
    def locked(self) -> Iterator[None]:
        """Hold the folder; waits for another initializer to end. Raises ``StorageError`` (local)."""
        with writing(self.folder):
            self.folder.mkdir(parents=True, exist_ok=True)
            descriptor = os.open(self.folder, os.O_RDONLY | os.O_DIRECTORY)
        try:
            with contextlib.suppress(OSError):  # a file system without locks: go on without
                fcntl.flock(descriptor, fcntl.LOCK_EX)
            yield
        finally:
            os.close(descriptor)

    def is_current(self, key: str, fingerprint: str) -> bool:
        """Whether exactly this content of the source is in place."""
        entry = self._sources().get(key)
        if not isinstance(entry, dict) or entry.get("fingerprint") != fingerprint:
            return False
        return all(_has(self.folder / path, size) for path, size in entry.get("files", {}).items())

    def staging(self, fingerprint: str) -> Path:
        """The staging folder of this content; those of other contents are removed."""
        mine = self.folder / (STAGING + fingerprint[:16])
        with writing(self.folder):
            for path in self.folder.glob(STAGING + "*"):
                if path != mine:
                    shutil.rmtree(path, ignore_errors=True)
            mine.mkdir(exist_ok=True)
        return mine

    def commit(self, key: str, fingerprint: str, staged: Sequence[Staged]) -> None:
        """Put the files in place; the source's earlier files that are not among them go. Raises ``StorageError``."""
        with writing(self.folder):
            sources = self._sources()
            before = sources.pop(key, {}).get("files", {})
            self._mark(sources)
            sizes = {}
            for item in staged:
                target = self._target(item.path)
                item.file.replace(target)
                sizes[item.path] = target.stat().st_size
            self._remove(set(before) - set(sizes), sources)
            sources[key] = {"fingerprint": fingerprint, "files": sizes}
            self._mark(sources)
            for path in self.folder.glob(STAGING + "*"):
                shutil.rmtree(path, ignore_errors=True)

    def prune(self, keys: set[str]) -> None:
        """Remove the recorded files of sources that are not among ``keys`` any more."""
        sources = self._sources()
        gone = set(sources) - keys
        if gone:
            with writing(self.folder):
                paths = {path for key in gone for path in sources.pop(key).get("files", {})}
                self._remove(paths, sources)
                self._mark(sources)

    def free_bytes(self) -> int:
        """Bytes that may still be written."""
        with writing(self.folder):
            return max(0, shutil.disk_usage(self.folder).free - RESERVE_BYTES)

    def _target(self, path: str) -> Path:
        here = self.folder
        for part in PurePosixPath(path).parts[:-1]:
            here = here / part
            if here.is_symlink() or (here.exists() and not here.is_dir()):
                raise StorageError(Reason.LOCAL, f"{here} is in the way: it is not a folder")
            here.mkdir(exist_ok=True)
        target = self.folder / path
        if target.is_dir() and not target.is_symlink():
            raise StorageError(
                Reason.LOCAL, f"{target} is in the way: it is a folder and a file belongs there"
            )
        return target

    def _remove(self, paths: set[str], sources: dict[str, Any]) -> None:
        kept = {path for entry in sources.values() for path in entry.get("files", {})}
        for path in paths - kept:
            target = self.folder / path
            target.unlink(missing_ok=True)
            for parent in PurePosixPath(path).parents:
                if str(parent) == ".":
                    break
                with contextlib.suppress(OSError):
                    (self.folder / parent).rmdir()

    def _sources(self) -> dict[str, Any]:
        try:
            value = json.loads((self.folder / MARKER).read_text())
            sources = value["sources"]
        except (OSError, ValueError, KeyError, TypeError):
            return {}
        return sources if isinstance(sources, dict) else {}

    def _mark(self, sources: dict[str, Any]) -> None:
        content = json.dumps({"version": 1, "sources": sources}, sort_keys=True)
        files.write_atomic(self.folder / MARKER, content.encode())


def _has(path: Path, size: int) -> bool:
    try:
        return path.is_file() and path.stat().st_size == size
    except OSError:
        return False


@contextlib.contextmanager
def writing(folder: Path) -> Iterator[None]:
    """Turn an ``OSError`` of the destination into a sentence."""
    try:
        yield
    except OSError as error:
        if error.errno in (errno.ENOSPC, errno.EDQUOT):
            raise StorageError(Reason.NO_SPACE, f"no space left in {folder}") from error
        where = error.filename or folder
        raise StorageError(Reason.LOCAL, f"cannot write to {where}: {error.strerror or error}") from error
