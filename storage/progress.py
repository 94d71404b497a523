"""Progress lines of one download, and the bound on bytes while it runs. Thread-safe.

Used by ``initializer``; ``add`` is called for every chunk. A line at most every ``PERIOD_S``, so that a log stays short
and somebody who waits sees that something happens. Invariant: the bytes counted are those on disk, restarts included.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Sequence

from storage.errors import Reason, StorageError
from storage.ports import ObjectInfo
from wakeful.kit import logs

PERIOD_S = 5.0

log = logs.get("storage")


class Progress:
    """Counts the bytes of one source."""

    def __init__(self, shown: str, objects: Sequence[ObjectInfo], limit_bytes: int) -> None:
        sizes = [info.size_bytes for info in objects]
        self._shown = shown
        self._total = None if None in sizes else sum(size or 0 for size in sizes)
        self._limit_bytes = limit_bytes
        self._bytes = 0
        self._started = time.monotonic()
        self._next = self._started + PERIOD_S
        self._lock = threading.Lock()
        log.info("downloading", source=shown, files=len(objects), bytes=self._total)

    def add(self, count: int) -> None:
        """Count ``count`` more bytes. Raises ``StorageError`` when more came than may be written here."""
        with self._lock:
            self._bytes += count
            if self._bytes > self._limit_bytes:
                raise StorageError(
                    Reason.TOO_LARGE,
                    f"{self._shown}: more than {self._limit_bytes} bytes, which is the limit or the free space",
                )
            now = time.monotonic()
            if now < self._next:
                return
            self._next = now + PERIOD_S
            done = self._bytes
        rate = done / max(now - self._started, 1e-3) / 1e6
        log.info(
            "downloading", source=self._shown, bytes_done=done, bytes=self._total, mb_per_s=round(rate, 1)
        )

    def done(self, files: int) -> None:
        """Say that the source is in place."""
        elapsed_s = time.monotonic() - self._started
        log.info("complete", source=self._shown, files=files, bytes=self._bytes, seconds=round(elapsed_s, 3))
