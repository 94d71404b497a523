"""How often the cache asks a server that fails: growing pauses, begun anew only by a watch that was good for something."""

from __future__ import annotations

import asyncio
import itertools
from collections.abc import AsyncIterator, Callable
from typing import Any

import aiohttp
import pytest

from wakeful.kit.informer import Informer
from wakeful.kit.kube import PODS, ApiError, Obj


class Failing:
    """Lists are answered; every watch ends as ``end`` says, the first ``good`` of them after one event."""

    def __init__(self, end: Callable[[], Exception | None], good: int = 0) -> None:
        self.watches: list[float] = []
        self._end = end
        self._good = good

    async def list(self, *_: Any, **__: Any) -> Obj:
        await asyncio.sleep(0)
        return {"kind": "PodList", "apiVersion": "v1", "metadata": {"resourceVersion": "10"}, "items": []}

    async def watch(self, *_: Any) -> AsyncIterator[dict[str, Any]]:
        self.watches.append(asyncio.get_running_loop().time())
        if len(self.watches) <= self._good:
            yield {"type": "BOOKMARK", "object": {"metadata": {"resourceVersion": "10"}}}
        await asyncio.sleep(0)
        error = self._end()
        if error is not None:
            raise error


async def gaps(server: Failing, count: int) -> list[float]:
    """Seconds between the first ``count`` + 1 watches."""
    task = asyncio.create_task(Informer(server, PODS).run())  # type: ignore[arg-type]
    try:
        async with asyncio.timeout(10):
            while len(server.watches) <= count:  # noqa: ASYNC110 - there is no event for it
                await asyncio.sleep(0.005)
    finally:
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)
    times = server.watches[: count + 1]
    return [after - before for before, after in itertools.pairwise(times)]


ENDS: dict[str, Callable[[], Exception | None]] = {
    "refused": lambda: aiohttp.ClientConnectionError("refused"),
    "ended at once": lambda: None,
}


@pytest.mark.parametrize("end", ENDS.values(), ids=ENDS)
async def test_pauses_grow_while_a_version_is_held(end: Callable[[], Exception | None]) -> None:
    """The pause was always the first one, for every kind of every process, for as long as the server was away."""
    found = await gaps(Failing(end), 4)
    assert [gap > least for gap, least in zip(found, (0.04, 0.09, 0.19, 0.49), strict=True)] == [True] * 4


async def test_a_watch_that_told_something_begins_the_pauses_anew() -> None:
    found = await gaps(Failing(lambda: None, good=4), 4)
    assert max(found) < 0.3


async def test_lists_do_not_follow_each_other_where_every_watch_is_gone() -> None:
    found = await gaps(Failing(lambda: ApiError(410, {"message": "too old"})), 4)
    assert found[0] < 0.04, "the first one is listed again at once"
    assert found[3] > 0.19
