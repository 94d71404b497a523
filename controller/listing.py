"""The first picture: every object the controller reads is in the cache before kopf watches and before anything is decided.

Called by ``__main__``. kopf has a barrier of its own (indices), but it wakes every object's task for every other object: a
start with 7,700 InferenceServices and their children took minutes of processor for nothing else. Left out: what is deleted
between this list and kopf's; ``sweep`` takes it out. Invariant: ``fill`` returns when every kind that is served was listed.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from urllib.parse import urlencode

from controller.cache import WATCHED, Cache, owner_of
from controller.connection import ApiFailureError
from wakeful.core.api import isvc_names as names
from wakeful.kit import logs
from wakeful.kit.kube import PODS, SERVICES, Obj, Resource

PAGE = 500
RETRY_S = 0.5
SELECTORS = {
    PODS: names.ISVC_LABEL,
    SERVICES: f"{names.ISVC_LABEL},!serving.knative.dev/revision,!serving.knative.dev/route",
}
"""What the API server sends us at all of the kinds that others have many of; Knative's own Services carry our label, too."""
Read = Callable[[str], Awaitable[Obj | None]]
"""The list at a path; None where the kind is not served. Raises ``ApiFailureError``."""

log = logs.get("controller.listing")


async def fill(read: Read, cache: Cache) -> None:
    """List every kind into ``cache``; what cannot be listed now is asked for again until it can."""
    for resource in (*WATCHED, SERVICES, PODS):
        while True:
            try:
                await _fill_kind(read, cache, resource)
                break
            except ApiFailureError as error:
                log.warning("not listed", kind=resource.plural, code=error.code, error=str(error))
                await asyncio.sleep(RETRY_S)


async def pages(read: Read, resource: Resource, selector: str, limit: int) -> AsyncIterator[Obj]:
    """The pages of a list, of ``limit`` objects each; one empty page where the kind is not served."""
    query = {"limit": str(limit)} | ({"labelSelector": selector} if selector else {})
    while True:
        page = await read(f"{resource.path()}?{urlencode(query)}") or {}
        yield page
        token = (page.get("metadata") or {}).get("continue")
        if not token:
            return
        query["continue"] = token


async def _fill_kind(read: Read, cache: Cache, resource: Resource) -> None:
    async for page in pages(read, resource, SELECTORS.get(resource, ""), PAGE):
        head = {"apiVersion": page.get("apiVersion"), "kind": str(page.get("kind", "")).removesuffix("List")}
        for item in page.get("items") or ():
            keep(cache, resource, {**head, **item})


def keep(cache: Cache, resource: Resource, obj: Obj) -> None:
    """Put ``obj`` into the cache, unless it is a pod or Service that is none of ours."""
    if resource not in (PODS, SERVICES) or owner_of(obj["metadata"]) is not None:
        cache.put(resource, obj)
