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
