"""How often a sleeping revision's pod is asked for."""

from __future__ import annotations

import asyncio

from activator_hooks.ports import WakeDecision
from activator_hooks.waking import WakeLoop


class FleetingWaker:
    """Makes a pod that is there, and gone again, before the answer is."""

    def __init__(self) -> None:
        self.wakes = 0
        self.loop: WakeLoop | None = None

    async def wake(self, namespace: str, revision: str) -> WakeDecision:
        self.wakes += 1
        assert self.loop is not None
        if self.wakes == 1:
            self.loop.rest()
        await asyncio.sleep(0)
        return WakeDecision(1, "test", 0.0)


async def test_a_pod_that_came_and_went_does_not_make_the_questions_a_storm() -> None:
    waker = FleetingWaker()
    waker.loop = WakeLoop(waker, "ns", "r1", lambda: True)
    waker.loop.poke()
    for _ in range(200):
        await asyncio.sleep(0)
    await waker.loop.stop()
    assert 1 <= waker.wakes <= 2
