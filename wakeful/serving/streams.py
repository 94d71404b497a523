"""Answers in parts: what a model's generator yields, as the bytes that go out, one part at a time.

Edges ask ``is_stream`` about a model's result and send ``parts`` of it. A sync generator is stepped through ``run`` (the
thread pool), so that the event loop stays free; an async one on the loop. Str and bytes go out as they are; anything
else is one server-sent event of its JSON. Left out: HTTP framing (the wire's).

Invariant: the generator is closed when the last part was sent, when it failed, and when the reader went away.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from functools import partial
from typing import Any

from wakeful.core.errors import FailureError, FailureKind
from wakeful.core.protocol import json_values

Run = Callable[[Callable[[], Any]], Awaitable[Any]]
_END = object()


def is_stream(result: Any) -> bool:
    """Whether a model's answer is a generator (or another iterator), sync or async."""
    return isinstance(result, AsyncIterator | Iterator)


async def parts(
    result: AsyncIterator[Any] | Iterator[Any], run: Run, deadline: float | None = None
) -> AsyncIterator[bytes]:
    """The parts of ``result`` as bytes, until ``deadline`` on the loop's clock.

    Raises what the generator raises, ``FailureError`` for a part without a JSON form or one that comes too late.
    """
    if isinstance(result, AsyncIterator):
        try:
            while (part := await _in_time(anext(result, _END), deadline)) is not _END:
                yield encode(part)
        finally:
            close = getattr(result, "aclose", None)
            if close is not None:
                await close()
        return
    try:
        while (part := await _in_time(run(partial(next, result, _END)), deadline)) is not _END:
            yield encode(part)
    finally:
        close = getattr(result, "close", None)
        if close is not None:
            # A reader that left in the middle of a step: the thread still runs the generator, which ends with it.
            with contextlib.suppress(ValueError):
                close()


async def _in_time(step: Awaitable[Any], deadline: float | None) -> Any:
    """What ``step`` gives. Raises ``FailureError`` (deadline)."""
    if deadline is None:
        return await step
    try:
        async with asyncio.timeout_at(deadline) as scope:
            return await step
    except TimeoutError as error:
        if not scope.expired():  # the model's own
            raise
        raise FailureError(
            FailureKind.DEADLINE, "the model's answer in parts was not complete before the request's deadline"
        ) from error


def encode(part: Any) -> bytes:
    """One part as it is sent."""
    if isinstance(part, bytes):
        return part
    if isinstance(part, str):
        return json_values.text(part, "a part of the model's answer")
    if isinstance(part, bytearray | memoryview):
        return bytes(part)
    return b"data: " + json_values.answer(part, "a part of the model's answer") + b"\n\n"
