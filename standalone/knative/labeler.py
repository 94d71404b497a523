"""Marks revisions with the routes that lead to them: ``routingState`` and the ``routes`` annotation.

Called by the Route controller after each pass. Section 1.4 of the reference page: a revision named by a route's spec
or status is ``active``, also the latest created one of a followed configuration (so that it is kept while it starts);
one that no route names any more is ``reserve``, which lets the autoscaler take its pods and collection remove it.

Invariant: only labels and annotations of routing are written, and only when they change.
"""

from __future__ import annotations

from standalone.knative.resources import CONFIGURATIONS, REVISIONS, Key
from standalone.knative.world import World, is_leaving, rfc3339
from wakeful.core.api import knative_serving_names as names
from wakeful.core.api.isvc_problem import mapping, mappings
from wakeful.kit.kube import Obj, Resource


class Labeler:
    def __init__(self, world: World) -> None:
        self._world = world

    async def mark(self, route: Obj) -> None:
        """Mark what ``route`` names, and unmark what it no longer names."""
        metadata = route["metadata"]
        revisions, configurations = self._named(route)
        key = (metadata["namespace"], metadata["name"])
        await self._sync(REVISIONS, key, revisions)
        await self._sync(CONFIGURATIONS, key, configurations)

    async def clear(self, key: Key) -> None:
        """Unmark everything of a route that is gone."""
        await self._sync(REVISIONS, key, set())
        await self._sync(CONFIGURATIONS, key, set())

    def _named(self, route: Obj) -> tuple[set[str], set[str]]:
        namespace = route["metadata"]["namespace"]
        revisions: set[str] = set()
        configurations: set[str] = set()
        entries = mappings(mapping(route.get("status")).get("traffic"))
        entries += mappings(mapping(route.get("spec")).get("traffic"))
        for entry in entries:
            configuration = str(entry.get("configurationName") or "")
            if name := entry.get("revisionName"):
                revision = self._world[REVISIONS].get(namespace, name)
                if revision is None:
                    continue
                revisions.add(name)
                labels = mapping(revision["metadata"].get("labels"))
                configuration = labels.get(names.CONFIGURATION, "")
            found = self._world[CONFIGURATIONS].get(namespace, configuration)
            if found is None:
                continue
            configurations.add(configuration)
            latest = mapping(found.get("status")).get("latestCreatedRevisionName")
            if latest and entry.get("latestRevision"):
                revisions.add(latest)
        return revisions, configurations

    async def _sync(self, resource: Resource, route: Key, wanted: set[str]) -> None:
        namespace, route_name = route
        for (space, name), obj in list(self._world[resource].store.items()):
            if space != namespace or is_leaving(obj):
                continue
            annotations = mapping(obj["metadata"].get("annotations"))
            routes = [r for r in annotations.get(names.ROUTES, "").split(",") if r]
            if (name in wanted) == (route_name in routes):
                continue
            changed = sorted({*routes, route_name} if name in wanted else {*routes} - {route_name})
            await self._write(resource, obj, changed)

    async def _write(self, resource: Resource, obj: Obj, routes: list[str]) -> None:
        annotations: dict[str, str | None] = {names.ROUTES: ",".join(routes) or None}
        metadata: Obj = {"annotations": annotations}
        if resource is REVISIONS:
            state = names.ACTIVE if routes else names.RESERVE
            if mapping(obj["metadata"].get("labels")).get(names.ROUTING_STATE) != state:
                metadata["labels"] = {names.ROUTING_STATE: state}
                annotations[names.ROUTING_STATE_MODIFIED] = rfc3339()
        await self._world.patch(resource, obj, {"metadata": metadata})
