"""Copies of streamed answers for those who observe them: bounded for each answer, and for all at once.

``observing`` (HTTP) and ``grpc_stream`` put every part in as it is sent, and take a whole ``Reply`` out at the end. Nothing is
copied where no observer looks into bodies. Left out: answers that are whole already.

Invariant: the copies of all answers under way never exceed ``all_bytes``; what was not kept still counts in its length.
"""

from __future__ import annotations

from dataclasses import dataclass

from wakeful.serving.exchange import Buffer, Reply

ALL_BYTES = 32 << 20


@dataclass(slots=True)
class CutReply(Reply):
    """A reply as observers see it whose body was too long for them."""

    omitted_bytes: int = 0
    """How long it was; 0: nothing is left out."""


def length(reply: Reply) -> int | None:
    """Bytes of an answer's body, also where observers do not get it; None where that is not known."""
    if isinstance(reply, CutReply) and reply.omitted_bytes:
        return reply.omitted_bytes
    if isinstance(reply.body, tuple):
        return sum(map(len, reply.body))
    return len(reply.body) if isinstance(reply.body, bytes) else None


class Keeping:
    """How much one server keeps. Event loop only."""

    __slots__ = ("all_bytes", "answer_bytes", "kept_bytes")

    def __init__(self, answer_bytes: int, all_bytes: int = ALL_BYTES) -> None:
        self.answer_bytes = answer_bytes
        """Of one answer; 0: nothing, only its length."""
        self.all_bytes = all_bytes
        self.kept_bytes = 0


class Kept:
    """One answer's copy. ``take`` or ``drop`` it at the end."""

    __slots__ = ("_keeping", "_kept_bytes", "_parts", "size")

    def __init__(self, keeping: Keeping) -> None:
        self._keeping = keeping
        self._parts: list[Buffer] | None = [] if keeping.answer_bytes else None
        self._kept_bytes = 0
        self.size = 0
        """Bytes so far, kept or not."""

    def add(self, *parts: Buffer) -> None:
        """One part more. It is copied: a model may use its buffer again for the next."""
        size = sum(map(len, parts))
        self.size += size
        if self._parts is None:
            return
        keeping = self._keeping
        if self.size > keeping.answer_bytes or keeping.kept_bytes + size > keeping.all_bytes:
            self.drop()
            return
        self._kept_bytes += size
        keeping.kept_bytes += size
        self._parts.append(parts[0] if len(parts) == 1 and type(parts[0]) is bytes else b"".join(parts))

    def drop(self) -> None:
        """Keep nothing of it any more."""
        self._parts = None
        self._keeping.kept_bytes -= self._kept_bytes
        self._kept_bytes = 0

    def take(self, status: int, headers: dict[str, str]) -> Reply:
        """The answer as observers see it; the copy is theirs now."""
        parts = self._parts
        self.drop()
        if parts is None:
            return CutReply(status, headers, b"", self.size)
        return Reply(status, headers, b"".join(parts))
