"""Keep asking for a pod while requests wait and none is ready; stop when one is, or when nobody waits any more.

One ``WakeLoop`` a revision, owned by the gateway's fleet. It tolerates that the autoscaler is away: the requests wait
on, up to their own deadline. Invariant: at most one question is under way per revision.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Callable

from activator_hooks.ports import WakeDecision, WakeError, Waker
from wakeful.kit import logs

REPEAT_S = 1.0
"""Pause between questions once one was answered; the autoscaler itself ticks every 2 s."""
RETRY_S = (0.02, 0.05, 0.1, 0.2, 0.5, 1.0)
"""Pauses while the autoscaler does not answer."""


class WakeLoop:
    """Wakes one revision while ``is_needed``."""

    def __init__(self, waker: Waker, namespace: str, revision: str, is_needed: Callable[[], bool]) -> None:
        self._waker = waker
        self._namespace = namespace
        self._revision = revision
        self._is_needed = is_needed
        self._task: asyncio.Task[None] | None = None
        self._log = logs.get("waking").bind(namespace=namespace, revision=revision)
        self._rested = asyncio.Event()
        self.decision: WakeDecision | None = None
        """The first decision of the wake that is under way, or of the last one."""
        self.trouble: str | None = None
        """Why the last question was not answered, None when it was."""

    def poke(self) -> None:
        """A request waits and there is no pod. Cheap to call again and again."""
        is_running = self._task is not None and not self._task.done()
        if is_running and not self._rested.is_set():
            return
        self._rested.clear()
        self.decision = None
        if not is_running:
            self._task = asyncio.get_running_loop().create_task(self._run())

    def rest(self) -> None:
        """A pod is there: the next need is a new wake, asked for at once."""
        self._rested.set()

    async def stop(self) -> None:
        """End the loop."""
        if self._task is not None:
            self._task.cancel()
            await asyncio.gather(self._task, return_exceptions=True)
            self._task = None

    async def _run(self) -> None:
        failures = 0
        while self._is_needed():
            self._rested.clear()  # a pod came and went: without this the questions would follow each other at once
            try:
                decision = await self._waker.wake(self._namespace, self._revision)
            except WakeError as error:
                if self.trouble is None:
                    self._log.warning("wake not answered", error=str(error))
                self.trouble = str(error)
                await asyncio.sleep(RETRY_S[min(failures, len(RETRY_S) - 1)])
                failures += 1
                continue
            failures = 0
            self.trouble = None
            if self.decision is None:
                self.decision = decision
                self._log.info("revision woken", desired=decision.desired, reason=decision.reason)
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(REPEAT_S):
                    await self._rested.wait()
