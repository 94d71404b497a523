"""Deployment controller: makes and removes pods, Knative's and anybody's, and keeps the Deployment's status.

``plan_pods`` decides. Pods are created at once when the autoscaler has patched ``spec.replicas`` (the cache sees that
write immediately), because a request waits for them. Left out: ReplicaSets, revision history, ``rollout undo``.

Invariant: two passes in a row never create the same missing pod twice, and a refused pod is told in the status.
"""

from __future__ import annotations

import asyncio
import copy
import secrets
from datetime import UTC, datetime

from standalone.knative import plan_pods
from standalone.knative.pod_index import PodIndex
from standalone.knative.resources import Key, head, owner_reference
from standalone.knative.world import World, is_leaving
from wakeful.core.api.isvc_problem import mapping
from wakeful.kit import logs
from wakeful.kit.kube import DEPLOYMENTS, PODS, ApiError, Obj

REFUSED_AGAIN_S = 5.0
DEADLINE_CHECK_S = 10.0
BURST = 50
"""Pods created or deleted at once for one Deployment; the rest follows in the next pass."""


class DeploymentController:
    def __init__(self, world: World, pods: PodIndex) -> None:
        self._world = world
        self._pods = pods
        self._log = logs.get("knative.deployment")

    async def reconcile(self, key: Key) -> float | None:
        deployment = self._world[DEPLOYMENTS].get(*key)
        if deployment is None or is_leaving(deployment):
            return None
        plan = plan_pods.plan_pods(deployment, self._pods.of(deployment))
        refused = await self._create(deployment, min(plan.create, BURST))
        deletions = (self._world.delete(PODS, pod) for pod in plan.delete[:BURST])
        await asyncio.gather(*deletions)
        present = self._world[DEPLOYMENTS].get(*key) or deployment
        at = datetime.now(UTC)
        status = plan_pods.build_status(present, self._pods.of(present), refused, at)
        await self._world.write_status(DEPLOYMENTS, present, status)
        if max(plan.create, len(plan.delete)) > BURST:
            return 0.0
        return _again_s(present, status, refused)

    async def _create(self, deployment: Obj, count: int) -> str:
        """Create ``count`` pods; the server's sentence when it refuses one."""
        results = await asyncio.gather(
            *(self._world.create(PODS, build_pod(deployment, _suffix())) for _ in range(count)),
            return_exceptions=True,
        )
        refused = ""
        for result in results:
            if isinstance(result, ApiError):
                refused = str(result)
            elif isinstance(result, BaseException):
                raise result
        if refused:
            self._log.warning("pod refused", deployment=deployment["metadata"]["name"], error=refused)
        return refused


def _again_s(deployment: Obj, status: Obj, refused: str) -> float | None:
    if refused:
        return REFUSED_AGAIN_S
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
