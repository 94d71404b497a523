"""A Revision's conditions from what its Deployment, pods and PodAutoscaler say. Pure.

Called by ``revision``. Sections 1.2 and 2.8 of the reference page. A revision that sleeps stays Ready; a revision
whose pods cannot run says why, with the pod's own words, within seconds and not after the progress deadline.

Invariant: a failure that was seen stays until pods are available again (the pods that told it may be gone by then).
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Any

from wakeful.core.api import conditions
from wakeful.core.api.conditions import FALSE, INFO, TRUE, UNKNOWN, Condition
from wakeful.core.api.isvc_problem import mapping, mappings

Obj = dict[str, Any]
RESOURCES, HEALTHY, ACTIVE = "ResourcesAvailable", "ContainerHealthy", "Active"
DEPLOYING = "Deploying"
IMAGE_REASONS = frozenset({"ErrImagePull", "ImagePullBackOff", "InvalidImageName", "ErrImageNeverPull"})
CONFIG_REASONS = frozenset(
    {"CreateContainerConfigError", "CreateContainerError", "RunContainerError", "PostStartHookError"}
)
NEVER_ACHIEVED = "Initial scale was never achieved"


@dataclass(frozen=True, slots=True)
class Failure:
    """Why no pod runs: the condition it belongs to, reason and message."""

    type: str
    reason: str
    message: str


def find_failure(deployment: Obj, pods: Iterable[Obj]) -> Failure | None:
    """What keeps every wanted pod from running, None while one is available or none says anything."""
    status = mapping(deployment.get("status"))
    if not mapping(deployment.get("spec")).get("replicas") or status.get("availableReplicas"):
        return None
    refused = conditions.read(status, "ReplicaFailure")
    if refused.is_true:
        return Failure(RESOURCES, refused.reason, refused.message)
    for pod in pods:
        for failure in _pod_failures(pod):
            return failure
    progressing = conditions.read(status, "Progressing")
    if progressing.is_false:
        return Failure(RESOURCES, progressing.reason, progressing.message)
    return None


def _pod_failures(pod: Obj) -> Iterator[Failure]:
    status = mapping(pod.get("status"))
    scheduled = conditions.read(status, "PodScheduled")
    if scheduled.is_false:
        yield Failure(RESOURCES, scheduled.reason, scheduled.message)
    if status.get("phase") == "Failed" and status.get("message"):
        yield Failure(RESOURCES, str(status.get("reason") or "PodFailed"), str(status["message"]))
    images = {str(c.get("name")): str(c.get("image")) for c in _containers(pod)}
    for container in mappings(status.get("containerStatuses")):  # Knative says nothing of init containers
        yield from _container_failures(container, images)


def _containers(pod: Obj) -> list[Obj]:
    spec = mapping(pod.get("spec"))
    return mappings(spec.get("containers")) + mappings(spec.get("initContainers"))


def _container_failures(container: Obj, images: dict[str, str]) -> Iterator[Failure]:
    state, last = mapping(container.get("state")), mapping(container.get("lastState"))
    waiting = mapping(state.get("waiting"))
    reason, message = str(waiting.get("reason") or ""), str(waiting.get("message") or "")
    if reason in IMAGE_REASONS:
        image = images.get(str(container.get("name")), "")
        yield Failure(HEALTHY, "ContainerMissing", f'Unable to fetch image "{image}": {message or reason}')
    elif reason in CONFIG_REASONS:
        yield Failure(RESOURCES, reason, message or reason)
    ended = mapping(state.get("terminated")) or mapping(last.get("terminated"))
    code = ended.get("exitCode")
    if not ended:
        return
    if container.get("ready") or (mapping(state.get("running")) and not ended.get("exitCode")):
        return
    told = str(ended.get("message") or ended.get("reason") or f"exit code {code}")
    yield Failure(HEALTHY, f"ExitCode{code}", f"Container failed with: {told}")


def decide_conditions(
    old: Obj, autoscaler: Obj | None, failure: Failure | None, available: int
) -> list[Condition]:
    """Ready and its dependents. ``old`` is the present status, ``available`` the pods that can serve."""
    scaler = mapping((autoscaler or {}).get("status"))
    is_initialized = conditions.read(scaler, "ScaleTargetInitialized").is_true
    active = conditions.read(scaler, ACTIVE)
    resources, healthy = _dependents(old, is_initialized, active, failure, available)
    shown = Condition(ACTIVE, active.status, active.reason, active.message, INFO)
    if autoscaler is None:
        shown = Condition(ACTIVE, UNKNOWN, DEPLOYING, "", INFO)
    return [conditions.roll_up("Ready", [resources, healthy]), resources, healthy, shown]


def _dependents(
    old: Obj, is_initialized: bool, active: Condition, failure: Failure | None, available: int
) -> tuple[Condition, Condition]:
    before = (conditions.read(old, RESOURCES), conditions.read(old, HEALTHY))
    if failure is not None:
        told = Condition(failure.type, FALSE, failure.reason, failure.message)
        other = TRUE if is_initialized else UNKNOWN
        reason = "" if is_initialized else DEPLOYING
        if failure.type == RESOURCES:
            return told, Condition(HEALTHY, other, reason)
        return Condition(RESOURCES, other, reason), told
    if available == 0 and any(condition.is_false for condition in before):
        return before
    if is_initialized:
        return Condition(RESOURCES, TRUE), Condition(HEALTHY, TRUE)
    if active.is_false and active.reason:
        late = Condition(RESOURCES, FALSE, "ProgressDeadlineExceeded", NEVER_ACHIEVED)
        return late, Condition(HEALTHY, UNKNOWN, DEPLOYING)
    return Condition(RESOURCES, UNKNOWN, DEPLOYING), Condition(HEALTHY, UNKNOWN, DEPLOYING)


def build_status(revision: Obj, autoscaler: Obj | None, found: list[Condition], at: str) -> Obj:
    """The whole status of the Revision."""
    old, scaler = mapping(revision.get("status")), mapping((autoscaler or {}).get("status"))
    containers = mappings(revision["spec"].get("containers"))
    status: Obj = {
        "observedGeneration": revision["metadata"]["generation"],
        "conditions": conditions.merge(old.get("conditions"), found, at),
        "containerStatuses": [_digest(container) for container in containers],
    }
    for key, source in (("actualReplicas", "actualScale"), ("desiredReplicas", "desiredScale")):
        if isinstance(scaler.get(source), int) and scaler[source] >= 0:
            status[key] = scaler[source]
    return status


def _digest(container: Obj) -> Obj:
    image = str(container.get("image") or "")
    shown = {"name": container.get("name", "")}
    return {**shown, "imageDigest": image} if "@sha256:" in image else shown
