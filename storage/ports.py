"""The port to a place that holds model files: ``ObjectStore``. Words of storage, no client library's.

Adapters: ``storage.stores.{local,http,s3}``; all pass ``tests/contracts/stores``. Blocking, called from worker
threads; every method is safe to call from several threads. Failures are ``StorageError`` with a reason.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import AbstractContextManager
from dataclasses import dataclass
from typing import Protocol


@dataclass(frozen=True, slots=True)
class Digest:
    """A checksum the source gives: algorithm (md5, sha1, sha256, sha512, crc32) and lower-case hex."""

    algorithm: str
    hex: str


@dataclass(frozen=True, slots=True)
class ObjectInfo:
    """One object. ``path`` is relative to what was asked for; ``version`` changes when the content does ('' unknown)."""

    key: str
    path: str
    size_bytes: int | None
    version: str


class Body(Protocol):
    """Bytes of an object from ``start`` on; ``start`` may be less than asked for (0 where ranges are not known)."""

    start: int
    digests: tuple[Digest, ...]
    """Checksums of the whole object."""

    def read(self) -> bytes:
        """The next bytes as they come, at most 1 MiB; b"" at the end."""
        ...


class ObjectStore(Protocol):
    """Read access to objects by key."""

    def stat(self, key: str) -> ObjectInfo:
        """The object with exactly this key. Raises ``StorageError`` (not found, ...)."""
        ...

    def list(self, prefix: str) -> Iterator[ObjectInfo]:
        """Every object below the folder ``prefix``, in order of key; folders themselves are left out."""
        ...

    def open_range(self, info: ObjectInfo, start: int) -> AbstractContextManager[Body]:
        """The bytes of ``info`` from ``start``. Raises ``StorageError`` (changed) when its version is another by now."""
        ...
