"""Conditions of the components and what they add up to: PredictorReady ... RoutesReady, LatestDeploymentReady, Ready.

Called by ``plan``. Source: KServe behaviour page sections 1.3 and 2.2 step 10. Done better than there: an error in
runtime selection or storage sets the component False with its reason; a Knative Service whose status is older than its
spec counts as Unknown, so nobody takes yesterday's Ready for today's. Invariant: Ready is True only when PredictorReady
and IngressReady are.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from controller.desired.reasons import Reason
from controller.observed import Failure
from wakeful.core.api import isvc_names as names
from wakeful.core.api.conditions import FALSE, INFO, TRUE, UNKNOWN, Condition, read, roll_up
from wakeful.core.api.isvc_problem import Obj, mapping

READY = "Ready"
INGRESS_READY = "IngressReady"
STOPPED = "Stopped"
OUT_OF_TIME = "timed out progressing"
"""What Knative passes on from a Deployment that made no progress within its deadline."""
NO_READY_REVISION = "RevisionMissing"
"""Knative's reason that names no cause: the first revision waits, for instance for a node with room."""
LAST_SEEN = " Last seen: "
INGRESS_REASONS = {
    names.PREDICTOR: Reason.PREDICTOR_NOT_READY,
    names.TRANSFORMER: Reason.TRANSFORMER_NOT_READY,
    names.EXPLAINER: Reason.EXPLAINER_NOT_READY,
}


def ready_type(component: str) -> str:
    return f"{names.CONDITION_PREFIX[component]}Ready"


def route_type(component: str) -> str:
    # KServe spells the explainer's in the plural; clients know it so.
    suffix = "RoutesReady" if component == names.EXPLAINER else "RouteReady"
    return names.CONDITION_PREFIX[component] + suffix


def configuration_type(component: str) -> str:
    return f"{names.CONDITION_PREFIX[component]}ConfigurationReady"


@dataclass(frozen=True, slots=True)
class Pods:
    """What the newest pod says of itself, "" for nothing: ``held`` what it waits for, ``failed`` how it failed."""

    held: str = ""
    failed: str = ""


def of_component(
    component: str, service: Obj | None, failure: Failure | None, before: Obj, pods: Pods
) -> list[Condition]:
    """Ready, route and configuration condition of one component. ``before`` is the InferenceService's status so far."""
    status = mapping(mapping(service).get("status"))
    ready = _ready(component, service, failure)
    if failure is None and ready.reason != Reason.OUT_OF_DATE:
        if pods.failed and not ready.is_true:
            ready = Condition(ready.type, FALSE, Reason.REVISION_FAILED, pods.failed)
        elif pods.held and (ready.status == UNKNOWN or ready.reason == NO_READY_REVISION):
            ready = Condition(ready.type, ready.status, Reason.POD_NOT_READY, pods.held)
    ready = _with_last_seen(ready, read(before, ready.type))
    return [
        ready if component == names.PREDICTOR else _as_info(ready),
        _renamed(read(status, "RoutesReady"), route_type(component)),
        _renamed(read(status, "ConfigurationsReady"), configuration_type(component)),
    ]


def _ready(component: str, service: Obj | None, failure: Failure | None) -> Condition:
    type_ = ready_type(component)
    if failure is not None:
        return Condition(type_, FALSE, failure.reason, failure.message)
    if service is None:
        return Condition(
            type_, UNKNOWN, Reason.SERVICE_NOT_OBSERVED, "the Knative Service does not exist yet"
        )
    status = mapping(service.get("status"))
    ready = read(status, "Ready")
    if status.get("observedGeneration") != mapping(service.get("metadata")).get("generation"):
        message = "Knative has not acted on the newest specification yet"
        return Condition(type_, UNKNOWN, Reason.OUT_OF_DATE, message)
    return Condition(type_, ready.status, ready.reason, ready.message)


def _with_last_seen(ready: Condition, before: Condition) -> Condition:
    """When Knative gives up on a revision it removes the pods: keep what they were waiting for."""
    if not ready.is_false or OUT_OF_TIME not in ready.message:
        return ready
    is_pods_own = (
        before.reason in (Reason.POD_NOT_READY, Reason.REVISION_FAILED) and LAST_SEEN not in before.message
    )
    last = before.message if is_pods_own else before.message.partition(LAST_SEEN)[2]
    return Condition(ready.type, FALSE, ready.reason, ready.message + LAST_SEEN + last) if last else ready


def of_aggregates(components: Sequence[str], conditions: Sequence[Condition]) -> list[Condition]:
    """RoutesReady and LatestDeploymentReady over all components; the last one that is not ready decides."""
    by_type = {item.type: item for item in conditions}
    aggregates = []
    for aggregate, type_of in (("RoutesReady", route_type), ("LatestDeploymentReady", configuration_type)):
        status, reason = TRUE, ""
        for component in components:
            member = by_type[type_of(component)]
            if not member.is_true:
                status = FALSE if member.is_false else UNKNOWN
                reason = f"{member.type} not ready"
        aggregates.append(Condition(aggregate, status, reason, severity=INFO))
    return aggregates


def gate_of_ingress(components: Sequence[str], conditions: Sequence[Condition]) -> Condition | None:
    """IngressReady while a component is not ready; None when all are."""
    by_type = {item.type: item for item in conditions}
    for component in components:
        item = by_type[ready_type(component)]
        if not item.is_true:
            why = " ".join(part for part in (item.reason, item.message) if part)
            message = f"{item.type} is {item.status}{': ' + why if why else ''}"
            return Condition(INGRESS_READY, item.status, INGRESS_REASONS[component], message)
    return None


def of_ready(conditions: Sequence[Condition]) -> Condition:
    """The happy condition."""
    by_type = {item.type: item for item in conditions}
    return roll_up(READY, [by_type[ready_type(names.PREDICTOR)], by_type[INGRESS_READY]])


def of_stopped(is_stopped: bool) -> Condition:
    if is_stopped:
        message = f"annotation {names.STOP} is true; remove it to start the InferenceService again"
        return Condition(STOPPED, TRUE, Reason.STOPPED, message, INFO)
    return Condition(STOPPED, FALSE, severity=INFO)


def while_stopped(components: Sequence[str]) -> list[Condition]:
    """All conditions of a stopped InferenceService."""
    message = f"stopped by annotation {names.STOP}"
    found = [Condition(INGRESS_READY, FALSE, Reason.STOPPED, message)]
    for component in components:
        severity = "" if component == names.PREDICTOR else INFO
        found.append(Condition(ready_type(component), FALSE, Reason.STOPPED, message, severity))
    return [*found, of_ready(found), of_stopped(True)]


def _renamed(condition: Condition, type_: str) -> Condition:
    return Condition(type_, condition.status, condition.reason, condition.message, INFO)


def _as_info(condition: Condition) -> Condition:
    return Condition(condition.type, condition.status, condition.reason, condition.message, INFO)
