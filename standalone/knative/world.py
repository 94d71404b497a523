"""What the Serving controllers see and do: caches of their kinds, and writes that the caches see at once.

Made by ``__main__``. Controllers register with ``on``; they decide on the caches and write through ``create``,
``update``, ``write_status``, ``patch`` and ``delete``. Left out: what is written (the ``build_*`` modules).

Invariant: after a write returns, the cache holds the state that the server answered with, so that two decisions in
a row never act on the same past (no double pods); nothing is written when nothing changed.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any

from standalone.knative.events import NORMAL, Recorder
from standalone.knative.resources import (
    AUTOSCALERS,
    CONFIGURATIONS,
    DOMAIN_MAPPINGS,
    INGRESSES,
    KSERVICES,
    REVISIONS,
    ROUTES,
)
from wakeful.core.api import instants
from wakeful.core.api import knative_serving_names as names
from wakeful.kit.informer import Informer
from wakeful.kit.kube import (
    CONFIGMAPS,
    DEPLOYMENTS,
    PODS,
    SERVICES,
    ApiError,
    KubeClient,
    Obj,
    Resource,
    key_of,
)

OnChange = Callable[[Obj, Obj | None], None]
"""(object, previous or None); deletions too."""


class World:
    """The caches by resource. Run ``run`` in a task; ``synced`` before the first decision."""

    def __init__(self, client: KubeClient) -> None:
        self.client = client
        self._events = Recorder(client)
        self._listeners: dict[Resource, list[OnChange]] = {}
        self._informers = {resource: self._informer(resource) for resource in _CACHED}
        self.configs = Informer(
            client, CONFIGMAPS, self._notify(CONFIGMAPS), namespace=names.SYSTEM_NAMESPACE
        )
        self.placeholders = Informer(client, SERVICES, self._notify(SERVICES), label_selector=names.ROUTE)

    def _informer(self, resource: Resource) -> Informer:
        return Informer(self.client, resource, self._notify(resource))

    def _notify(self, resource: Resource) -> Callable[[str, Obj, Obj | None], None]:
        listeners = self._listeners.setdefault(resource, [])

        def on_change(_: str, obj: Obj, old: Obj | None) -> None:
            for listener in listeners:
                listener(obj, old)

        return on_change

    def on(self, resource: Resource, listener: OnChange) -> None:
        """Call ``listener`` for every change of ``resource``; before ``run``."""
        self._listeners[resource].append(listener)

    def __getitem__(self, resource: Resource) -> Informer:
        if resource is SERVICES:
            return self.placeholders
        return self.configs if resource is CONFIGMAPS else self._informers[resource]

    async def run(self) -> None:
        async with asyncio.TaskGroup() as group:
            group.create_task(self._events.run())
            for informer in (*self._informers.values(), self.configs, self.placeholders):
                group.create_task(informer.run())

    async def synced(self) -> None:
        for informer in (self.configs, self.placeholders, *self._informers.values()):
            await informer.synced()

    def tell(self, resource: Resource, obj: Obj, reason: str, message: str, type_: str = NORMAL) -> None:
        """An Event about ``obj``; never waits, never fails."""
        self._events.tell(resource, obj, type_, reason, message)

    async def create(self, resource: Resource, obj: Obj) -> Obj:
        """Create ``obj``; where one of that name exists already that one is returned (look at its owner)."""
        metadata = obj["metadata"]
        try:
            made = await self.client.create(resource, metadata["namespace"], obj)
        except ApiError as error:
            if error.reason != "AlreadyExists":
                raise
            made = await self.client.get(resource, metadata["namespace"], metadata["name"])
        self[resource].observe(made)
        return made

    async def update(self, resource: Resource, obj: Obj) -> Obj:
        """Replace the object; 409 when the cache was behind (the work queue retries), nothing when it is gone."""
        try:
            made = await self.client.replace(resource, obj["metadata"]["namespace"], obj)
        except ApiError as error:
            return self._gone(resource, obj, error)
        self[resource].observe(made)
        return made

    async def write_status(self, resource: Resource, obj: Obj, status: Obj) -> Obj:
        """Write ``status`` if it differs; returns the object with it.

        Only one controller writes the status of a kind, so the newest known version of the object carries it: labels
        or spec that somebody else changed meanwhile are no conflict.
        """
        newest = self[resource].get(*key_of(obj))
        if newest is None or newest["metadata"].get("uid") != obj["metadata"].get("uid"):
            newest = obj
        if newest.get("status") == status:
            return newest
        namespace = newest["metadata"]["namespace"]
        try:
            made = await self.client.replace(resource, namespace, {**newest, "status": status}, "status")
        except ApiError as error:
            if error.reason != "Conflict":
                return self._gone(resource, newest, error)
            # somebody changed the rest of the object and the cache has not heard of it yet
            newest = await self.client.get(resource, namespace, newest["metadata"]["name"])
            if newest["metadata"]["uid"] != obj["metadata"].get("uid"):
                raise
            made = await self.client.replace(resource, namespace, {**newest, "status": status}, "status")
        self[resource].observe(made)
        return made

    async def patch(self, resource: Resource, obj: Obj, body: Any) -> Obj:
        """Merge-patch what this controller owns of the object, whatever else changed."""
        metadata = obj["metadata"]
        try:
            made = await self.client.patch(resource, metadata["namespace"], metadata["name"], body)
        except ApiError as error:
            return self._gone(resource, obj, error)
        self[resource].observe(made)
        return made

    def _gone(self, resource: Resource, obj: Obj, error: ApiError) -> Obj:
        """Nothing was lost when the object itself was deleted meanwhile; any other error is raised again."""
        if error.code != 404:
            raise error
        self[resource].forget(obj)
        return obj

    async def delete(self, resource: Resource, obj: Obj, **options: Any) -> None:
        """Delete exactly this object (by uid); one that is gone already is fine."""
        metadata = obj["metadata"]
        options["preconditions"] = {"uid": metadata["uid"]}
        try:
            answer = await self.client.delete(resource, metadata["namespace"], metadata["name"], **options)
        except ApiError as error:
            if error.code != 409:
                raise
            return
        if (
            answer is not None
            and answer.get("kind") != "Status"
            and "deletionTimestamp" in answer["metadata"]
        ):
            self[resource].observe(answer)
        else:
            self[resource].forget(obj)


_CACHED = (
    KSERVICES,
    CONFIGURATIONS,
    REVISIONS,
    ROUTES,
    DOMAIN_MAPPINGS,
    AUTOSCALERS,
    INGRESSES,
    DEPLOYMENTS,
    PODS,
)


def is_owned(obj: Obj, owner: Obj) -> bool:
    """Whether ``owner`` is the controller of ``obj``."""
    references = obj["metadata"].get("ownerReferences") or []
    return any(ref.get("controller") and ref.get("uid") == owner["metadata"]["uid"] for ref in references)


def is_leaving(obj: Obj | None) -> bool:
    """Whether there is nothing (more) to do for ``obj``."""
    return obj is None or "deletionTimestamp" in obj["metadata"]


def covers(actual: Any, wanted: Any) -> bool:
    """Whether ``actual`` has everything ``wanted`` says; the server's own defaults beside it do not matter."""
    if isinstance(wanted, dict):
        return isinstance(actual, dict) and all(
            covers(actual.get(key), value) for key, value in wanted.items()
        )
    if isinstance(wanted, list):
        return (
            isinstance(actual, list)
            and len(actual) == len(wanted)
            and all(covers(a, w) for a, w in zip(actual, wanted, strict=True))
        )
    return bool(actual == wanted)


def rfc3339(moment: datetime | None = None) -> str:
    """``moment`` (now) as Kubernetes writes times."""
    return instants.render(moment or datetime.now(UTC))
