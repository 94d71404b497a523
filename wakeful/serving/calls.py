"""One call of a model from admission to answer, and the one timer that ends those that take too long.

``dataplane.submit`` makes a ``Call``; the batcher, a pool job or a task ends it; whoever holds it may ``cancel`` it.
A timer a call would cost more than the call's own bookkeeping, so ``Deadlines`` keeps one for all, set to the earliest.

Invariant: ``done`` is called exactly once, on the loop, never from inside ``submit``, and not at all after ``cancel``.
The place of a call is given back when it has ended and no thread works on it any more.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from wakeful.core.errors import FailureError, FailureKind
from wakeful.core.protocol.oip import InferResponse
from wakeful.core.protocol.oip_shares import Share
from wakeful.core.scaling.batch import Waiting
from wakeful.kit import logs
from wakeful.serving import streams
from wakeful.serving.metrics import Metrics
from wakeful.serving.model import Context
from wakeful.serving.parts import Part
from wakeful.serving.pool import Pool
from wakeful.serving.registry import Entry

log = logs.get("serving")
Done = Callable[[Any], None]
"""Gets what the model answered, or the ``FailureError``."""
WHOLE = frozenset({dict, InferResponse, Share, FailureError, str, bytes})
"""Answers that are certainly no stream."""


class Call(Waiting):
    """One call; event loop only."""

    __slots__ = (
        "_deadlines",
        "_gate",
        "_pool",
        "context",
        "done",
        "is_ended",
        "is_held",
        "model",
        "on_leave",
        "part",
        "payload",
    )

    part: Part
    """Set by the batcher."""

    def __init__(
        self,
        entry: Entry,
        payload: Any,
        context: Context,
        done: Done,
        times: tuple[float, float],
        bounds: Bounds,
    ) -> None:
        self.rows = 1  # here and not by ``Waiting``: one frame less a request
        self.signature = None
        self.arrived, self.deadline = times
        self.model = entry.model.name
        self.payload = payload
        self.context = context
        self.done = done
        self.is_ended = False
        self.is_held = False
        """Whether a thread works on it, which nothing can stop."""
        self.on_leave: Callable[[Call], object] | None = None
        """What to undo when the call ends before its model has answered."""
        self._pool = bounds.pool
        self._gate = entry.gate
        self._gate.under_way += 1
        self._deadlines = bounds.deadlines
        self._deadlines.add(self)

    def finish(self, outcome: Any) -> None:
        """End the call with an answer or a ``FailureError``; nothing where it has ended already."""
        if not self.is_ended:
            if outcome.__class__ not in WHOLE and streams.is_stream(outcome):
                self._gate.follow(outcome)
            self._end()
            self.tell(outcome)

    def cancel(self) -> None:
        """End the call without an answer: its caller has gone."""
        if not self.is_ended:
            self._leave()

    def expire(self, sentence: str) -> None:
        """End the call because its deadline has passed."""
        if not self.is_ended:
            self._leave()
            self.tell(FailureError(FailureKind.DEADLINE, sentence))

    def release(self) -> None:
        """The thread that worked on the call has let go of it."""
        self.is_held = False
        if self.is_ended:
            self._gone()

    def tell(self, outcome: Any) -> None:
        """Give the caller its answer; ``finish`` does it once the call has ended."""
        done, self.done = self.done, _told  # a failure's frames hold this call: no cycle
        try:
            done(outcome)
        except Exception as error:  # an edge's mistake must not cost the other calls of a batch their answers
            log.error("answer not taken", model=self.model, error=f"{type(error).__name__}: {error}"[:500])

    def _leave(self) -> None:
        if self.on_leave is not None:
            self.on_leave(self)
        self._end()

    def _end(self) -> None:
        self.is_ended = True
        self.on_leave = None  # it holds this call: no cycle is left for the collector
        self._deadlines.discard(self)
        if not self.is_held:
            self._gone()

    def _gone(self) -> None:
        self._pool.leave()
        self._gate.leave()


def _told(outcome: Any) -> None:
    """In place of ``done`` once that was asked."""


class Deadlines:
    """The open calls, and one timer for the earliest of their deadlines."""

    def __init__(self, late: Callable[[Call], object]) -> None:
        self._late = late
        self._open: dict[Call, None] = {}
        self._timer: asyncio.TimerHandle | None = None
        self._due = 0.0

    def add(self, call: Call) -> None:
        self._open[call] = None
        if self._timer is None or call.deadline < self._due:
            self._set(call.deadline)

    def discard(self, call: Call) -> None:
        self._open.pop(call, None)

    def _set(self, due: float) -> None:
        if self._timer is not None:
            self._timer.cancel()
        self._due = due
        self._timer = asyncio.get_running_loop().call_at(due, self._ring)

    def _ring(self) -> None:
        self._timer = None
        now = max(asyncio.get_running_loop().time(), self._due)
        for call in [call for call in self._open if call.deadline <= now]:
            self._late(call)
        if self._open and self._timer is None:
            self._set(min(call.deadline for call in self._open))

    def close(self) -> None:
        """Stop the timer: the server ends."""
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None


@dataclass(frozen=True, slots=True)
class Bounds:
    """What bounds every call, places and time, and where it is counted."""

    pool: Pool
    deadlines: Deadlines
    metrics: Metrics
