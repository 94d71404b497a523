"""Files of this machine as an ``ObjectStore``: ``file:///path`` and absolute paths, only below given roots.

Links are followed only while they stay inside a root, so that neither ``file:///etc/shadow`` nor a link to it is read.
Invariant: every opened file is a regular file whose real path is below a root.
"""

from __future__ import annotations

import os
import stat
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO

from storage import uri
from storage.errors import Reason, StorageError
from storage.ports import Digest, ObjectInfo

CHUNK_BYTES = 1024 * 1024


class LocalStore:
    """Keys are absolute paths."""

    def __init__(self, roots: Sequence[Path]) -> None:
        self._roots = [Path(os.path.realpath(root)) for root in roots]

    def stat(self, key: str) -> ObjectInfo:
        path = self._inside(Path(key))
        found = self._stat(path, key)
        if not stat.S_ISREG(found.st_mode):
            raise StorageError(Reason.NOT_FOUND, f"{key} is not a regular file")
        return _info(key, path.name, found)

    def list(self, prefix: str) -> Iterator[ObjectInfo]:
        top = self._inside(Path(prefix))
        if not stat.S_ISDIR(self._stat(top, prefix).st_mode):
            return
        for folder, folders, names in os.walk(top):
            folders.sort()
            for name in sorted(names):
                path = self._inside(Path(folder) / name)
                found = self._stat(path, str(path))
                if stat.S_ISREG(found.st_mode):
                    shown = Path(folder) / name
                    yield _info(str(shown), uri.relative(shown.relative_to(top).as_posix(), "file"), found)

    @contextmanager
    def open_range(self, info: ObjectInfo, start: int) -> Iterator[_FileBody]:
        path = self._inside(Path(info.key))
        try:
            file = path.open("rb", buffering=0)
        except OSError as error:
            raise _failure(info.key, error) from error
        with file:
            if _info(info.key, info.path, os.fstat(file.fileno())).version != info.version:
                raise StorageError(Reason.CHANGED, f"{info.key} changed while it was being read")
            file.seek(start)
            yield _FileBody(file, start)

    def _inside(self, path: Path) -> Path:
        real = Path(os.path.realpath(path))
        if any(real.is_relative_to(root) for root in self._roots):
            return real
        roots = ":".join(str(root) for root in self._roots) or "none"
        raise StorageError(
            Reason.ACCESS_DENIED,
            f"{path} is outside the folders that may be read ({roots}): on one machine start wakeful up with "
            "--local-models FOLDER, elsewhere set STORAGE_LOCAL_ROOTS of the initializer",
        )

    def _stat(self, path: Path, key: str) -> os.stat_result:
        try:
            return path.stat()
        except OSError as error:
            raise _failure(key, error) from error


class _FileBody:
    digests: tuple[Digest, ...] = ()

    def __init__(self, file: BinaryIO, start: int) -> None:
        self.start = start
        self._file = file

    def read(self) -> bytes:
        try:
            return self._file.read(CHUNK_BYTES)
        except OSError as error:
            raise StorageError(Reason.UNAVAILABLE, f"reading failed: {error.strerror}") from error


def _info(key: str, path: str, found: os.stat_result) -> ObjectInfo:
    return ObjectInfo(key, path, found.st_size, f"{found.st_mtime_ns}-{found.st_ino}-{found.st_size}")


def _failure(key: str, error: OSError) -> StorageError:
    match error:
        case FileNotFoundError() | NotADirectoryError():
            return StorageError(Reason.NOT_FOUND, f"{key} does not exist")
        case PermissionError():
            return StorageError(Reason.ACCESS_DENIED, f"{key} may not be read by this user")
        case _:
            return StorageError(Reason.UNAVAILABLE, f"{key} cannot be read: {error.strerror}")
