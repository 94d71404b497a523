"""Service controller: one Configuration and one Route a Service, and their state in its status.

Sections 1.1 and 1.2 of the reference page. Invariant: a child of the same name that somebody else owns is never
touched, and a second pass over an unchanged world writes nothing.
"""

from __future__ import annotations

from typing import Any

from standalone.knative import build_service as build
from standalone.knative.configuration import find_named_revision
from standalone.knative.resources import CONFIGURATIONS, KSERVICES, ROUTES, Key
from standalone.knative.world import World, is_leaving, is_owned, rfc3339
from wakeful.core.api import conditions
from wakeful.core.api.conditions import FALSE, UNKNOWN, Condition
from wakeful.core.api.isvc_problem import mapping, mappings
from wakeful.kit.kube import Obj, Resource

CONFIGURATIONS_READY, ROUTES_READY = "ConfigurationsReady", "RoutesReady"
HANDED_UP = ("latestCreatedRevisionName", "latestReadyRevisionName")
ROUTED_UP = ("url", "address", "traffic")


class ServiceController:
    def __init__(self, world: World) -> None:
        self._world = world

    async def reconcile(self, key: Key) -> None:
        service = self._world[KSERVICES].get(*key)
        if service is None or is_leaving(service):
            return
        configuration = await self._ensure(CONFIGURATIONS, service, build.build_configuration(service))
        configured = configuration_condition(service, configuration)
        route: Obj | None
        if not is_owned(configuration, service):
            route = self._world[ROUTES].get(*key)  # no Route of ours may lead to somebody else's revisions
        elif find_named_revision(self._world, configuration) is False:
            name = build.revision_name(configuration)
            text = f'The name "{name}" is taken by a conflicting Revision, so traffic will not be migrated'
            configured = Condition(CONFIGURATIONS_READY, FALSE, "RevisionNameTaken", text)
            route = self._world[ROUTES].get(*key)
        elif self._must_wait(configuration):
            route = self._world[ROUTES].get(*key)
        else:
            route = await self._ensure(ROUTES, service, build.build_route(service))
        await self._write_status(service, configuration, route, configured)

    def _must_wait(self, configuration: Obj) -> bool:
        """With a named revision the Route must not move before the Configuration has looked at the name."""
        template = configuration["spec"]["template"]
        observed = mapping(configuration.get("status")).get("observedGeneration")
        return bool(mapping(template.get("metadata")).get("name")) and (
            observed != configuration["metadata"]["generation"]
        )

    async def _ensure(self, resource: Resource, service: Obj, wanted: Obj) -> Obj:
        metadata = wanted["metadata"]
        existing = self._world[resource].get(metadata["namespace"], metadata["name"])
        if existing is None:
            made = await self._world.create(resource, wanted)
            self._world.tell(KSERVICES, service, "Created", f'Created {wanted["kind"]} "{metadata["name"]}"')
            return made
        if not is_owned(existing, service) or is_leaving(existing):
            return existing
        changed = build.merge_child(existing, wanted)
        return existing if changed is None else await self._world.update(resource, changed)

    async def _write_status(
        self, service: Obj, configuration: Obj, route: Obj | None, configured: Condition
    ) -> None:
        old = mapping(service.get("status"))
        status: Obj = {"observedGeneration": service["metadata"]["generation"]}
        if is_owned(configuration, service):
            status |= _picked(configuration, HANDED_UP)
        if route is not None and is_owned(route, service):
            status |= _picked(route, ROUTED_UP)
        routed = route_condition(service, configuration, route)
        ready = conditions.roll_up("Ready", [configured, routed])
        status["conditions"] = conditions.merge(old.get("conditions"), [ready, configured, routed], rfc3339())
        await self._world.write_status(KSERVICES, service, status)


def _picked(obj: Obj, keys: tuple[str, ...]) -> dict[str, Any]:
    status = mapping(obj.get("status"))
    return {key: status[key] for key in keys if key in status}


def configuration_condition(service: Obj, configuration: Obj) -> Condition:
    return _child_condition(CONFIGURATIONS_READY, "Configuration", service, configuration)


def route_condition(service: Obj, configuration: Obj, route: Obj | None) -> Condition:
    """The Route's Ready, except that traffic must have followed the latest ready revision."""
    if route is None:
        return Condition(ROUTES_READY, UNKNOWN)
    found = _child_condition(ROUTES_READY, "Route", service, route)
    if not found.is_true:
        return found
    latest = mapping(configuration.get("status")).get("latestReadyRevisionName")
    shown = mappings(mapping(route.get("status")).get("traffic"))
    if any(entry.get("latestRevision") and entry.get("revisionName") != latest for entry in shown):
        text = "Traffic is not yet migrated to the latest revision."
        return Condition(ROUTES_READY, UNKNOWN, "TrafficNotMigrated", text)
    return found


def _child_condition(type_: str, kind: str, service: Obj, child: Obj) -> Condition:
    if not is_owned(child, service):
        text = f'There is an existing {kind} "{child["metadata"]["name"]}" that we do not own.'
        return Condition(type_, FALSE, "NotOwned", text)
    status = mapping(child.get("status"))
    if status.get("observedGeneration") != child["metadata"]["generation"]:
        text = f"The {kind} is still working to reflect the latest desired specification."
        return Condition(type_, UNKNOWN, "OutOfDate", text)
    ready = conditions.read(status, "Ready")
    return Condition(type_, ready.status, ready.reason, ready.message)
