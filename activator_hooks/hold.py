"""Hold requests of one revision until a pod is free: futures around the pure breaker.

The gateway calls ``enter`` for every request and ``leave`` when it has ended. A request that waits is let go in
arrival order, fails with ``HoldFullError`` at the bound, with ``WakeFailedError`` when ``fail`` says that no pod will
come, or ends by cancellation (client gone, deadline: the caller's business). Single event loop, no locks.

Invariant: every successful ``enter`` is matched by one ``leave``; a cancelled waiter frees its place, and a slot it was
handed in the same instant goes to the next one.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Iterable, Sequence
from itertools import count

from wakeful.core.scaling.breaker import Admitted, Bounds, Breaker, Handover, Refusal, Refused


class HoldFullError(Exception):
    """The queue is at its bound."""

    def __init__(self, refused: Refused) -> None:
        super().__init__("pending request queue full")
        self.refused = refused


class WakeFailedError(Exception):
    """No pod will come: the text says why."""


class ByteBudget:
    """Bytes that all held requests of the process may occupy together."""

    def __init__(self, limit_bytes: int) -> None:
        self.limit_bytes = limit_bytes
        self.used_bytes = 0

    def take(self, size_bytes: int) -> bool:
        if self.used_bytes + size_bytes > self.limit_bytes:
            return False
        self.used_bytes += size_bytes
        return True

    def give_back(self, size_bytes: int) -> None:
        self.used_bytes -= size_bytes


class Hold:
    """The waiting room of one revision."""

    def __init__(self, bounds: Bounds, budget: ByteBudget) -> None:
        self.breaker = Breaker(bounds)
        self._budget = budget
        self._waiters: dict[int, tuple[asyncio.Future[str], float]] = {}
        self._tickets = count(1)

    def try_enter(self) -> str | None:
        """A pod at once, or None if the request would have to wait. Saves a coroutine on the warm path."""
        if self.breaker.waiting or not self.breaker.pods:
            return None
        outcome = self.breaker.arrive(0)
        if isinstance(outcome, Admitted):
            return outcome.pod
        self.breaker.withdraw(0)
        return None

    async def enter(self, size_bytes: int, *, is_redial: bool = False) -> str:
        """Wait for a pod and return its key. ``is_redial``: the pod given before could not be reached; first in line."""
        ticket = next(self._tickets)
        if is_redial:
            outcome = self.breaker.rejoin(ticket, size_bytes)
        else:
            arrived = self.breaker.arrive(ticket, size_bytes)
            if isinstance(arrived, Refused):
                raise HoldFullError(arrived)
            outcome = arrived
        if isinstance(outcome, Admitted):
            return outcome.pod
        return await self._wait(ticket, size_bytes, is_redial)

    async def _wait(self, ticket: int, size_bytes: int, is_redial: bool) -> str:
        if is_redial:
            size_bytes = 0  # counted when it first waited; a second try is not refused for want of room
        elif not self._budget.take(size_bytes):
            self.breaker.withdraw(ticket)
            raise HoldFullError(_budget_full(self._budget))
        loop = asyncio.get_running_loop()
        future: asyncio.Future[str] = loop.create_future()
        self._waiters[ticket] = (future, loop.time())
        try:
            return await future
        except BaseException:
            self.breaker.withdraw(ticket)
            if future.done() and not future.cancelled() and future.exception() is None:
                self.leave(future.result())
            raise
        finally:
            self._waiters.pop(ticket, None)
            self._budget.give_back(size_bytes)

    def leave(self, pod: str) -> None:
        """The request at ``pod`` has ended."""
        self._release(self.breaker.leave(pod))

    def set_pods(self, pods: Sequence[str]) -> None:
        """These pods take requests now, in address order."""
        self._release(self.breaker.set_pods(pods))

    def set_bounds(self, bounds: Bounds) -> None:
        """The revision's limits changed (a revision is immutable in Knative, its annotations are not)."""
        self.breaker.bounds = bounds
        self._release(self.breaker.set_pods(self.breaker.pods))

    def fail(self, reason: str, came_before: float) -> int:
        """End those who came before ``came_before`` (loop time) with ``WakeFailedError``. Returns how many."""
        failed = 0
        for future, since in list(self._waiters.values()):
            if since <= came_before and not future.done():
                future.set_exception(WakeFailedError(reason))
                failed += 1
        return failed

    def _release(self, handovers: Iterable[Handover]) -> None:
        pending = deque(handovers)
        while pending:
            handover = pending.popleft()
            entry = self._waiters.get(handover.ticket)
            if entry is None or entry[0].done():
                pending.extend(self.breaker.leave(handover.pod))
            else:
                entry[0].set_result(handover.pod)


def _budget_full(budget: ByteBudget) -> Refused:
    return Refused(Refusal.BYTES_FULL, budget.used_bytes, budget.limit_bytes)
