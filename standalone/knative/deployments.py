"""Deployment controller: makes and removes pods, Knative's and anybody's, and keeps the Deployment's status.

``plan_pods`` decides. Pods are created at once when the autoscaler has patched ``spec.replicas`` (the cache sees that
write immediately), because a request waits for them. Left out: ReplicaSets, revision history, ``rollout undo``.

An answer that says nothing about the pod (5xx, 429: a webhook whose server is just starting) is no refusal: it is
tried again within tenths of a second and told in the status only when it lasts longer than ``PATIENCE_S``.

Invariant: two passes in a row never create the same missing pod twice, a refused pod is told in the status, and none
is tried again before its time, however often something else asks for a pass.
"""

from __future__ import annotations

import asyncio
import copy
import secrets
from dataclasses import dataclass
from datetime import UTC, datetime

from standalone.knative import plan_pods
from standalone.knative.events import WARNING
from standalone.knative.pod_index import PodIndex
from standalone.knative.resources import Key, head, owner_reference
from standalone.knative.world import World, is_leaving
from wakeful.core.api.isvc_problem import mapping
from wakeful.kit import logs
from wakeful.kit.kube import DEPLOYMENTS, PODS, ApiError, Obj

REFUSED_AGAIN_S = 5.0
FIRST_TRY_AGAIN_S = 0.1
PATIENCE_S = 10.0
DEADLINE_CHECK_S = 10.0
STATUS_LAG_S = 0.2
"""How long the status may lag behind new pods: somebody may be waiting for them, and nobody for the count."""
BURST = 50
"""Pods created or deleted at once for one Deployment; the rest follows in the next pass."""


@dataclass(frozen=True, slots=True)
class Refusal:
    """Why no pod could be created; ``is_passing`` when the answer was not about the pod."""

    text: str
    is_passing: bool


@dataclass(slots=True)
class Trouble:
    """Creations that fail in a way that should pass; ``since`` in loop seconds."""

    since: float
    tries: int = 0


@dataclass(frozen=True, slots=True)
class Pause:
    """No pod is created before ``until`` (loop seconds) unless the Deployment's spec changes; ``told`` is for the status."""

    until: float
    generation: int
    told: str


