"""The cache beside its owner's writes: answers and watch events may come in any order, deleted objects stay deleted."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from typing import Any

import pytest

from wakeful.kit.informer import Informer
from wakeful.kit.kube import PODS, Obj


def pod(version: int, uid: str = "u1") -> Obj:
    return {"metadata": {"namespace": "n", "name": "p", "uid": uid, "resourceVersion": str(version)}}


class Server:
    """The two calls an informer makes, with events that the test sends."""

    def __init__(self) -> None:
        self.events: asyncio.Queue[dict[str, Any]] = asyncio.Queue()

    async def list(self, *_: Any, **__: Any) -> Obj:
        return {"kind": "PodList", "apiVersion": "v1", "metadata": {"resourceVersion": "10"}, "items": []}

    async def watch(self, *_: Any) -> AsyncIterator[dict[str, Any]]:
        while True:
            yield await self.events.get()
            self.events.task_done()


class Followed:
    """An informer that follows a ``Server``; ``told`` is what it told its owner."""

    def __init__(self) -> None:
        self.server = Server()
        self.told: list[str] = []
        self.cache = Informer(self.server, PODS, lambda kind, _obj, _old: self.told.append(kind))  # type: ignore[arg-type]

    async def event(self, kind: str, obj: Obj) -> None:
        self.server.events.put_nowait({"type": kind, "object": obj})
        async with asyncio.timeout(5):
            await self.server.events.join()

    @property
    def version(self) -> str | None:
        found = self.cache.get("n", "p")
        return None if found is None else str(found["metadata"]["resourceVersion"])


@pytest.fixture
async def followed() -> AsyncIterator[Followed]:
    made = Followed()
    task = asyncio.create_task(made.cache.run())
    await asyncio.wait_for(made.cache.synced(), 5)
    yield made
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)


async def test_an_answer_that_comes_after_the_deletion_brings_nothing_back(followed: Followed) -> None:
    """Seen: a deleted Deployment stayed in the cache and its controller made pods for ever."""
    await followed.event("ADDED", pod(11))
    await followed.event("DELETED", pod(13))
    followed.cache.observe(pod(12))
    assert followed.version is None
    assert followed.told == ["ADDED", "DELETED"]


async def test_an_answer_ahead_of_the_watch_is_taken_at_once(followed: Followed) -> None:
    followed.cache.observe(pod(11))
    assert followed.version == "11"
    await followed.event("ADDED", pod(11))
    followed.cache.observe(pod(12))
    await followed.event("MODIFIED", pod(12))
    assert (followed.version, followed.told) == ("12", ["ADDED", "MODIFIED"])
    await followed.event("DELETED", pod(13))
    assert followed.version is None


async def test_the_old_ones_deletion_leaves_the_new_one_of_that_name(followed: Followed) -> None:
    await followed.event("ADDED", pod(11))
    followed.cache.observe(pod(14, "u2"))
    await followed.event("DELETED", pod(13))
    assert followed.version == "14"


async def test_one_s_own_object_is_not_dropped_by_a_list_that_is_older() -> None:
    """Its owner was told of a deletion that never was, between the list's answer and the watch's first event."""
    followed = Followed()
    answer = followed.server.list

    async def listed(*_: Any, **__: Any) -> Obj:
        followed.cache.observe(pod(11))  # while the answer, of version 10, is on its way
        return await answer()

    followed.server.list = listed  # type: ignore[method-assign]
    task = asyncio.create_task(followed.cache.run())
    try:
        await asyncio.wait_for(followed.cache.synced(), 5)
        assert (followed.version, followed.told) == ("11", ["ADDED"])
    finally:
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)


async def test_an_object_that_the_owner_cannot_read_stops_nothing() -> None:
    """Seen: a Pod annotated with the port 1e999 ended the gateway, and again after every restart."""
    server, told = Server(), []

    def on_change(_kind: str, obj: Obj, _old: Obj | None) -> None:
        told.append(int(obj["metadata"]["resourceVersion"]))
        if told[-1] == 11:
            raise OverflowError("cannot convert float infinity to integer")

    cache = Informer(server, PODS, on_change)  # type: ignore[arg-type]
    task = asyncio.create_task(cache.run())
    try:
        await asyncio.wait_for(cache.synced(), 5)
        for version in (11, 12):
            server.events.put_nowait({"type": "MODIFIED", "object": pod(version)})
            await asyncio.wait_for(server.events.join(), 5)
        assert told == [11, 12]
    finally:
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)
