"""One stream on its way to the client: the engine's events, measured, bounded in time, and closed whatever happens.

``openai_edge`` makes a ``Relay`` once the first event is there (a failure before it is an ordinary error answer). A
class and not a generator: a generator that was never started does not run its ``finally``, and the stream's place
would be lost when a client leaves at that moment.

Invariants: ``close`` of the engine's stream and ``on_end`` are called exactly once; after a failure the client gets
an event with the error and then ``[DONE]``, never a cut line.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass
from typing import Any

from wakeful.core.errors import FailureError, FailureKind
from wakeful.core.protocol import openai_answers, openai_errors
from wakeful.kit import logs

log = logs.get("serving")


@dataclass(frozen=True, slots=True)
class Watch:
    """What is done about a stream beside sending it."""

    between: Callable[[float], object]
    """Gets the seconds between two events."""
    on_end: Callable[[bool], object]
    """Gets whether the stream ended by itself."""
    stall_s: float
    """How long an engine may take for the next event."""
    request_id: str
    deadline: float | None = None
    """The loop's time after which the caller does not want it any more."""


class Relay:
    """The events of one answer, ``first`` among them."""

    __slots__ = (
        "_asked_at", "_events", "_first", "_is_closed", "_is_done", "_is_stalled", "_last_at", "_loop", "_reader",
        "_timer", "_watch",
    )  # fmt: skip

    def __init__(self, first: bytes | None, events: AsyncIterator[bytes], watch: Watch) -> None:
        self._first = first
        self._events = events
        self._watch = watch
        self._loop = asyncio.get_running_loop()
        self._last_at = self._asked_at = self._loop.time()
        self._is_done = first is None
        self._is_closed = False
        self._is_stalled = False
        self._reader: asyncio.Task[object] | None = None
        """Who waits for an event."""
        # One timer a stream and not one an event: it looks now and then whether somebody has waited too long.
        self._timer = self._loop.call_at(self._due(), self._ring)

    def __aiter__(self) -> Relay:
        return self

    async def __anext__(self) -> bytes:
        """The next event, ``[DONE]`` after the last one."""
        if self._first is not None:
            event, self._first = self._first, None
            return event
        if self._is_closed:
            raise StopAsyncIteration
        if self._is_done:
            await self._close(True)
            return openai_answers.DONE
        if self._was_stalled():
            return self._failed(self._lateness())
        self._asked_at = self._loop.time()
        self._reader = asyncio.current_task()
        try:
            event = await anext(self._events)
        except StopAsyncIteration:
            await self._close(True)
            return openai_answers.DONE
        except asyncio.CancelledError:
            if not self._was_stalled() or self._reader is None or self._reader.uncancel() > 0:
                raise
            return self._failed(self._lateness())
        except Exception as error:
            return self._failed(error)
        finally:
            self._reader = None
        now = self._loop.time()
        self._watch.between(now - self._last_at)
        self._last_at = now
        return event

    def _failed(self, error: Exception) -> bytes:
        self._is_done = True
        failure = as_failure(error, self._watch.request_id, self._watch.stall_s)
        return openai_answers.error_event(openai_errors.body(failure))

    def _was_stalled(self) -> bool:
        return self._is_stalled

    def _due(self) -> float:
        """When to look again: at the deadline, or when nothing has come for too long."""
        since = self._loop.time() if self._reader is None else self._asked_at
        due = since + self._watch.stall_s
        return due if self._watch.deadline is None else min(due, self._watch.deadline)

    def _lateness(self) -> FailureError:
        deadline = self._watch.deadline
        if deadline is not None and self._loop.time() >= deadline:
            return FailureError(FailureKind.DEADLINE, "the request's deadline has passed")
        return FailureError(FailureKind.DEADLINE, f"the engine gave nothing for {self._watch.stall_s:g} s")

    def _ring(self) -> None:
        due = self._due()
        if due > self._loop.time():
            self._timer = self._loop.call_at(due, self._ring)
            return
        self._is_stalled = True
        if self._reader is not None:
            self._reader.cancel()

    async def aclose(self) -> None:
        """End the engine's work: the client has gone, or has everything."""
        self._first = None
        if not self._is_closed:
            await self._close(False)

    async def _close(self, is_whole: bool) -> None:
        self._is_closed = True
        self._timer.cancel()
        self._watch.on_end(is_whole)
        await close(self._events)


def as_failure(error: Exception, request_id: str, stall_s: float) -> FailureError:
    """What an engine raised while it streamed, as a failure; what is unexpected is logged."""
    match error:
        case FailureError():
            return error
        case TimeoutError():
            return FailureError(FailureKind.DEADLINE, f"the engine gave nothing for {stall_s:g} s")
        case _:
            text = " ".join(str(error).split())[:300]
            log.error("stream failed", request_id=request_id, error=f"{type(error).__name__}: {text}")
            return FailureError(FailureKind.INTERNAL, f"{type(error).__name__} : {text}")


async def close(events: AsyncIterator[Any]) -> None:
    """Close an engine's stream, where it can be closed."""
    closing = getattr(events, "aclose", None)
    if closing is not None:
        await closing()
