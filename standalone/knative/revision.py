"""Revision controller: one Deployment and one PodAutoscaler a Revision, and what became of them in its status.

Sections 1.2, 1.9 and 2.9 of the reference page. Invariant: ``spec.replicas`` of the Deployment is written here only
when it is created; a broken revision changes nothing for the others.
"""

from __future__ import annotations

from standalone.knative import build_revision as build
from standalone.knative import revision_status
from standalone.knative.events import WARNING
from standalone.knative.pod_index import PodIndex
from standalone.knative.resources import AUTOSCALERS, REVISIONS, Key
from standalone.knative.settings import ServingConfig
from standalone.knative.world import World, covers, is_leaving, is_owned, rfc3339
from wakeful.core.api import conditions
from wakeful.core.api import knative_serving_names as names
from wakeful.core.api.conditions import FALSE, UNKNOWN, Condition
from wakeful.core.api.isvc_problem import mapping
from wakeful.core.scaling import durations
from wakeful.core.scaling.activity import decide_reachability
from wakeful.core.scaling.settings import build_scaling
from wakeful.kit.kube import DEPLOYMENTS, Obj


class RevisionController:
    def __init__(self, world: World, config: dict[str, ServingConfig], pods: PodIndex) -> None:
        self._world = world
        self._config = config
        self._pods = pods

    async def reconcile(self, key: Key) -> None:
        revision = self._world[REVISIONS].get(*key)
        if revision is None or is_leaving(revision):
            return
        deployment = await self._ensure_deployment(revision)
        if not is_owned(deployment, revision):
            await self._write_not_owned(revision, "Deployment", deployment)
            return
        failure = revision_status.find_failure(deployment, self._standing(deployment))
        autoscaler = await self._ensure_autoscaler(revision, deployment, failure is not None)
        if not is_owned(autoscaler, revision):
            await self._write_not_owned(revision, "PodAutoscaler", autoscaler)
            return
        available = mapping(deployment.get("status")).get("availableReplicas") or 0
        found = revision_status.decide_conditions(
            mapping(revision.get("status")), autoscaler, failure, available
        )
        await self._write(revision, autoscaler, found)

    async def _ensure_deployment(self, revision: Obj) -> Obj:
        metadata = revision["metadata"]
        config = self._config["serving"]
        deadline_s = progress_deadline_s(revision, config)
        name = build.deployment_name(metadata["name"])
        existing = self._world[DEPLOYMENTS].get(metadata["namespace"], name)
        if existing is None:
            replicas = _initial_replicas(revision, config)
            return await self._world.create(
                DEPLOYMENTS, build.build_deployment(revision, replicas, deadline_s)
            )
        wanted = build.build_deployment(revision, 0, deadline_s)
        del wanted["spec"]["replicas"]
        if (
            is_leaving(existing)
            or not is_owned(existing, revision)
            or covers(existing["spec"], wanted["spec"])
        ):
            return existing
        changed = {**existing, "spec": {**existing["spec"], **wanted["spec"]}}
        return await self._world.update(DEPLOYMENTS, changed)

    async def _ensure_autoscaler(self, revision: Obj, deployment: Obj, is_failing: bool) -> Obj:
        state = mapping(revision["metadata"].get("labels")).get(names.ROUTING_STATE, "")
        reachability = decide_reachability(state, self._is_broken(revision, deployment, is_failing))
        wanted = build.build_autoscaler(revision, reachability.value)
        existing = self._world[AUTOSCALERS].get(revision["metadata"]["namespace"], wanted["metadata"]["name"])
        if existing is None:
            return await self._world.create(AUTOSCALERS, wanted)
        annotations = mapping(existing["metadata"].get("annotations"))
        same = covers(existing["spec"], wanted["spec"]) and annotations == wanted["metadata"]["annotations"]
        if is_leaving(existing) or not is_owned(existing, revision) or same:
            return existing
        notes = dict.fromkeys(annotations) | wanted["metadata"]["annotations"]  # None removes one
        body = {"metadata": {"annotations": notes}, "spec": wanted["spec"]}
        # a patch: the autoscaler writes the status of the same object all the time
        return await self._world.patch(AUTOSCALERS, existing, body)

    def _is_broken(self, revision: Obj, deployment: Obj, is_failing: bool) -> bool:
        """Infrastructure failure (2.9): pods are wanted, none is ready, and a condition says why."""
        status, spec = mapping(deployment.get("status")), mapping(deployment.get("spec"))
        if not spec.get("replicas") or status.get("readyReplicas"):
            return False
        told = mapping(revision.get("status"))
        return is_failing or any(
            conditions.read(told, type_).is_false
            for type_ in (revision_status.RESOURCES, revision_status.HEALTHY)
        )

    def _standing(self, deployment: Obj) -> list[Obj]:
        """Its pods but those that are being deleted: a pod told to go does not fail."""
        return [pod for pod in self._pods.of(deployment) if not is_leaving(pod)]

    async def _write_not_owned(self, revision: Obj, kind: str, child: Obj) -> None:
        text = f'There is an existing {kind} "{child["metadata"]["name"]}" that we do not own.'
        told = Condition(revision_status.RESOURCES, FALSE, "NotOwned", text)
        healthy = Condition(revision_status.HEALTHY, UNKNOWN, revision_status.DEPLOYING)
        await self._write(revision, None, [conditions.roll_up("Ready", [told]), told, healthy])

    async def _write(self, revision: Obj, autoscaler: Obj | None, found: list[Condition]) -> None:
        status = revision_status.build_status(revision, autoscaler, found, rfc3339())
        await self._world.write_status(REVISIONS, revision, status)
        before, now = conditions.read(revision.get("status"), "Ready"), conditions.read(status, "Ready")
        if now.is_true and not before.is_true:
            text = "Revision becomes ready upon all resources being ready"
            self._world.tell(REVISIONS, revision, "RevisionReady", text)
        elif now.is_false and (now.reason, now.message) != (before.reason, before.message):
            self._world.tell(REVISIONS, revision, now.reason, now.message, WARNING)


def _initial_replicas(revision: Obj, config: ServingConfig) -> int:
    """The pods a new revision starts with: its initial scale, within min and max."""
    annotations = mapping(revision["metadata"].get("annotations"))
    concurrency = revision["spec"].get("containerConcurrency") or 0
    scaling = build_scaling(config.autoscaler, annotations, concurrency)
    wanted = max(scaling.initial_scale, scaling.min_scale)
    return min(wanted, scaling.max_scale) if scaling.max_scale else wanted


def progress_deadline_s(revision: Obj, config: ServingConfig) -> float:
    text = mapping(revision["metadata"].get("annotations")).get(names.PROGRESS_DEADLINE)
    try:
        return durations.parse(text) if text else config.progress_deadline_s
    except ValueError:
        return config.progress_deadline_s
