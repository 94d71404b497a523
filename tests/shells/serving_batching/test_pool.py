"""The pool of threads: its bounds, work whose caller has gone, and exits of model code."""

from __future__ import annotations

import asyncio
import time

import pytest
from waiting_rig import until

from wakeful.core.errors import FailureError
from wakeful.serving.pool import Pool


async def test_pool_runs_no_more_than_its_threads() -> None:
    pool = Pool(threads=2, max_waiting=10)
    running: list[int] = []
    peaks: list[int] = []

    def work() -> int:
        running.append(1)
        peaks.append(len(running))
        time.sleep(0.005)
        running.pop()
        return 7

    assert await asyncio.gather(*(pool.run(work) for _ in range(12))) == [7] * 12
    assert max(peaks) <= 2
    with pytest.raises(FailureError, match="12 requests are running or waiting"):
        await asyncio.gather(*(pool.run(work) for _ in range(13)))
    await until(lambda: pool.calls == 0)
    pool.close()


async def test_pool_skips_work_whose_caller_left_while_it_waited() -> None:
    pool = Pool(threads=1, max_waiting=5)
    done: list[str] = []

    def slow() -> None:
        time.sleep(0.05)
        done.append("first")

    first = asyncio.create_task(pool.run(slow))
    second = asyncio.create_task(pool.run(lambda: done.append("second")))
    await asyncio.sleep(0)
    second.cancel()
    await first
    await until(lambda: pool.calls == 0)
    assert done == ["first"]
    pool.close()


@pytest.mark.parametrize(
    "error", [StopIteration, SystemExit, KeyboardInterrupt, asyncio.CancelledError, GeneratorExit]
)
async def test_an_exit_of_model_code_is_an_error_of_its_request(error: type[BaseException]) -> None:
    pool = Pool(threads=1, max_waiting=1)

    def work() -> None:
        raise error

    with pytest.raises(RuntimeError, match=f"model code raised {error.__name__}"):
        await pool.run(work)
    assert await pool.run(lambda: 5) == 5
    pool.close()


async def test_many_short_jobs_are_all_settled() -> None:
    pool = Pool(threads=4, max_waiting=1000)
    for _ in range(20):
        assert await asyncio.gather(*(pool.run(lambda n=n: n) for n in range(200))) == list(range(200))  # type: ignore[misc]
    assert pool.calls == 0
    pool.close()
