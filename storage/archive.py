"""Unpack a ``.tar``, ``.tar.gz``, ``.tgz`` or ``.zip`` into an empty folder, safely.

Called by ``initializer`` when a source is a single archive. Every member's name and kind is checked before it is
written: no absolute path, no ``..``, no backslash, no device, FIFO or sparse file, no name given twice. Links are
never made: one that points to an earlier member of the archive becomes a copy of it, any other is refused.
Counts, bytes written and the ratio of expansion are bounded (a bomb stops at the bound, not at a full disk).
Modes are ours (0644, 0755), so setuid bits do not survive.

Invariant: nothing outside the folder is ever created or changed, and the folder never holds a link.
"""

from __future__ import annotations

import errno
import gzip
import os
import stat
import tarfile
import zipfile
import zlib
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath
from typing import IO

from storage import uri
from storage.archive_limits import CappedReader, check_zip_directory
from storage.errors import Reason, StorageError

SUFFIXES = (".tar", ".tar.gz", ".tgz", ".zip")
CHUNK_BYTES = 1024 * 1024
MAX_DEPTH = 64
BOUNDED_METHODS = (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED)
"""``zipfile`` expands a read of the others (bzip2, LZMA) whole: a megabyte of them can be gigabytes of memory."""
FREE_RATIO_BYTES = 64 * 1024 * 1024
"""Up to this size any ratio is fine."""


@dataclass(frozen=True, slots=True)
class Limits:
    """Bounds of one archive. ``max_ratio`` is bytes written per byte of the archive."""

    max_bytes: int
    max_members: int
    max_ratio: float = 200.0


def is_archive(name: str) -> bool:
    """Whether a file of this name is unpacked."""
    return name.lower().endswith(SUFFIXES)


def extract(archive: Path, folder: Path, limits: Limits) -> list[str]:
    """Unpack ``archive`` into the empty ``folder``; the relative paths of the files. Raises ``StorageError``."""
    target = _Target(folder, archive.name, limits, archive.stat().st_size)
    try:
        if archive.name.lower().endswith(".zip"):
            _zip(archive, target)
        else:
            _tar(archive, target)
    except (
        tarfile.TarError,
        zipfile.BadZipFile,
        zlib.error,
        gzip.BadGzipFile,
        EOFError,
        NotImplementedError,
    ) as error:
        raise StorageError(
            Reason.INVALID,
            f"{archive.name} is damaged or not the archive its name says ({type(error).__name__})",
        ) from error
    except OSError as error:
        if error.errno != errno.EINVAL or error.filename is not None:
            raise  # of the destination: its caller knows what to say
        raise StorageError(
            Reason.INVALID, f"{archive.name} is damaged: it points to places before its beginning"
        ) from error
    except (ValueError, OverflowError, UnicodeError, MemoryError, RecursionError) as error:
        raise StorageError(
            Reason.INVALID, f"{archive.name} has a malformed member ({type(error).__name__})"
        ) from error
    return sorted(target.files)


@dataclass(slots=True)
class _Target:
    """The folder being filled, with its bounds."""

    folder: Path
    archive: str
    limits: Limits
    archive_bytes: int
    files: set[str] = field(default_factory=set)
    folders: set[str] = field(default_factory=set)
    members: int = 0
    written_bytes: int = 0

    def name(self, raw: str) -> str | None:
        """The member's safe relative path; None for the top folder itself. Counts the member."""
        self.members += 1
        if self.members > self.limits.max_members:
            raise StorageError(
                Reason.TOO_LARGE, f"{self.archive} has more than {self.limits.max_members} members"
            )
        if not raw.strip("./") and not raw.startswith("/") and ".." not in raw:
            return None
        path = uri.relative(raw, f"member of {self.archive}")
        if path.count("/") >= MAX_DEPTH:
            raise StorageError(
                Reason.UNSAFE, f"member {uri.shown(path)!r} of {self.archive} is nested too deeply"
            )
        return path

    def make_folder(self, path: str) -> None:
        for part in [*reversed(PurePosixPath(path).parents), PurePosixPath(path)]:
            name = str(part)
            if name == ".":
                continue
            if name in self.files:
                raise StorageError(
                    Reason.UNSAFE, f"{self.archive}: {uri.shown(name)!r} is both a file and a folder"
                )
            if name not in self.folders:
                self.folders.add(name)
                (self.folder / name).mkdir(mode=0o755, exist_ok=True)

    def write(self, path: str, source: IO[bytes]) -> None:
        """Write one regular file. Raises when a bound is passed or the name was there before."""
        if path in self.files or path in self.folders:
            raise StorageError(Reason.UNSAFE, f"{self.archive} has {uri.shown(path)!r} twice")
        self.make_folder(str(PurePosixPath(path).parent))
        self.files.add(path)
        descriptor = os.open(self.folder / path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW, 0o644)
        with os.fdopen(descriptor, "wb") as file:
            while chunk := source.read(CHUNK_BYTES):
                self.charge(len(chunk))
                file.write(chunk)
            file.flush()
            os.fsync(file.fileno())

    def copy(self, path: str, earlier: str) -> None:
        with (self.folder / earlier).open("rb") as source:
            self.write(path, source)

    def charge(self, count: int) -> None:
        self.written_bytes += count
        limits = self.limits
        if self.written_bytes > limits.max_bytes:
            raise StorageError(
                Reason.TOO_LARGE,
                f"{self.archive} unpacks to more than {limits.max_bytes} bytes, the limit here",
            )
        allowed = max(FREE_RATIO_BYTES, limits.max_ratio * self.archive_bytes)
        if self.written_bytes > allowed:
            raise StorageError(
                Reason.TOO_LARGE,
                f"{self.archive} expands more than {limits.max_ratio:g} times: a compression bomb?",
            )