class DeploymentController:
    def __init__(self, world: World, pods: PodIndex) -> None:
        self._world = world
        self._pods = pods
        self._troubles: dict[Key, Trouble] = {}
        self._pauses: dict[Key, Pause] = {}
        self._log = logs.get("knative.deployment")

    async def reconcile(self, key: Key) -> float | None:
        deployment = self._world[DEPLOYMENTS].get(*key)
        if deployment is None or is_leaving(deployment):
            self._troubles.pop(key, None)
            self._pauses.pop(key, None)
            return None
        plan = plan_pods.plan_pods(deployment, self._pods.of(deployment))
        pause, refusal = self._pause(key, deployment), None
        if pause is None:
            refusal = await self._create(deployment, min(plan.create, BURST))
            pause = self._judge_and_pause(key, deployment, refusal)
            self._tell(deployment, plan, refusal)
        deletions = (self._world.delete(PODS, pod) for pod in plan.delete[:BURST])
        await asyncio.gather(*deletions)
        if plan.create and not plan.delete and pause is None and plan.create <= BURST:
            return STATUS_LAG_S
        present = self._world[DEPLOYMENTS].get(*key) or deployment
        at = datetime.now(UTC)
        status = plan_pods.build_status(present, self._pods.of(present), pause.told if pause else "", at)
        await self._world.write_status(DEPLOYMENTS, present, status)
        if pause is not None:
            return max(0.01, pause.until - asyncio.get_running_loop().time())
        if max(plan.create, len(plan.delete)) > BURST:
            return 0.0
        return _again_s(present, status)

    def _pause(self, key: Key, deployment: Obj) -> Pause | None:
        """The pause in force."""
        pause = self._pauses.get(key)
        if pause is None or pause.generation != deployment["metadata"].get("generation"):
            return None
        return pause if asyncio.get_running_loop().time() < pause.until else None

    def _judge_and_pause(self, key: Key, deployment: Obj, refusal: Refusal | None) -> Pause | None:
        told, retry_s = self._judge(key, refusal)
        if retry_s is None:
            self._pauses.pop(key, None)
            return None
        until = asyncio.get_running_loop().time() + retry_s
        self._pauses[key] = Pause(until, deployment["metadata"].get("generation", 0), told)
        return self._pauses[key]

    def _tell(self, deployment: Obj, plan: plan_pods.Plan, refusal: Refusal | None) -> None:
        """The Events a cluster's Deployment and ReplicaSet controllers would write."""
        if refusal is not None and not refusal.is_passing:
            self._world.tell(
                DEPLOYMENTS, deployment, "FailedCreate", f"Error creating: {refusal.text}", WARNING
            )
            return
        name = f"{deployment['metadata']['name']}-{plan_pods.template_hash(deployment)}"
        wanted = int(deployment["spec"].get("replicas", 1))
        if plan.create and refusal is None:
            before = max(0, wanted - plan.create)
            text = f"Scaled up replica set {name} from {before} to {wanted}"
            self._world.tell(DEPLOYMENTS, deployment, "ScalingReplicaSet", text)
        elif plan.delete and not plan.create:
            text = f"Scaled down replica set {name} from {wanted + len(plan.delete)} to {wanted}"
            self._world.tell(DEPLOYMENTS, deployment, "ScalingReplicaSet", text)

    def _judge(self, key: Key, refusal: Refusal | None) -> tuple[str, float | None]:
        """What the status says of a refusal ("" for nothing) and when to try again (None: no need)."""
        if refusal is None or not refusal.is_passing:
            self._troubles.pop(key, None)
            if refusal is None:
                return "", None
            self._log.warning("pod refused", deployment=key[1], error=refusal.text)
            return refusal.text, REFUSED_AGAIN_S
        now = asyncio.get_running_loop().time()
        trouble = self._troubles.setdefault(key, Trouble(now))
        retry_s = min(FIRST_TRY_AGAIN_S * 2.0 ** min(trouble.tries, 10), REFUSED_AGAIN_S)
        trouble.tries += 1
        lasts = now - trouble.since > PATIENCE_S
        log = self._log.warning if lasts or trouble.tries == 1 else self._log.debug
        log("pod not created yet", deployment=key[1], error=refusal.text, retry_in_s=retry_s)
        return refusal.text if lasts else "", retry_s

    async def _create(self, deployment: Obj, count: int) -> Refusal | None:
        """Create ``count`` pods; the server's sentence when it does not take one."""
        pods = [build_pod(deployment, _suffix()) for _ in range(count)]
        creations = (self._world.create(PODS, pod) for pod in pods)
        results = await asyncio.gather(*creations, return_exceptions=True)
        refusal: Refusal | None = None
        for pod, result in zip(pods, results, strict=True):
            if isinstance(result, ApiError):
                # as a cluster says it, which refuses before the name is made up; and the same words each time
                name = pod["metadata"]["name"]
                text = str(result).replace(name, name.rpartition("-")[0] + "-")
                refusal = Refusal(text, result.code >= 500 or result.code == 429)
            elif isinstance(result, BaseException):
                raise result
        return refusal


def _again_s(deployment: Obj, status: Obj) -> float | None:
    min_ready_s = deployment["spec"].get("minReadySeconds")
    if min_ready_s and status.get("readyReplicas", 0) > status.get("availableReplicas", 0):
        return float(min_ready_s)
    progressing = next(c for c in status["conditions"] if c["type"] == "Progressing")
    return DEADLINE_CHECK_S if progressing["reason"] == "ReplicaSetUpdated" else None


def build_pod(deployment: Obj, suffix: str) -> Obj:
    """One pod of the Deployment's template."""
    metadata, template = deployment["metadata"], deployment["spec"]["template"]
    digest = plan_pods.template_hash(deployment)
    owner = owner_reference(DEPLOYMENTS, deployment)
    pod = head(PODS, owner, metadata["namespace"], f"{metadata['name']}-{digest}-{suffix}")
    given = mapping(template.get("metadata"))
    pod["metadata"]["labels"] = {**mapping(given.get("labels")), plan_pods.HASH: digest}
    if given.get("annotations"):
        pod["metadata"]["annotations"] = dict(given["annotations"])
    pod["spec"] = copy.deepcopy(template["spec"])
    return pod


def _suffix() -> str:
    letters = "bcdfghjklmnpqrstvwxz2456789"
    return "".join(secrets.choice(letters) for _ in range(5))
