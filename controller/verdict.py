"""Puts the status together: conditions with their times, components, model, addresses; and the Events it gives rise to.

Called by ``plan`` at the end of each of its branches. Invariant: fields are carried over from the previous status only
where the rule says so (rollout memory, an address that survives a temporary failure); nothing stale stays by accident.
"""

from __future__ import annotations

from collections.abc import Sequence

from controller.desired import rollout as rollouts
from controller.desired.ingress import Address
from controller.desired.reasons import Reason
from controller.observed import EventNote, Failure, Observed, Part, Plan
from controller.status import code_bearing as code_bearing_status
from controller.status import components as component_status
from controller.status import model as model_status
from wakeful.core.api import conditions, servingruntime
from wakeful.core.api import isvc_names as names
from wakeful.core.api.conditions import Condition
from wakeful.core.api.inferenceservice import InferenceService
from wakeful.core.api.isvc_problem import Obj, mapping

WARNING = "Warning"
NORMAL = "Normal"
EVENT_REASONS = {str(Reason.KNATIVE_NOT_INSTALLED): "ServerlessModeRejected"}
"""Event reasons KServe's users know; everything else is ``InternalError`` there, and here."""
_PASSING = (Reason.STOPPED, Reason.OUT_OF_DATE)


def assemble(observed: Observed, service: InferenceService, found: Sequence[Condition], at: str) -> Obj:
    """The part of the status that every branch writes."""
    before = mapping(observed.isvc.get("status"))
    status: Obj = {
        "observedGeneration": service.generation,
        "conditions": conditions.merge(before.get("conditions"), found, at),
    }
    if before.get("deploymentMode"):
        status["deploymentMode"] = before["deploymentMode"]
    return status


def add_components(
    status: Obj, observed: Observed, parts: Sequence[Part], address: Address | None, at: str
) -> None:
    """Components, runtime, model status and addresses of a running InferenceService."""
    before = mapping(observed.isvc.get("status"))
    status["deploymentMode"] = names.KNATIVE
    memory = mapping(before.get("components"))
    components = {}
    for part in parts:
        old = mapping(memory.get(part.component.name))
        rendered = rollouts.render(part.rollout, mapping(mapping(part.live).get("status")), old)
        if rendered:
            components[part.component.name] = rendered
    if components:
        status["components"] = components
    predictor = parts[0]
    if predictor.pod is not None and predictor.pod.runtime is not None:
        runtime = predictor.pod.runtime.runtime
        is_cluster = runtime.kind == servingruntime.CLUSTER
        status["clusterServingRuntimeName" if is_cluster else "servingRuntimeName"] = runtime.name
    old_model = mapping(before.get("modelStatus"))
    if predictor.failure is not None:
        status["modelStatus"] = model_status.render_invalid(predictor.failure, old_model, at)
    else:
        state = model_status.decide(predictor.live, predictor.rollout, observed.pods)
        status["modelStatus"] = model_status.render(state, predictor.rollout, observed.pods, old_model, at)
    _add_addresses(status, before, address)


def _add_addresses(status: Obj, before: Obj, address: Address | None) -> None:
    """An address, once known, survives a component that is not ready for a while."""
    if address is not None:
        status["url"] = address.url
        status["address"] = {"url": address.internal}
        return
    for key in ("url", "address"):
        if before.get(key):
            status[key] = before[key]


def with_configuration(found: list[Condition], problems: Sequence[str]) -> list[Condition]:
    """Show a bad key of the operator's ConfigMap without taking Ready from what already runs."""
    if not problems:
        return found
    shown = Condition(
        "LatestDeploymentReady",
        conditions.FALSE,
        Reason.INVALID_CONFIGURATION,
        "; ".join(problems),
        conditions.INFO,
    )
    return [shown if item.type == shown.type else item for item in found]


def refused(observed: Observed, service: InferenceService, failure: Failure, at: str) -> Plan:
    """Nothing can be built at all: every component says why. What runs already is left alone."""
    found = []
    for component in service.components:
        type_ = component_status.ready_type(component.name)
        severity = "" if component.name == names.PREDICTOR else conditions.INFO
        found.append(Condition(type_, conditions.FALSE, failure.reason, failure.message, severity))
    order = [item.name for item in service.components]
    gate = component_status.gate_of_ingress(order, found)
    if gate is not None:
        found.append(gate)
    found += [component_status.of_stopped(False), component_status.of_ready(found)]
    status = assemble(observed, service, found, at)
    before = mapping(observed.isvc.get("status"))
    status["modelStatus"] = model_status.render_invalid(failure, mapping(before.get("modelStatus")), at)
    if before.get("components"):
        status["components"] = before["components"]
    _add_addresses(status, before, None)
    return Plan(failure.reason, failure.message, status=status, events=events(observed, service, found))


def events(
    observed: Observed, service: InferenceService, found: Sequence[Condition]
) -> tuple[EventNote, ...]:
    """Events on changes only: ready, not ready any more, and each error of a component once."""
    before = mapping(observed.isvc.get("status"))
    notes = []
    was = conditions.read(before, "Ready")
    now = next(item for item in found if item.type == "Ready")
    if now.is_true and not was.is_true:
        notes.append(
            EventNote(NORMAL, "InferenceServiceReady", f"InferenceService [{service.name}] is Ready")
        )
    if was.is_true and not now.is_true:
        causes = [item.type for item in found if not item.is_true and item.type not in ("Ready", "Stopped")]
        message = f"InferenceService [{service.name}] is no longer Ready because of: {', '.join(causes)}"
        notes.append(EventNote(WARNING, "InferenceServiceNotReady", message))
    for item in found:
        is_component = item.type in {component_status.ready_type(name) for name in names.COMPONENTS}
        is_news = conditions.read(before, item.type).message != item.message
        if is_component and item.is_false and is_news and item.reason not in _PASSING:
            reason = EVENT_REASONS.get(item.reason, "InternalError")
            notes.append(EventNote(WARNING, reason, f"{item.type}: {item.reason}: {item.message}"))
        if item.type == code_bearing_status.TYPE and is_news:
            notes.append(EventNote(WARNING, item.reason, item.message))
    return tuple(notes)
