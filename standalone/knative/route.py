"""Route controller: the traffic block into an Ingress, placeholder Services, URLs and the status.

Sections 1.5 to 1.7 of the reference page; marking revisions is ``labeler``'s. Invariant: a block that cannot be
resolved changes no routing at all; the Ingress that is in force stays as it was.
"""

from __future__ import annotations

import time
from dataclasses import dataclass

from standalone.knative import build_routing as build
from standalone.knative.configuration import is_ready
from standalone.knative.events import WARNING
from standalone.knative.labeler import Labeler
from standalone.knative.resources import CONFIGURATIONS, INGRESSES, REVISIONS, ROUTES, Key
from standalone.knative.settings import ServingConfig
from standalone.knative.world import World, is_leaving, is_owned, rfc3339
from wakeful.core.api import conditions
from wakeful.core.api import knative_serving_names as names
from wakeful.core.api.conditions import FALSE, TRUE, UNKNOWN, Condition
from wakeful.core.api.isvc_problem import mapping, mappings
from wakeful.core.scaling import durations
from wakeful.core.traffic import rollout, targets
from wakeful.core.traffic.targets import ConfigurationFacts, Problem, Readiness, RevisionFacts, Target
from wakeful.kit.kube import SERVICES, Obj

ASSIGNED, INGRESS_READY, CERTIFIED = "AllTrafficAssigned", "IngressReady", "CertificateProvisioned"
NO_TLS = Condition(CERTIFIED, TRUE, "TLSNotEnabled", "external-domain-tls is not enabled")
NO_INGRESS = Condition(INGRESS_READY, UNKNOWN, "IngressNotConfigured", "Ingress has not yet been reconciled.")


@dataclass(frozen=True, slots=True)
class Outcome:
    """What one pass found: the two conditions, the status block (None: keep) and when to look again."""

    assigned: Condition
    ingress: Condition
    traffic: list[Obj] | None
    again_s: float | None = None


