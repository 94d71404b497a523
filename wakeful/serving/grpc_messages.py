"""gRPC's messages in a stream of bytes: a flag, a length, the message; compressed or not.

One ``Unframer`` a call. Source: gRPC over HTTP/2, "Length-Prefixed-Message". Memory is charged on the server's budget
as a message that came in pieces grows; one that came whole is a view of what was received. Worked number:
``00 00 00 00 05`` begins a plain message of five bytes.

Invariant: nothing over ``limit`` is ever held, whatever length a prefix claims and whatever a compressed one holds.
"""

from __future__ import annotations

import zlib

from wakeful.core.errors import InvalidError
from wakeful.serving.grpc_status import TooLargeError
from wakeful.serving.http_body import Budget, WireError
from wakeful.serving.wire import coding

Buffer = bytes | bytearray | memoryview
PREFIX_BYTES = 5
LONG_BYTES = 64 * 1024
"""Messages from here on are compressed and inflated in a thread."""
JOIN_BYTES = 16 * 1024
"""Answers below this go out as one bytes object."""
ENCODINGS = frozenset({"identity", "gzip", "deflate"})


class Unframer:
    """The messages of one call, taken out of its body one by one."""

    __slots__ = (
        "_budget",
        "_buffer",
        "_charged",
        "_coding",
        "_missing",
        "_parts",
        "_start",
        "_taken",
        "_whole",
        "limit",
    )

    def __init__(self, limit: int, coding: str, budget: Budget) -> None:
        self.limit = limit
        self._coding = coding
        self._budget = budget
        self._whole: Buffer | None = None
        """A message that came alone and whole, the usual case: a view of what was received."""
        self._buffer: bytearray | None = None
        self._parts: list[Buffer] = []
        """The rest of a long message as it comes, joined once at its end: a buffer that grows is copied again and again."""
        self._missing = 0
        """How much of that is to come yet."""
        self._start = 0
        self._taken = 0
        self._charged = 0

    def put(self, data: Buffer) -> None:
        """More of the body. Raises ``FailureError``: too large by its prefix, or no memory left for it (overloaded)."""
        if self._missing:
            self._go_on(data)
            return
        if self._buffer is None:
            size = len(data)
            if (
                self._whole is None
                and size >= PREFIX_BYTES
                and not data[0]
                and int.from_bytes(data[1:PREFIX_BYTES], "big") == size - PREFIX_BYTES <= self.limit
            ):
                self._whole = memoryview(data)[PREFIX_BYTES:]
                return
            self._buffer = bytearray()
            if self._whole is not None:
                self._append(prefix(len(self._whole)))
                self._append(self._whole)
                self._whole = None
        self._append(data)
        start, left = self._start, len(self._buffer) - self._start
        if left >= PREFIX_BYTES:
            length = int.from_bytes(self._buffer[start + 1 : start + PREFIX_BYTES], "big")
            self._check(length)
            if not start and length >= LONG_BYTES:
                self._missing = max(0, PREFIX_BYTES + length - left)

    def _go_on(self, data: Buffer) -> None:
        self._charge(len(data))
        self._parts.append(bytes(data))  # a view would keep all that was received with it
        self._missing -= len(data)
        if self._missing <= 0:
            self._missing = 0
            parts, self._parts = self._parts, []
            assert self._buffer is not None
            self._buffer = bytearray().join((self._buffer, *parts))

    def _check(self, length: int) -> None:
        if length > self.limit:
            raise TooLargeError(_too_large(f"of {length} bytes", self.limit))

    @property
    def has_several(self) -> bool:
        """More than one message has begun."""
        buffer = self._buffer
        if buffer is None or len(buffer) < PREFIX_BYTES:
            return False
        return len(buffer) > PREFIX_BYTES + int.from_bytes(buffer[1:PREFIX_BYTES], "big")

    def take(self) -> Buffer | None:
        """The next message, None where it is not complete. Raises ``FailureError``: too large, or compressed wrongly."""
        framed = self.take_framed()
        if framed is None:
            return None
        flag, message = framed
        return self.keep(self.inflate(flag, message)) if flag else message

    def take_framed(self) -> tuple[int, Buffer] | None:
        """As ``take``, with the flag, and compressed still: for ``inflate`` (in a thread) and ``keep``."""
        if self._whole is not None:
            whole, self._whole = self._whole, None
            return 0, whole
        buffer = self._buffer
        if buffer is None:
            return None
        self._release(self._taken)
        self._taken = 0
        start, left = self._start, len(buffer) - self._start
        if left < PREFIX_BYTES:
            return None
        flag, length = buffer[start], int.from_bytes(buffer[start + 1 : start + PREFIX_BYTES], "big")
        self._check(length)
        framed = PREFIX_BYTES + length
        if left < framed:
            return None
        self._taken += framed
        if left == framed and not start:
            message: Buffer = memoryview(buffer)[PREFIX_BYTES:]
            self._buffer = None
        else:
            message = bytes(memoryview(buffer)[start + PREFIX_BYTES : start + framed])
            self._start += framed
            if self._start * 2 > len(buffer):
                del buffer[: self._start]
                self._start = 0
                if not buffer:
                    self._buffer = None
        return flag, message

    @property
    def has_rest(self) -> bool:
        """A message is begun or waits to be taken."""
        return self._buffer is not None or self._whole is not None

    def release(self) -> None:
        """Give the budget back; the messages are not needed any more."""
        self._release(self._charged)

    def _append(self, data: Buffer) -> None:
        assert self._buffer is not None
        self._charge(len(data))
        self._buffer += data

    def _charge(self, size: int) -> None:
        self._budget.charge(size)
        self._charged += size

    def _release(self, size: int) -> None:
        if size:
            self._budget.release(size)
            self._charged -= size

    def inflate(self, flag: int, message: Buffer) -> Buffer:
        """A message as it was before its compression; any thread. Raises ``FailureError``."""
        if flag == 0:
            return message
        if flag != 1:
            raise InvalidError(f"a message begins with {flag}: gRPC's flag is 0 or 1 (compressed)")
        if not self._coding:
            raise InvalidError("a message is compressed, but the call named no grpc-encoding")
        try:
            return coding.inflate(bytes(message), self._coding, self.limit)
        except WireError as error:
            if error.status == 413:
                raise TooLargeError(_too_large("that is larger once inflated", self.limit)) from error
            raise InvalidError(f"a message cannot be read: it is not {self._coding}: {error}") from error

    def keep(self, inflated: Buffer) -> Buffer:
        """Charge what a message has become. Raises ``FailureError`` (overloaded)."""
        self._charge(len(inflated))
        self._taken += len(inflated)
        return inflated


def _too_large(what: str, limit: int) -> str:
    return f"a message {what}: this server takes {limit} (--grpc_max_receive_message_length)"


def prefix(size: int, *, is_compressed: bool = False) -> bytes:
    """What comes before a message of ``size`` bytes."""
    return (b"\1" if is_compressed else b"\0") + size.to_bytes(4, "big")


def compressed(message: bytes, name: str) -> bytes:
    """``message`` in ``gzip`` or ``deflate`` (zlib's form)."""
    window = 31 if name == "gzip" else 15
    deflater = zlib.compressobj(1, zlib.DEFLATED, window)
    return deflater.compress(message) + deflater.flush()
