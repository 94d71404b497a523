"""Configuration controller: one Revision for each generation of the template; which is the latest, which is ready.

Sections 1.2, 1.3 and 1.11 of the reference page. Invariant: ``latestReadyRevisionName`` never goes back to an older
generation, and a failed generation never hides a ready one.
"""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Literal

from standalone.knative import build_service as build
from standalone.knative.collect import plan_collection
from standalone.knative.events import WARNING
from standalone.knative.resources import CONFIGURATIONS, REVISIONS, Key
from standalone.knative.settings import ServingConfig
from standalone.knative.world import World, is_leaving, is_owned, rfc3339
from wakeful.core.api import conditions
from wakeful.core.api import knative_serving_names as names
from wakeful.core.api.conditions import FALSE, TRUE, UNKNOWN, Condition
from wakeful.core.api.isvc_problem import mapping
from wakeful.kit import logs
from wakeful.kit.kube import Obj

COLLECT_EVERY_S = 600.0


class ConfigurationController:
    def __init__(self, world: World, config: dict[str, ServingConfig]) -> None:
        self._world = world
        self._config = config
        self._log = logs.get("knative.configuration")

    async def reconcile(self, key: Key) -> float | None:
        configuration = self._world[CONFIGURATIONS].get(*key)
        if configuration is None or is_leaving(configuration):
            return None
        latest = find_named_revision(self._world, configuration)
        if latest is None:
            made = await self._world.create(REVISIONS, build.build_revision(configuration, rfc3339()))
            latest = made if is_usable(made, configuration) else False
            if latest:
                text = f'Created Revision "{made["metadata"]["name"]}"'
                self._world.tell(CONFIGURATIONS, configuration, "Created", text)
        owned = self._owned(configuration)
        status = build_status(configuration, latest, owned, rfc3339())
        await self._world.write_status(CONFIGURATIONS, configuration, status)
        self._tell(configuration, status)
        ready = str(status.get("latestReadyRevisionName") or "")
        return await self._collect(owned, ready)

    def _tell(self, configuration: Obj, status: Obj) -> None:
        """Events of what has changed from the status before."""
        old = mapping(configuration.get("status"))
        before, now = conditions.read(old, "Ready"), conditions.read(status, "Ready")
        if now.is_true and not before.is_true:
            self._world.tell(
                CONFIGURATIONS, configuration, "ConfigurationReady", "Configuration becomes ready"
            )
        ready = status.get("latestReadyRevisionName")
        if ready and ready != old.get("latestReadyRevisionName"):
            text = f'LatestReadyRevisionName updated to "{ready}"'
            self._world.tell(CONFIGURATIONS, configuration, "LatestReadyUpdate", text)
        if now.is_false and (not before.is_false or now.message != before.message):
            name = status.get("latestCreatedRevisionName")
            text = f'Latest created revision "{name}" has failed'
            self._world.tell(CONFIGURATIONS, configuration, "LatestCreatedFailed", text, WARNING)

    def _owned(self, configuration: Obj) -> list[Obj]:
        namespace = configuration["metadata"]["namespace"]
        return [
            obj
            for (space, _), obj in self._world[REVISIONS].store.items()
            if space == namespace and is_owned(obj, configuration) and not is_leaving(obj)
        ]

    async def _collect(self, owned: list[Obj], ready: str) -> float | None:
        retention = self._config["serving"].retention
        for revision in plan_collection(owned, ready, retention, datetime.now(UTC)):
            self._log.info("revision collected", revision=revision["metadata"]["name"])
            await self._world.delete(REVISIONS, revision, propagationPolicy="Background")
        return COLLECT_EVERY_S if len(owned) > 1 else None


def find_named_revision(world: World, configuration: Obj) -> Obj | Literal[False] | None:
    """The Revision of the present template; None when there is none yet, False when the name is taken."""
    found = world[REVISIONS].get(configuration["metadata"]["namespace"], build.revision_name(configuration))
    if found is None or is_leaving(found):
        return None
    return found if is_usable(found, configuration) else False


def is_usable(revision: Obj, configuration: Obj) -> bool:
    """Whether an existing Revision is this template's: made for this generation, or with the same spec (rollback)."""
    if not is_owned(revision, configuration):
        return False
    if build.generation_of(revision) == configuration["metadata"]["generation"]:
        return True
    return bool(revision["spec"] == configuration["spec"]["template"]["spec"])


def build_status(configuration: Obj, latest: Obj | Literal[False], owned: list[Obj], at: str) -> Obj:
    """The whole status. ``latest`` is the Revision of the present template, False when its name is taken."""
    old = mapping(configuration.get("status"))
    status: Obj = {"observedGeneration": configuration["metadata"]["generation"]}
    created = latest["metadata"]["name"] if latest else str(old.get("latestCreatedRevisionName") or "")
    if created:
        status["latestCreatedRevisionName"] = created
    by_name = {obj["metadata"]["name"]: obj for obj in owned}
    before = str(old.get("latestReadyRevisionName") or "")
    ready = _latest_ready(by_name, before, latest or None)
    if ready:
        status["latestReadyRevisionName"] = ready
    condition = _ready_condition(configuration, latest, ready, by_name)
    status["conditions"] = conditions.merge(old.get("conditions"), [condition], at)
    return status


def _latest_ready(by_name: dict[str, Obj], before: str, latest: Obj | None) -> str:
    if latest is not None and is_ready(latest):
        return str(latest["metadata"]["name"])
    floor = build.generation_of(by_name[before]) if before in by_name else 0
    candidates = [obj for obj in by_name.values() if is_ready(obj) and build.generation_of(obj) > floor]
    newest = max(candidates, key=build.generation_of, default=None)
    if newest is None:
        return before
    return str(newest["metadata"]["name"])


def _ready_condition(
    configuration: Obj, latest: Obj | Literal[False], ready: str, by_name: dict[str, Obj]
) -> Condition:
    if latest is False:
        name = build.revision_name(configuration)
        text = f'Revision creation failed with message: revisions.{names.GROUP} "{name}" already exists.'
        return Condition("Ready", FALSE, "RevisionFailed", text)
    name = latest["metadata"]["name"]
    state = conditions.read(latest.get("status"), "Ready")
    if state.is_false:
        text = f'Revision "{name}" failed with message: {state.message}.'
        return Condition("Ready", FALSE, "RevisionFailed", text)
    if ready and ready not in by_name:
        return Condition("Ready", FALSE, "RevisionDeleted", f'Revision "{ready}" was deleted.')
    return Condition("Ready", TRUE if ready == name and is_ready(latest) else UNKNOWN)


def is_ready(obj: Obj) -> bool:
    """Ready, and seen in its present generation."""
    status = mapping(obj.get("status"))
    is_current = status.get("observedGeneration") == obj["metadata"].get("generation")
    return is_current and conditions.read(status, "Ready").is_true
