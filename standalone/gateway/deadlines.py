"""The three timeouts of a request (spec 3.7) on one timer: whole duration, first byte, silence.

The passage of a request makes one, tells it of writes, and finds ``expired`` set when its task is cancelled by it.
Time spent waiting for a pod counts. Invariant: after ``stop`` the task is not cancelled by it any more.
"""

from __future__ import annotations

import asyncio

from standalone.gateway.podview import RevisionView


class Deadlines:
    """The timer of one request."""

    __slots__ = (
        "_handle",
        "_idle_s",
        "_loop",
        "_response_start_s",
        "_started",
        "_task",
        "_timeout_s",
        "_wrote",
        "expired",
    )

    def __init__(self, task: asyncio.Task[None], started: float) -> None:
        self._task = task
        self._loop = asyncio.get_running_loop()
        self._started = started
        self._wrote: float | None = None
        self._handle: asyncio.TimerHandle | None = None
        self._timeout_s = self._response_start_s = self._idle_s = 0.0
        self.expired = False

    def arm(self, timeout_s: float, response_start_s: float = 0.0, idle_s: float = 0.0) -> None:
        """Set the limits, counted from the request's start; 0 is off."""
        self._timeout_s, self._response_start_s, self._idle_s = timeout_s, response_start_s, idle_s
        self._plan()

    def arm_for(self, view: RevisionView) -> None:
        """Set the limits of a revision."""
        self.arm(view.timeout_s, view.response_start_s, view.idle_s)

    @property
    def watches_writes(self) -> bool:
        """``wrote`` matters."""
        return self._idle_s > 0

    def wrote(self) -> None:
        """Something of the answer was written, its headers included."""
        self._wrote = self._loop.time()

    def stop(self) -> None:
        if self._handle is not None:
            self._handle.cancel()
            self._handle = None

    def _next(self) -> float:
        due = self._started + self._timeout_s
        if self._response_start_s and self._wrote is None:
            due = min(due, self._started + self._response_start_s)
        if self._idle_s:
            due = min(due, (self._started if self._wrote is None else self._wrote) + self._idle_s)
        return due

    def _plan(self) -> None:
        self.stop()
        self._handle = self._loop.call_at(self._next(), self._fire)

    def _fire(self) -> None:
        if self._loop.time() < self._next():
            self._plan()
            return
        self._handle = None
        self.expired = True
        self._task.cancel()
