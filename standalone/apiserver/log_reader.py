"""Reads the log files of a pod's containers: from the end, since an instant, and as they grow.

Called by ``handlers_pods``. The node writes ``D/pods/UID/logs/CONTAINER.log`` (and ``CONTAINER.previous.log`` of the
run before), each line ``TIMESTAMP stdout|stderr F|P TEXT`` as a container runtime does (``P``: the line goes on in the
next), or plain text.
Reads in bounded pieces. Invariant: a line is given once, whole, in file order; rotation starts the new file at its
beginning.
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

PIECE_BYTES = 256 * 1024
MAX_LINE_BYTES = 1024 * 1024
_STAMPED = re.compile(
    rb"^(\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(?:\.\d+)?(?:Z|[+-]\d\d:\d\d)) (?:(?:stdout|stderr) ([FP]) ?)?"
)


@dataclass(frozen=True, slots=True)
class LogQuery:
    """Which lines are wanted."""

    tail_lines: int | None = None
    since_stamp: str = ""
    """RFC 3339 in UTC to the second; lines before it are left out."""
    limit_bytes: int | None = None
    with_timestamps: bool = False


class LogFile:
    """One log file from now on. ``read`` gives what is new; the file may not exist yet."""

    def __init__(self, path: Path, query: LogQuery) -> None:
        self._path = path
        self._query = query
        self._rest = b""
        self._position = 0
        self._inode = 0
        self._left = query.limit_bytes
        self._is_inside = False
        """Whether the last piece was a part (``P``) of a line that goes on."""

    def start(self) -> None:
        """Go to the first wanted line."""
        try:
            with self._path.open("rb") as file:
                self._inode = os.fstat(file.fileno()).st_ino
                if self._query.tail_lines is not None:
                    self._position = _tail_position(file.fileno(), self._query.tail_lines)
        except FileNotFoundError:
            self._position = 0

    def is_exhausted(self) -> bool:
        """Whether ``limitBytes`` is used up."""
        return self._left is not None and self._left <= 0

    def read(self, is_last: bool) -> Iterator[bytes]:
        """Pieces of new lines until the end of the file. With ``is_last`` an unfinished line is given too."""
        try:
            file = self._path.open("rb")
        except FileNotFoundError:
            return
        with file:
            state = os.fstat(file.fileno())
            if state.st_ino != self._inode or state.st_size < self._position:
                self._inode, self._position, self._rest = state.st_ino, 0, b""
            file.seek(self._position)
            while not self.is_exhausted():
                data = file.read(PIECE_BYTES)
                if not data:
                    break
                self._position += len(data)
                *lines, self._rest = (self._rest + data).split(b"\n")
                if len(self._rest) > MAX_LINE_BYTES:
                    lines, self._rest = [*lines, self._rest], b""
                yield from self._give(lines)
        if is_last and self._rest and not self.is_exhausted():
            lines, self._rest = [self._rest], b""
            yield from self._give(lines)

    def _give(self, lines: list[bytes]) -> Iterator[bytes]:
        shown = b"".join(line for line in map(self._show, lines) if line is not None)
        if self._left is not None:
            shown = shown[: self._left]
            self._left -= len(shown)
        if shown:
            yield shown

    def _show(self, line: bytes) -> bytes | None:
        found = _STAMPED.match(line)
        if found is None:
            return line + b"\n"
        if self._query.since_stamp and found[1].decode() < self._query.since_stamp:
            return None
        is_first, self._is_inside = not self._is_inside, found[2] == b"P"
        text = line[found.end() :] + (b"" if self._is_inside else b"\n")
        return found[1] + b" " + text if self._query.with_timestamps and is_first else text


def _tail_position(descriptor: int, lines: int) -> int:
    """Where the last ``lines`` lines begin, read backwards in pieces."""
    end = os.fstat(descriptor).st_size
    if lines == 0 or end == 0:
        return end
    wanted = lines
    position = end
    if os.pread(descriptor, 1, end - 1) != b"\n":
        wanted -= 1
    while position > 0:
        start = max(0, position - PIECE_BYTES)
        piece = os.pread(descriptor, position - start, start)
        found = piece.count(b"\n")
        if found > wanted:
            index = len(piece)
            for _ in range(wanted + 1):
                index = piece.rindex(b"\n", 0, index)
            return start + index + 1
        wanted -= found
        position = start
    return 0