def _tar(archive: Path, target: _Target) -> None:
    with archive.open("rb") as file:
        is_plain = archive.name.lower().endswith(".tar") and file.read(2) != b"\x1f\x8b"
        file.seek(0)
        stream: IO[bytes] = file if is_plain else gzip.GzipFile(fileobj=file)  # type: ignore[assignment]
        with tarfile.open(fileobj=CappedReader(stream), mode="r:") as tar:
            for member in tar:
                _tar_member(tar, member, target)


def _tar_member(tar: tarfile.TarFile, member: tarfile.TarInfo, target: _Target) -> None:
    path = target.name(member.name)
    if path is None:
        return
    if member.isdir():
        target.make_folder(path)
    elif member.issym() or member.islnk():
        base = PurePosixPath(path).parent if member.issym() else PurePosixPath(".")
        _link(path, base, member.linkname, target)
    elif member.isreg() and not member.issparse():
        if member.size > target.limits.max_bytes - target.written_bytes:
            target.charge(member.size)
        source = tar.extractfile(member)
        if source is None:
            raise StorageError(Reason.INVALID, f"{target.archive}: {uri.shown(path)!r} has no content")
        with source:
            target.write(path, source)
    else:
        kind = "sparse file" if member.issparse() else "device, FIFO or unknown kind"
        raise StorageError(
            Reason.UNSAFE, f"{target.archive}: {uri.shown(path)!r} is a {kind}, which is refused"
        )


def _link(path: str, base: PurePosixPath, link: str, target: _Target) -> None:
    resolved = os.path.normpath(str(base / link)) if not link.startswith("/") else link
    if resolved not in target.files:
        raise StorageError(
            Reason.UNSAFE,
            f"{target.archive}: {uri.shown(path)!r} is a link to {uri.shown(link)!r}, which is not an earlier file of "
            "the archive",
        )
    target.copy(path, resolved)


def _zip(archive: Path, target: _Target) -> None:
    check_zip_directory(archive)
    with zipfile.ZipFile(archive) as opened:
        for member in opened.infolist():
            path = target.name(member.orig_filename if "\\" in member.orig_filename else member.filename)
            if path is None:
                continue
            mode = member.external_attr >> 16
            if member.flag_bits & 0x1:
                raise StorageError(Reason.UNSUPPORTED, f"{target.archive}: {uri.shown(path)!r} is encrypted")
            if mode and not (stat.S_ISREG(mode) or stat.S_ISDIR(mode) or stat.S_IFMT(mode) == 0):
                raise StorageError(
                    Reason.UNSAFE,
                    f"{target.archive}: {uri.shown(path)!r} is a link or device, which is refused",
                )
            if member.is_dir():
                target.make_folder(path)
                continue
            if member.compress_type not in BOUNDED_METHODS:
                raise StorageError(
                    Reason.UNSUPPORTED,
                    f"{target.archive}: {uri.shown(path)!r} is compressed with method {member.compress_type}; "
                    "make the zip with deflate, or as .tar.gz",
                )
            with opened.open(member) as source:
                target.write(path, source)
