"""One stream on its way to the client: the engine's events, measured, bounded in time, and closed whatever happens.

``openai_edge`` makes a ``Relay`` once the first event is there (a failure before it is an ordinary error answer). A
class and not a generator: a generator that was never started does not run its ``finally``, and the stream's place
would be lost when a client leaves at that moment.

Invariants: ``close`` of the engine's stream and ``on_end`` are called exactly once; after a failure the client gets
an event with the error and then ``[DONE]``, never a cut line.
"""

from __future__ import annotations

import asyncio
import time
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


class Relay:
    """The events of one answer, ``first`` among them."""

    def __init__(self, first: bytes | None, events: AsyncIterator[bytes], watch: Watch) -> None:
        self._first = first
        self._events = events
        self._watch = watch
        self._last_at = time.perf_counter()
        self._is_done = first is None
        self._is_closed = False

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
        try:
            async with asyncio.timeout(self._watch.stall_s):
                event = await anext(self._events)
        except StopAsyncIteration:
            await self._close(True)
            return openai_answers.DONE
        except Exception as error:
            self._is_done = True
            return openai_answers.error_event(openai_errors.body(self._failure(error)))
        now = time.perf_counter()
        self._watch.between(now - self._last_at)
        self._last_at = now
        return event

    async def aclose(self) -> None:
        """End the engine's work: the client has gone, or has everything."""
        self._first = None
        if not self._is_closed:
            await self._close(False)

    async def _close(self, is_whole: bool) -> None:
        self._is_closed = True
        self._watch.on_end(is_whole)
        await close(self._events)

    def _failure(self, error: Exception) -> FailureError:
        return as_failure(error, self._watch.request_id, self._watch.stall_s)


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
