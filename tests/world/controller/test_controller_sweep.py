"""Deletions that kopf never reported (it lists anew after 410 Gone) leave the controller's cache."""

from __future__ import annotations

import asyncio

import pytest

from controller import sweep
from controller.cache import INFERENCE_SERVICES, KNATIVE_SERVICES, Cache
from controller.connection import ApiFailureError
from wakeful.core.api import isvc_names as names
from wakeful.kit.kube import PODS, Obj, Resource

LABELS = {names.ISVC_LABEL: "m"}


def obj_of(name: str, version: str) -> Obj:
    metadata = {"namespace": "ns", "name": name, "uid": f"uid-{name}", "resourceVersion": version}
    return {"metadata": {**metadata, "labels": LABELS}}


def cache_of(*objects: tuple[Resource, Obj]) -> Cache:
    cache = Cache()
    for resource, obj in objects:
        cache.put(resource, obj)
    return cache


class Server:
    """Answers lists: what it has by kind, at ``version``."""

    def __init__(self, version: str, *objects: tuple[Resource, Obj]) -> None:
        self.version = version
        self.objects = objects

    async def read(self, path: str) -> Obj | None:
        found = [obj for resource, obj in self.objects if resource.path() == path.partition("?")[0]]
        return {"metadata": {"resourceVersion": self.version}, "items": found}


async def test_what_was_deleted_unheard_of_is_taken_out() -> None:
    stays, goes, pod = obj_of("m", "5"), obj_of("m-predictor", "6"), obj_of("p", "7")
    cache = cache_of((INFERENCE_SERVICES, stays), (KNATIVE_SERVICES, goes), (PODS, pod))
    assert await sweep.sweep(Server("9", (INFERENCE_SERVICES, stays)).read, cache) == 2
    assert list(cache.items(INFERENCE_SERVICES)) == [stays]
    assert cache.of_isvc(KNATIVE_SERVICES, ("ns", "m")) == cache.of_isvc(PODS, ("ns", "m")) == []
    assert await sweep.sweep(Server("9", (INFERENCE_SERVICES, stays)).read, cache) == 0


@pytest.mark.parametrize("version", ["4", "", "not a number"])
async def test_what_is_newer_than_the_list_stays(version: str) -> None:
    cache = cache_of((INFERENCE_SERVICES, obj_of("m", "5")))
    assert await sweep.sweep(Server(version).read, cache) == 0
    assert len(list(cache.items(INFERENCE_SERVICES))) == 1


async def test_a_failed_or_missing_list_takes_nothing_out() -> None:
    cache = cache_of((INFERENCE_SERVICES, obj_of("m", "5")))

    async def fails(_: str) -> Obj | None:
        raise ApiFailureError(0, "away")

    async def unserved(_: str) -> Obj | None:
        return None

    assert await sweep.sweep(fails, cache) == await sweep.sweep(unserved, cache) == 0


async def test_all_are_looked_at_again_after_a_deletion() -> None:
    cache, dropped = cache_of((KNATIVE_SERVICES, obj_of("m-predictor", "5"))), asyncio.Event()
    task = asyncio.create_task(sweep.run(Server("9").read, cache, dropped.set, every_s=0.0))
    async with asyncio.timeout(5):
        await dropped.wait()
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)


async def test_a_long_list_is_read_page_by_page() -> None:
    cache = cache_of(*[(INFERENCE_SERVICES, obj_of(f"m{number}", "5")) for number in range(5)])
    asked: list[str] = []

    async def read(path: str) -> Obj | None:
        if not path.startswith(INFERENCE_SERVICES.path()):
            return None
        asked.append(path)
        first = 0 if "continue" not in path else 2
        token = {"continue": "more&more"} if first == 0 else {}
        items = [obj_of(f"m{number}", "5") for number in range(first, first + 2)]
        return {"metadata": {"resourceVersion": "9", **token}, "items": items}

    assert await sweep.sweep(read, cache) == 1
    assert cache.get(INFERENCE_SERVICES, "ns", "m4") is None
    assert len(cache.keys(INFERENCE_SERVICES)) == 4
    assert ["limit=" in path for path in asked] == [True, True]
    assert asked[1].endswith("continue=more%26more")


async def test_a_list_that_breaks_off_in_the_middle_takes_nothing_out() -> None:
    cache = cache_of((INFERENCE_SERVICES, obj_of("m", "5")))

    async def read(path: str) -> Obj | None:
        if "continue" in path:
            raise ApiFailureError(410, "the token is too old")
        return {"metadata": {"resourceVersion": "9", "continue": "t"}, "items": []}

    assert await sweep.sweep(read, cache) == 0
    assert cache.keys(INFERENCE_SERVICES) == [("ns", "m")]