class RouteController:
    def __init__(self, world: World, config: dict[str, ServingConfig], labeler: Labeler) -> None:
        self._world = world
        self._config = config
        self._labeler = labeler

    async def reconcile(self, key: Key) -> float | None:
        route = self._world[ROUTES].get(*key)
        if route is None or is_leaving(route):
            await self._labeler.clear(key)
            return None
        config = self._config["serving"]
        try:
            hosts = build.build_hosts(route, "", config, frozenset())
            outcome = await self._assign(route, config)
        except build.HostError as error:
            outcome = Outcome(Condition(ASSIGNED, FALSE, "ErrorConfig", str(error)), NO_INGRESS, None)
            hosts = None
        route = await self._write_status(route, hosts, outcome)
        await self._labeler.mark(route)
        return outcome.again_s

    async def _assign(self, route: Obj, config: ServingConfig) -> Outcome:
        found = self._resolve(route)
        present = self._world[INGRESSES].get(route["metadata"]["namespace"], route["metadata"]["name"])
        if isinstance(found, Problem):
            status = FALSE if found.is_final else UNKNOWN
            kept = NO_INGRESS if present is None else Condition(INGRESS_READY, TRUE)
            return Outcome(Condition(ASSIGNED, status, found.reason.value, found.message), kept, None)
        if present is not None and not is_owned(present, route):
            text = f'There is an existing Ingress "{present["metadata"]["name"]}" that we do not own.'
            return Outcome(Condition(ASSIGNED, TRUE), Condition(INGRESS_READY, FALSE, "NotOwned", text), None)
        private = self._private_tags(route, config)
        tagged = targets.tags(found)
        hosts = {tag: build.build_hosts(route, tag, config, private) for tag in ("", *tagged)}
        rollouts = self._roll(route, present, found, config)
        splits = _splits(found, rollouts)
        is_rolling = any(not item.is_done for item in rollouts)
        by_header = config.features.is_on("tag-header-based-routing")
        state = rollout.render_state(rollouts) if rollouts else ""
        present = await self._ensure_ingress(
            route, present, build.build_ingress(route, hosts, splits, state, by_header)
        )
        taken = await self._ensure_placeholders(route, [h.name for h in hosts.values()])
        traffic = targets.render_status(found, lambda tag: hosts[tag].url(config.gateway_port))
        ingress = _ingress_condition(present)
        if taken:
            text = f'There is an existing placeholder Service "{taken}" that we do not own.'
            ingress = Condition(INGRESS_READY, FALSE, "NotOwned", text)
        elif is_rolling:
            text = "A gradual rollout of the latest revision(s) is in progress."
            ingress = Condition(INGRESS_READY, UNKNOWN, "RolloutInProgress", text)
        return Outcome(Condition(ASSIGNED, TRUE), ingress, traffic, _next_step_s(rollouts))

    def _resolve(self, route: Obj) -> list[Target] | Problem:
        namespace = route["metadata"]["namespace"]

        def configuration(name: str) -> ConfigurationFacts | None:
            obj = self._world[CONFIGURATIONS].get(namespace, name)
            if obj is None:
                return None
            status = mapping(obj.get("status"))
            ready = conditions.read(status, "Ready").status
            return ConfigurationFacts(str(status.get("latestReadyRevisionName") or ""), Readiness(ready))

        def revision(name: str) -> RevisionFacts | None:
            obj = self._world[REVISIONS].get(namespace, name)
            if obj is None or is_leaving(obj):
                return None
            labels = mapping(obj["metadata"].get("labels"))
            state = conditions.read(obj.get("status"), "Ready").status
            readiness = Readiness.READY if is_ready(obj) else Readiness(state if state != TRUE else UNKNOWN)
            return RevisionFacts(
                readiness, labels.get(names.CONFIGURATION, ""), labels.get(names.SERVICE, "")
            )

        owner = mapping(route["metadata"].get("labels")).get(names.SERVICE, "")
        return targets.resolve(mappings(route["spec"].get("traffic")), configuration, revision, owner)

    def _roll(
        self, route: Obj, present: Obj | None, found: list[Target], config: ServingConfig
    ) -> list[rollout.Rollout]:
        """The gradual rollout of each entry that follows the latest revision."""
        duration_s = rollout_duration_s(route, config)
        annotations = mapping((present or {}).get("metadata")).get("annotations")
        before = {
            (item.configuration, item.tag): item
            for item in rollout.parse_state(mapping(annotations).get(names.ROLLOUT, ""))
        }
        goals = [
            rollout.Rollout(t.configuration, t.tag, t.percent, ((t.revision, t.percent),))
            for t in found
            if t.is_latest and t.percent > 0
        ]
        now = time.time()
        return [rollout.step(before.get((g.configuration, g.tag)), g, duration_s, now) for g in goals]

    async def _ensure_ingress(self, route: Obj, present: Obj | None, wanted: Obj) -> Obj:
        if present is None:
            made = await self._world.create(INGRESSES, wanted)
            self._world.tell(ROUTES, route, "Created", f'Created Ingress "{wanted["metadata"]["name"]}"')
            return made
        metadata, goal = present["metadata"], wanted["metadata"]
        is_same = present["spec"] == wanted["spec"] and all(
            mapping(metadata.get(key)) == goal[key] for key in ("labels", "annotations")
        )
        if is_same:
            return present
        changed = {**metadata, "labels": goal["labels"], "annotations": goal["annotations"]}
        return await self._world.update(INGRESSES, {**present, "metadata": changed, "spec": wanted["spec"]})

    async def _ensure_placeholders(self, route: Obj, wanted: list[str]) -> str:
        """Make and remove placeholder Services; the name of one that somebody else has, or ""."""
        namespace = route["metadata"]["namespace"]
        taken = ""
        for name in wanted:
            existing = self._world[SERVICES].get(namespace, name)
            if existing is None:
                existing = await self._world.create(SERVICES, build.build_placeholder(route, name))
                self._world.tell(ROUTES, route, "Created", f'Created placeholder service "{name}"')
            if not is_owned(existing, route):
                taken = name
        for (space, name), obj in list(self._world[SERVICES].store.items()):
            if space == namespace and name not in wanted and is_owned(obj, route) and not is_leaving(obj):
                await self._world.delete(SERVICES, obj)
        return taken

    def _private_tags(self, route: Obj, config: ServingConfig) -> frozenset[str]:
        """Tags whose placeholder Service carries the cluster-local label."""
        found = set()
        for entry in mappings(route["spec"].get("traffic")):
            if tag := entry.get("tag"):
                name = build.build_hosts(route, tag, config, frozenset()).name
                service = self._world[SERVICES].get(route["metadata"]["namespace"], name)
                labels = mapping((service or {}).get("metadata")).get("labels")
                if mapping(labels).get(names.VISIBILITY) == names.CLUSTER_LOCAL:
                    found.add(tag)
        return frozenset(found)

    async def _write_status(self, route: Obj, hosts: build.Hosts | None, outcome: Outcome) -> Obj:
        old = mapping(route.get("status"))
        status: Obj = {"observedGeneration": route["metadata"]["generation"]}
        if hosts is not None:
            port = self._config["serving"].gateway_port
            status |= {"url": hosts.url(port), "address": {"url": hosts.address}}
        traffic = old.get("traffic") if outcome.traffic is None else outcome.traffic
        if traffic is not None:
            status["traffic"] = traffic
        parts = [outcome.assigned, outcome.ingress, NO_TLS]
        ready = conditions.roll_up("Ready", parts)
        status["conditions"] = conditions.merge(old.get("conditions"), [ready, *parts], rfc3339())
        before, now = conditions.read(old, ASSIGNED), outcome.assigned
        if now.is_false and (now.reason, now.message) != (before.reason, before.message):
            self._world.tell(ROUTES, route, now.reason, now.message, WARNING)
        return await self._world.write_status(ROUTES, route, status)


def _ingress_condition(ingress: Obj) -> Condition:
    """The Ingress's own word, once it is about the Ingress as it is now."""
    status = mapping(ingress.get("status"))
    if status.get("observedGeneration") != ingress["metadata"]["generation"]:
        return NO_INGRESS
    ready = conditions.read(status, "Ready")
    return Condition(INGRESS_READY, ready.status, ready.reason, ready.message)


def _splits(found: list[Target], rollouts: list[rollout.Rollout]) -> dict[str, build.Split]:
    """Tag ("" is the main host) to shares."""
    rolled = {(item.configuration, item.tag): item.revisions for item in rollouts}
    spread: list[Target] = []
    for target in found:
        shares = rolled.get((target.configuration, target.tag)) if target.is_latest else None
        pairs = shares or ((target.revision, target.percent),)
        spread += [
            Target(name, percent, "", target.is_latest, target.configuration) for name, percent in pairs
        ]
    splits: dict[str, build.Split] = {"": targets.main_split(spread)}
    for tag, target in targets.tags(found).items():
        splits[tag] = [(target.revision, 100)]
    return splits


def _next_step_s(rollouts: list[rollout.Rollout]) -> float | None:
    due = [item.next_step_at for item in rollouts if not item.is_done]
    return max(0.05, min(due) - time.time()) if due else None


def rollout_duration_s(route: Obj, config: ServingConfig) -> float:
    """The route's annotation, else config-network's."""
    text = mapping(route["metadata"].get("annotations")).get(names.ROLLOUT_DURATION)
    try:
        return durations.parse(text) if text else config.rollout_s
    except ValueError:
        return config.rollout_s
