"""When a batch closes, who is in it, and whether it may run on the event loop.

``wakeful.serving.batcher`` owns one ``BatchQueue`` and one ``Pace`` a model. Calls wait in groups of one signature, and
groups never mix. A model that is free takes at once what waits (no delay is added): under load calls gather by
themselves while it is busy. With ``max_latency_s`` above 0 a group waits for company that long, or until it is full.
The group whose first call is the oldest goes first, so no signature starves another.

Worked number: 64 calls of 2 rows wait, ``max_rows`` is 100: 50 calls go, for 100 rows; 14 stay.

Invariant: a call is in the queue until it is taken, late or discarded, and leaves it once.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Hashable
from dataclasses import dataclass
from enum import StrEnum
from typing import Generic, TypeVar


class BatchReason(StrEnum):
    """Why a batch closed."""

    FREE = "free"
    """The model was free and took what waited."""
    FULL = "full"
    """As many rows as one call may have."""
    LATENCY = "latency"
    """Its first call had waited ``max_latency_s``."""


class Waiting:
    """What a queue knows of a call; the shell's call is a subclass."""

    __slots__ = ("arrived", "deadline", "rows", "signature")

    def __init__(self, rows: int, signature: Hashable, arrived: float, deadline: float) -> None:
        self.rows = rows
        self.signature = signature
        """None: it goes alone."""
        self.arrived = arrived
        """Monotonic seconds, as ``deadline``, after which nobody waits for its answer."""
        self.deadline = deadline


W = TypeVar("W", bound=Waiting)


@dataclass(frozen=True, slots=True)
class Batch(Generic[W]):
    """Calls to answer together, and those found late."""

    calls: list[W]
    late: list[W]
    rows: int
    reason: BatchReason


@dataclass(frozen=True, slots=True)
class Hold:
    """Nothing closes before ``until`` unless a call arrives."""

    until: float


class BatchQueue(Generic[W]):
    """Calls that wait for one model. Single owner."""

    def __init__(self, max_rows: int, max_latency_s: float = 0.0) -> None:
        self.max_rows = max_rows
        self.max_latency_s = max_latency_s
        self._groups: dict[Hashable, deque[W]] = {}
        self._rows: dict[Hashable, int] = {}

    def __len__(self) -> int:
        return sum(map(len, self._groups.values()))

    def add(self, call: W) -> None:
        """Let ``call`` wait."""
        key = call if call.signature is None or call.rows >= self.max_rows else call.signature
        group = self._groups.get(key)
        if group is None:
            group = self._groups[key] = deque()
            self._rows[key] = 0
        group.append(call)
        self._rows[key] += call.rows

    def discard(self, call: W) -> bool:
        """Take ``call`` out, whose caller has gone; whether it was waiting."""
        for key in (call.signature, call):
            group = self._groups.get(key)
            if group is not None and call in group:
                group.remove(call)
                self._took(key, call.rows)
                return True
        return False

    def take(self, now: float) -> Batch[W] | Hold | None:
        """The next batch, or until when to hold, or None where nothing waits."""
        best: Hashable | None = None
        oldest = hold_until = float("inf")
        for key, group in self._groups.items():
            arrived = group[0].arrived
            if self._is_closing(key, group[0], now):
                if arrived < oldest:
                    best, oldest = key, arrived
            else:
                hold_until = min(hold_until, arrived + self.max_latency_s)
        if best is None:
            return Hold(hold_until) if self._groups else None
        return self._close(best, now)

    def _is_closing(self, key: Hashable, first: W, now: float) -> bool:
        return (
            self.max_latency_s <= 0.0
            or key is first
            or self._rows[key] >= self.max_rows
            or now - first.arrived >= self.max_latency_s
            or now >= first.deadline
        )

    def _close(self, key: Hashable, now: float) -> Batch[W]:
        group = self._groups[key]
        calls: list[W] = []
        late: list[W] = []
        rows = taken = 0
        while group and (not rows or rows + group[0].rows <= self.max_rows):
            call = group.popleft()
            taken += call.rows
            if now >= call.deadline:
                late.append(call)
            else:
                calls.append(call)
                rows += call.rows
        self._took(key, taken)
        if group or rows >= self.max_rows:
            reason = BatchReason.FULL
        else:
            reason = BatchReason.LATENCY if self.max_latency_s > 0.0 else BatchReason.FREE
        return Batch(calls, late, rows, reason)

    def _took(self, key: Hashable, rows: int) -> None:
        self._rows[key] -= rows
        if not self._groups[key]:
            del self._groups[key], self._rows[key]


BRIEF_S = 0.002
"""What the event loop may be held up by one call of a model: less than it takes to notice at a probe."""
LONG_S = 0.005
"""From here on several calls of one model at once are worth their threads (the interpreter's own switch interval)."""
WEIGHT = 0.2


class Pace:
    """How long a model takes for how many rows, as measured; sizes are known by their power of two.

    Worked number: after one call of 100 rows in 0.4 ms, calls of 64 to 127 rows are brief; 128 are unknown.
    """

    def __init__(self) -> None:
        self._seconds: dict[int, float] = {}

    def observe(self, rows: int, seconds: float) -> None:
        """One measured call (exponentially weighted, 0.2 to the new one)."""
        size = rows.bit_length()
        before = self._seconds.get(size)
        self._seconds[size] = seconds if before is None else before + WEIGHT * (seconds - before)

    def is_brief(self, rows: int) -> bool:
        """Whether a call of ``rows`` rows is known to take less than ``BRIEF_S``."""
        return self._seconds.get(rows.bit_length(), BRIEF_S) < BRIEF_S

    def is_long(self, rows: int) -> bool:
        """Whether a call of ``rows`` rows is known to take ``LONG_S`` or more."""
        return self._seconds.get(rows.bit_length(), 0.0) >= LONG_S
