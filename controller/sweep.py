"""Takes out of the cache what the API server no longer has and nobody told us of.

Run by ``__main__``. kopf lists anew after 410 Gone and after it has given up, and never reports what was deleted in
between: a Knative Service deleted then would count as there for ever and never be made again, and children of a deleted
InferenceService would be made again each time the garbage collector removes them. Nothing is put into the cache here.
Invariant: only an object whose known state is not newer than the list that lacks it is taken out.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable

from controller.cache import WATCHED, Cache
from controller.connection import ApiFailureError
from wakeful.core.api import isvc_names as names
from wakeful.kit import logs
from wakeful.kit.kube import PODS, Obj, Resource

EVERY_S = 300.0
Read = Callable[[str], Awaitable[Obj | None]]
"""The list at a path; None where the kind is not served. Raises ``ApiFailureError``."""

log = logs.get("controller.sweep")


async def run(read: Read, cache: Cache, on_dropped: Callable[[], None], every_s: float = EVERY_S) -> None:
    """Sweep for ever."""
    while True:
        await asyncio.sleep(every_s)
        if await sweep(read, cache):
            on_dropped()


async def sweep(read: Read, cache: Cache) -> int:
    """Look at every kind once; how many objects were taken out."""
    dropped = 0
    for resource in (*WATCHED, PODS):
        try:
            listed = await read(_path(resource))
        except ApiFailureError as error:
            log.debug("not swept", kind=resource.plural, error=str(error))
            continue
        for obj in _gone(cache, resource, listed or {}):
            log.warning("deleted unheard of", kind=resource.plural, name=obj["metadata"]["name"])
            cache.drop(resource, obj)
            dropped += 1
    return dropped


def _path(resource: Resource) -> str:
    return resource.path() + (f"?labelSelector={names.ISVC_LABEL}" if resource is PODS else "")


def _gone(cache: Cache, resource: Resource, listed: Obj) -> list[Obj]:
    version = _number(listed)
    if version is None or not isinstance(listed.get("items"), list):
        return []
    alive = {item["metadata"]["uid"] for item in listed["items"]}
    known = [obj for obj in cache.items(resource) if obj["metadata"]["uid"] not in alive]
    return [obj for obj in known if (own := _number(obj)) is not None and own <= version]


def _number(obj: Obj) -> int | None:
    text = str((obj.get("metadata") or {}).get("resourceVersion", ""))
    return int(text) if text.isascii() and text.isdigit() else None
