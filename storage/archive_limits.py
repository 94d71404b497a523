"""What must be bounded before Python's archive modules see a file: their reads of headers and directories.

Used by ``archive``. ``tarfile`` reads an extended header whole, however long it claims to be; ``zipfile`` reads the
central directory whole. Both would let a small archive take gigabytes of memory.

Invariant: no single read asked for by ``tarfile`` is larger than ``MAX_READ_BYTES``, and no directory read by
``zipfile`` larger than ``MAX_DIRECTORY_BYTES``.
"""

from __future__ import annotations

import io
import struct
from pathlib import Path
from typing import IO

from storage.errors import Reason, StorageError

MAX_READ_BYTES = 1024 * 1024
MAX_DIRECTORY_BYTES = 16 * 1024 * 1024
_END, _END64 = b"PK\x05\x06", b"PK\x06\x06"
_TAIL_BYTES = 65535 + 22 + 128


class CappedReader(io.RawIOBase):
    """A readable, seekable view of ``stream`` that refuses large single reads."""

    def __init__(self, stream: IO[bytes]) -> None:
        super().__init__()
        self._stream = stream

    def readable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return True

    def tell(self) -> int:
        return self._stream.tell()

    def seek(self, offset: int, whence: int = 0) -> int:
        return self._stream.seek(offset, whence)

    def read(self, size: int = -1) -> bytes:
        if not 0 <= size <= MAX_READ_BYTES:
            raise StorageError(
                Reason.UNSAFE, f"the archive has a header of {size} bytes, more than any real one"
            )
        return self._stream.read(size)


def check_zip_directory(archive: Path) -> None:
    """Raise ``StorageError`` when the zip's central directory claims to be larger than ``MAX_DIRECTORY_BYTES``."""
    with archive.open("rb") as file:
        size = file.seek(0, io.SEEK_END)
        file.seek(max(0, size - _TAIL_BYTES))
        tail = file.read()
    end = tail.rfind(_END)
    if end < 0 or len(tail) - end < 22:
        raise StorageError(Reason.INVALID, f"{archive.name} is damaged or not a zip file")
    claimed = int(struct.unpack_from("<I", tail, end + 12)[0])
    end64 = tail.rfind(_END64, 0, end)
    if end64 >= 0 and end - end64 >= 56:
        claimed = max(
            0 if claimed == 0xFFFFFFFF else claimed, int(struct.unpack_from("<Q", tail, end64 + 40)[0])
        )
    if claimed > MAX_DIRECTORY_BYTES:
        raise StorageError(
            Reason.TOO_LARGE,
            f"{archive.name}: a directory of {claimed} bytes; at most {MAX_DIRECTORY_BYTES} are read",
        )
