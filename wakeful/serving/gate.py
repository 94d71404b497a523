"""What stands before one model: how many calls are under way, and those that wait while it is loaded anew.

The data plane asks ``is_closed`` of every call, ``calls`` says when one begins and ends, ``registry`` closes and opens. A
reload is in place: the model's own ``load`` changes what its ``predict`` reads, so calls with the old one end first and
new ones wait here, with their places and deadlines, instead of being refused. An answer in parts is under way until its
generator is gone.

Invariant: nothing held is lost: it is begun when the gate opens, unless its caller left or its deadline passed.
"""

from __future__ import annotations

import asyncio
import contextlib
import weakref
from collections.abc import Callable, Hashable
from typing import Any


class Gate:
    """Of one model; event loop only."""

    __slots__ = ("_empty", "_held", "is_closed", "under_way")

    def __init__(self) -> None:
        self.is_closed = False
        self.under_way = 0
        """Calls that have begun or are held, and answers in parts that have not ended."""
        self._held: dict[Hashable, Callable[[], object]] = {}
        self._empty: asyncio.Event | None = None

    def enter(self) -> None:
        """A call has come."""
        self.under_way += 1

    def leave(self) -> None:
        """A call has ended, and no thread works on it."""
        self.under_way -= 1
        self._look()

    def hold(self, call: Hashable, begin: Callable[[], object]) -> None:
        """``begin`` the call when the gate opens."""
        self._held[call] = begin

    def let_go(self, call: Hashable) -> None:
        """A held call is not to begin any more; it still ``leave``s."""
        self._held.pop(call, None)
        self._look()

    @property
    def busy(self) -> int:
        """How many are with the model now."""
        return self.under_way - len(self._held)

    def close(self) -> None:
        """Hold what comes from here on."""
        self.is_closed = True

    def open(self) -> None:
        """Begin what was held, in its order, and hold nothing any more."""
        self.is_closed = False
        held, self._held = self._held, {}
        for begin in held.values():
            begin()

    def follow(self, parts: Any) -> None:
        """Count an answer in parts as under way until nobody has its generator any more."""
        loop = asyncio.get_running_loop()

        def ended() -> None:  # wherever the last reference was: in a thread of the pool too
            with contextlib.suppress(RuntimeError):  # the loop is closed: nobody waits
                loop.call_soon_threadsafe(self.leave)

        with contextlib.suppress(TypeError):  # an iterator that cannot be followed, such as a list's
            weakref.finalize(parts, ended).atexit = False
            self.enter()

    async def empty(self, within_s: float) -> bool:
        """Wait until nothing is with the model, at most ``within_s``; whether that came."""
        self._empty = asyncio.Event()
        self._look()
        try:
            async with asyncio.timeout(within_s):
                await self._empty.wait()
        except TimeoutError:
            return False
        finally:
            self._empty = None
        return True

    def _look(self) -> None:
        if self._empty is not None and self.busy == 0:
            self._empty.set()
