"""A container's log file in the CRI format, with rotation: ``<RFC3339Nano> <stdout|stderr> <F|P> <text>``.

Used inside the shim, read by the API server for ``kubectl logs``. When a container starts again, and at
``max_bytes``, the file becomes ``CONTAINER.previous.log`` (one generation is kept). A line longer than 16 KiB is written in parts tagged ``P``.
Invariant: memory is bounded by one part per stream; a disk that is full loses output but never the container.
"""

from __future__ import annotations

import contextlib
import os
import time
from pathlib import Path

PART_BYTES = 16 * 1024


class LogWriter:
    """Appends to one file. Synchronous, single owner."""

    def __init__(self, path: Path, max_bytes: int) -> None:
        self._path = path
        self._max_bytes = max_bytes
        self._rest = {"stdout": b"", "stderr": b""}
        path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        with contextlib.suppress(OSError):
            self._keep()
        self._open()

    def write(self, stream: str, data: bytes) -> None:
        """Take output as it comes; complete lines are written at once."""
        *lines, rest = (self._rest[stream] + data).split(b"\n")
        stamp = _now()
        out = [_part(stamp, stream, line) for line in lines]
        while len(rest) >= PART_BYTES:
            out.append(b"%s %s P %s\n" % (stamp, stream.encode(), rest[:PART_BYTES]))
            rest = rest[PART_BYTES:]
        self._rest[stream] = rest
        if out:
            self._append(b"".join(out))

    def close(self) -> None:
        """Write what is left without a newline at its end."""
        for stream, rest in self._rest.items():
            if rest:
                self._append(_part(_now(), stream, rest))
        os.close(self._descriptor)

    def _append(self, data: bytes) -> None:
        try:
            if self._size and self._size + len(data) > self._max_bytes:
                self._rotate()
            self._size += os.write(self._descriptor, data)
        except OSError:
            return

    def _rotate(self) -> None:
        """Go on in a new file. The old one stays open until there is one: a closed number is soon somebody else's."""
        before = self._descriptor
        with contextlib.suppress(FileNotFoundError):  # somebody removed the file, to make room perhaps
            self._keep()
        self._open()
        os.close(before)

    def _keep(self) -> None:
        """What is there, of the run before or of too much output, becomes the previous log."""
        self._path.replace(self._path.with_name(f"{self._path.stem}.previous.log"))

    def _open(self) -> None:
        self._descriptor = os.open(self._path, os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC, 0o600)
        self._size = os.fstat(self._descriptor).st_size


def _part(stamp: bytes, stream: str, line: bytes) -> bytes:
    """One finished line, in parts where it is long."""
    parts = []
    while len(line) > PART_BYTES:
        parts.append(b"%s %s P %s\n" % (stamp, stream.encode(), line[:PART_BYTES]))
        line = line[PART_BYTES:]
    parts.append(b"%s %s F %s\n" % (stamp, stream.encode(), line))
    return b"".join(parts)


def _now() -> bytes:
    seconds, nanos = divmod(time.time_ns(), 1_000_000_000)
    return time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(seconds)).encode() + b".%09dZ" % nanos
