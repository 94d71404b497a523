"""Takes out of the cache what the API server no longer has and nobody told us of.

Run by ``__main__``. kopf lists anew after 410 Gone and after it has given up, and never reports what was deleted in
between: a Knative Service deleted then would count as there for ever and never be made again, and children of a deleted
InferenceService would be made again each time the garbage collector removes them. Nothing is put into the cache here.
Invariant: only an object whose known state is not newer than the list that lacks it is taken out.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable

from controller.cache import WATCHED, Cache, Entry, Key
from controller.connection import ApiFailureError
from controller.listing import Read, pages
from wakeful.core.api import isvc_names as names
from wakeful.kit import logs
from wakeful.kit.kube import PODS, SERVICES, Resource

EVERY_S = 300.0
PAGE = 1000
"""Objects a request; only their metadata is asked for, some 1 KB each."""

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
    for resource in (*WATCHED, SERVICES, PODS):
        try:
            alive, version = await _list(read, resource)
        except ApiFailureError as error:
            log.debug("not swept", kind=resource.plural, error=str(error))
            continue
        for key, entry in _gone(cache, resource, alive, version):
            log.warning("deleted unheard of", kind=resource.plural, name=key[1])
            cache.drop_key(resource, key, entry.uid)
            dropped += 1
    return dropped


async def _list(read: Read, resource: Resource) -> tuple[set[str], int | None]:
    """The uids of all objects of the kind, and the version they are of (None: nothing may be concluded)."""
    selector = names.ISVC_LABEL if resource in (SERVICES, PODS) else ""
    alive: set[str] = set()
    version: object = None
    async for page in pages(read, resource, selector, PAGE):
        if not isinstance(page.get("items"), list):
            return set(), None
        alive.update(item["metadata"]["uid"] for item in page["items"])
        version = page["metadata"].get("resourceVersion")
    return alive, _number(version)


def _gone(cache: Cache, resource: Resource, alive: set[str], version: int | None) -> list[tuple[Key, Entry]]:
    if version is None:
        return []
    known = [(key, entry) for key, entry in cache.entries(resource) if entry.uid not in alive]
    return [
        (key, entry) for key, entry in known if (own := _number(entry.version)) is not None and own <= version
    ]


def _number(version: object) -> int | None:
    text = str(version)
    return int(text) if text.isascii() and text.isdigit() else None
