"""Download one object into one file: resumed, verified, bounded in time; finished files get their final name.

Called by ``initializer`` from worker threads. Bytes go to ``part`` and are hashed on the way; after a broken
connection the next try continues at its end (the store says where it really starts). Checks at the end: size,
then every checksum the source gave. A transfer slower than ``stall_bytes`` in ``stall_s`` is stalled.

Invariant: ``file`` is complete and matched its checksums when it was renamed from ``part``, which is elsewhere, so
that no object's own name can be taken for a part.
"""

from __future__ import annotations

import hashlib
import os
import random
import time
import zlib
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import BinaryIO, Protocol

from storage.errors import Reason, StorageError
from storage.place import writing
from storage.ports import Body, Digest, ObjectInfo, ObjectStore
from storage.settings import Settings

MAX_ATTEMPTS_IN_ALL = 30


class _Hash(Protocol):
    def update(self, data: bytes, /) -> None: ...
    def hexdigest(self) -> str: ...


class _Crc32:
    def __init__(self) -> None:
        self._value = 0

    def update(self, data: bytes, /) -> None:
        self._value = zlib.crc32(data, self._value)

    def hexdigest(self) -> str:
        return f"{self._value:08x}"


@dataclass(slots=True)
class Transfer:
    """One object on its way. ``on_bytes`` hears how many more bytes are here (negative after a restart); may raise."""

    store: ObjectStore
    info: ObjectInfo
    file: Path
    part: Path
    settings: Settings
    on_bytes: Callable[[int], None]
    clock: Callable[[], float] = time.monotonic
    pause: Callable[[float], None] = time.sleep
    _reported: int = field(default=0, init=False)

    def run(self) -> None:
        """Fetch until complete. Raises ``StorageError`` after ``attempts`` tries in a row without progress."""
        if self.file.is_file() and self.info.size_bytes == self.file.stat().st_size and self.info.version:
            self._report(self.file.stat().st_size)
            return
        failures = 0
        for _ in range(MAX_ATTEMPTS_IN_ALL):
            before = self._part_bytes()
            try:
                self._attempt()
                return
            except StorageError as error:
                if not error.is_retryable:
                    raise
                if error.reason in (Reason.CHECKSUM, Reason.CHANGED):
                    self.part.unlink(missing_ok=True)
                failures = 0 if self._part_bytes() > before else failures + 1
                if failures >= self.settings.attempts or error.reason is Reason.CHANGED:
                    raise
                self.pause(self.settings.retry_s * 2 ** min(failures, 6) * random.uniform(0.5, 1.0))
        raise StorageError(
            Reason.UNAVAILABLE, f"{self.info.path}: gave up after {MAX_ATTEMPTS_IN_ALL} broken connections"
        )

    def _part_bytes(self) -> int:
        return self.part.stat().st_size if self.part.exists() else 0

    def _attempt(self) -> None:
        have = self._part_bytes() if self.info.version else 0
        if self.info.size_bytes is not None and have > self.info.size_bytes:
            have = 0
        with self.store.open_range(self.info, have) as body:
            if body.start > have:
                raise StorageError(Reason.UNAVAILABLE, f"{self.info.path}: the server skipped bytes")
            with writing(self.part.parent):
                self._receive(body)
        with writing(self.part.parent):
            self.part.replace(self.file)

    def _report(self, size: int) -> None:
        change, self._reported = size - self._reported, size
        self.on_bytes(change)

    def _receive(self, body: Body) -> None:
        hashes: dict[Digest, _Hash] = {digest: _hash(digest.algorithm) for digest in body.digests}
        with self.part.open("r+b" if self.part.exists() else "w+b") as file:
            size = _rehash(file, body.start, hashes)
            file.truncate(size)
            limit = self.info.size_bytes
            self._report(size)
            window_from, window_bytes = self.clock(), 0
            while chunk := body.read():
                size += len(chunk)
                if limit is not None and size > limit:
                    raise StorageError(
                        Reason.CHANGED, f"{self.info.path}: more bytes than announced ({limit})"
                    )
                file.write(chunk)
                for hasher in hashes.values():
                    hasher.update(chunk)
                self._report(size)
                window_bytes += len(chunk)
                elapsed = self.clock() - window_from
                if elapsed >= self.settings.stall_s:
                    if window_bytes < self.settings.stall_bytes:
                        raise StorageError(
                            Reason.STALLED,
                            f"{self.info.path}: only {window_bytes} bytes came in {elapsed:.0f} s",
                        )
                    window_from, window_bytes = self.clock(), 0
            file.flush()
            os.fsync(file.fileno())
        if limit is not None and size != limit:
            raise StorageError(
                Reason.UNAVAILABLE, f"{self.info.path}: the connection ended at {size} of {limit} bytes"
            )
        for digest, hasher in hashes.items():
            if hasher.hexdigest() != digest.hex:
                raise StorageError(
                    Reason.CHECKSUM,
                    f"{self.info.path}: {digest.algorithm} does not match what the source announced",
                )


def _rehash(file: BinaryIO, upto: int, hashes: dict[Digest, _Hash]) -> int:
    """Feed the first ``upto`` bytes of ``file`` to the hashes; its position is then ``upto``."""
    left = upto
    file.seek(0)
    while left and hashes:
        chunk = file.read(min(left, 1024 * 1024))
        if not chunk:
            break
        left -= len(chunk)
        for hasher in hashes.values():
            hasher.update(chunk)
    file.seek(upto)
    return upto


def _hash(algorithm: str) -> _Hash:
    if algorithm == "crc32":
        return _Crc32()
    return hashlib.new(algorithm, usedforsecurity=False)
