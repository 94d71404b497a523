"""The work queue on both event loops: uvloop's handle for a call that is due now cannot say when it is due."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

import pytest
import uvloop

from wakeful.kit import logs
from wakeful.kit.workqueue import WorkQueue, run_workers

LOOPS = [asyncio.new_event_loop, uvloop.new_event_loop]


@pytest.mark.parametrize("new_loop", LOOPS, ids=["asyncio", "uvloop"])
@pytest.mark.parametrize("delays", [(0.0, 0.0), (0.0, 0.5), (0.5, 0.0), (0.02, 0.01)], ids=str)
def test_the_earliest_of_several_requests_counts(
    new_loop: Callable[[], asyncio.AbstractEventLoop], delays: tuple[float, float]
) -> None:
    async def main() -> float:
        queue: WorkQueue[str] = WorkQueue()
        loop = asyncio.get_running_loop()
        began = loop.time()
        for delay_s in delays:
            queue.add_after("key", delay_s)
        assert await asyncio.wait_for(queue.take(), 5) == "key"
        took_s = loop.time() - began
        queue.close()
        return took_s

    with asyncio.Runner(loop_factory=new_loop) as runner:
        assert min(delays) <= runner.run(main()) + 0.002 < min(delays) + 0.3


async def test_something_cancelled_below_a_worker_does_not_end_the_worker() -> None:
    """A task group forgets a cancelled task in silence: four such keys, and nothing was reconciled any more."""
    queue: WorkQueue[str] = WorkQueue()
    done, tries = asyncio.Event(), 0

    async def reconcile(_: str) -> None:
        nonlocal tries
        tries += 1
        if tries == 1:
            inner = asyncio.get_running_loop().create_future()
            inner.cancel()
            await inner
        done.set()

    workers = asyncio.create_task(run_workers(queue, reconcile, logs.get("test"), concurrency=1))
    queue.add("key")
    try:
        await asyncio.wait_for(done.wait(), 5)
        assert tries == 2
    finally:
        workers.cancel()
        await asyncio.wait([workers], timeout=5)
    assert workers.cancelled()
    queue.close()
