"""One reconcile of an InferenceService as a pure function: what was observed in, what to do out.

Called by ``reconcile`` twice: before writing (apply, delete) and after (the status of what is there now). Order and
rules: KServe behaviour page sections 2.2, 2.6, 2.9 and 2.10. Done better than KServe: removed components are deleted,
errors are conditions, a component that is not ready holds back IngressReady, ``observedGeneration`` is our own.

Invariant: a fixed point. With what it asked for in place and nothing else changed, a second plan applies equal objects
and gives an equal status. What serves now is never deleted because something new is broken.
"""

from __future__ import annotations

from dataclasses import replace

from controller import verdict
from controller.desired import ingress as ingresses
from controller.desired import rollout as rollouts
from controller.desired import service as services
from controller.desired.reasons import Reason, SpecError
from controller.observed import Child, Failure, Observed, Part, Plan
from controller.status import code_bearing as code_bearing_status
from controller.status import components as component_status
from controller.status import ingress as ingress_status
from controller.status import waiting
from wakeful.core.api import conditions, inferenceservice, inferenceservice_defaults
from wakeful.core.api import isvc_names as names
from wakeful.core.api.conditions import Condition
from wakeful.core.api.inferenceservice import Component, InferenceService
from wakeful.core.api.isvc_problem import Obj, mapping, text


def decide(observed: Observed, at: str) -> Plan:
    """The plan; ``at`` is now in RFC 3339."""
    if mapping(observed.isvc.get("metadata")).get("deletionTimestamp"):
        return Plan(Reason.DELETED, "the InferenceService is being deleted; its children go with it")
    before = mapping(observed.isvc.get("status"))
    defaults = observed.config.defaults
    if before.get("deploymentMode"):
        # A mode once taken stays: another default must not even change an annotation, that would be a new revision.
        defaults = replace(defaults, deployment_mode=names.normalise_mode(text(before["deploymentMode"])))
    service = inferenceservice.parse(inferenceservice_defaults.default(observed.isvc, defaults))
    if (
        service.annotations.get(names.DISABLE_AUTO_UPDATE) == "true"
        and conditions.read(before, "Ready").is_true
    ):
        return Plan(
            Reason.AUTO_UPDATE_DISABLED, f"annotation {names.DISABLE_AUTO_UPDATE} is true and it is ready"
        )
    if names.is_stopped(service.annotations):
        return _stop(observed, service, at)
    refusal = _refuse_mode(observed, service, before)
    if refusal is not None:
        return verdict.refused(observed, service, refusal, at)
    return _run(observed, service, at)


def _refuse_mode(observed: Observed, service: InferenceService, before: Obj) -> Failure | None:
    wanted = service.annotations.get(names.DEPLOYMENT_MODE, names.KNATIVE)
    mode = names.normalise_mode(text(before.get("deploymentMode")) or wanted)
    if mode != names.KNATIVE:
        message = f"deployment mode {mode} is not supported yet; use {names.KNATIVE} (remove {names.DEPLOYMENT_MODE})"
        return Failure(Reason.NOT_SUPPORTED_YET, message)
    if not observed.platform.is_knative_installed:
        message = "deployment mode Knative needs Knative Serving, and this cluster has no kind Service of serving.knative.dev"
        return Failure(Reason.KNATIVE_NOT_INSTALLED, message)
    return None


def _stop(observed: Observed, service: InferenceService, at: str) -> Plan:
    children = [*observed.services.values(), observed.ingress, observed.alias]
    owned = tuple(item for item in children if item is not None and services.is_owned(item, service))
    found = component_status.while_stopped([item.name for item in service.components])
    status = verdict.assemble(observed, service, found, at)
    status["deploymentMode"] = names.KNATIVE
    events = verdict.events(observed, service, found)
    return Plan(Reason.STOPPED, "stopped by annotation", delete=owned, status=status, events=events)


def _run(observed: Observed, service: InferenceService, at: str) -> Plan:
    parts = _build_parts(observed, service)
    found = [
        item
        for part in parts
        for item in component_status.of_component(
            part.component.name,
            part.live,
            part.failure,
            mapping(observed.isvc.get("status")),
            component_status.Pods(
                waiting.sentence(observed.pods, part.rollout.latest_created),
                waiting.failure(observed.pods, part.rollout.latest_created),
            ),
        )
    ]
    order = [part.component.name for part in parts]
    applied = [Child(part.component.name, part.desired) for part in parts if part.desired is not None]
    stale = _stale(observed, service, parts, found)
    gate = component_status.gate_of_ingress(order, found)
    address = _address(observed, service, parts) if gate is None else None
    if gate is None:
        gate, children, dropped = _plan_ingress(observed, service, address)
        applied += children
        stale += dropped
    conditions_now = [
        *found,
        *component_status.of_aggregates(order, found),
        gate,
        component_status.of_stopped(False),
    ]
    conditions_now += _warnings(observed, parts[0])
    conditions_now = verdict.with_configuration(conditions_now, observed.config.problems)
    conditions_now.append(component_status.of_ready(conditions_now))
    status = verdict.assemble(observed, service, conditions_now, at)
    verdict.add_components(status, observed, parts, address, at)
    ready = conditions_now[-1]
    reason = Reason.UP_TO_DATE if ready.is_true else Reason.CHANGED
    return Plan(
        reason,
        f"Ready is {ready.status}"
        + (f" because {ready.reason}: {ready.message}" if not ready.is_true else ""),
        tuple(applied),
        tuple(stale),
        status,
        verdict.events(observed, service, conditions_now),
    )


def _warnings(observed: Observed, predictor: Part) -> list[Condition]:
    before = mapping(observed.isvc.get("status"))
    model = predictor.component.model
    warning = code_bearing_status.condition(
        model, observed.pods, predictor.rollout, before, observed.config.code_bearing
    )
    return [] if warning is None else [warning]


def _build_parts(observed: Observed, service: InferenceService) -> list[Part]:
    parts: list[Part] = []
    protocol = "v1"
    memory = mapping(mapping(observed.isvc.get("status")).get("components"))
    for component in service.components:
        child = names.component_name(service.name, component.name, component.variant)
        live = observed.services.get(child)
        before = rollouts.read(mapping(memory.get(component.name)))
        rollout = rollouts.step(before, mapping(mapping(live).get("status")))
        part = _build_part(observed, service, component, live, rollout, protocol)
        if part.pod is not None and component.name == names.PREDICTOR:
            protocol = part.pod.protocol
        parts.append(part)
    return parts


def _build_part(
    observed: Observed,
    service: InferenceService,
    component: Component,
    live: Obj | None,
    rollout: rollouts.Rollout,
    protocol: str,
) -> Part:
    failure = observed.failures.get(component.name)
    pod = desired = None
    try:
        if live is not None and not services.is_owned(live, service):
            name = names.component_name(service.name, component.name, component.variant)
            message = f"a Knative Service {name} exists that belongs to something else; delete it or rename one of the two"
            raise SpecError(Reason.NOT_OWNED, message)
        if observed.config.problems and live is None:
            raise SpecError(Reason.INVALID_CONFIGURATION, observed.config.problems[0])
        pod = services.compose(service, component, observed.runtimes, protocol)
        if not observed.config.problems:
            latest = rollout.latest_rolled_out
            desired = services.build(
                service, component, pod, observed.config, observed.platform.scaling, latest
            )
    except SpecError as error:
        failure = Failure(error.reason, error.message)
    return Part(component, live, desired, pod, failure, rollout)


def _stale(
    observed: Observed, service: InferenceService, parts: list[Part], found: list[Condition]
) -> list[Obj]:
    """Owned Knative Services that no component needs any more.

    One that the Ingress leads to serves now and stays until what replaces it is ready and the gateway knows of it; a
    renamed one, which clients may call directly, until its successor is ready.
    """
    wanted = {
        names.component_name(service.name, part.component.name, part.component.variant) for part in parts
    }
    ready = {item.type for item in found if item.is_true}
    in_spec = {part.component.name for part in parts}
    kept = wanted | ingresses.services_behind(observed.ingress)
    if not ingress_status.is_acted_on(observed.ingress):
        return []
    stale = []
    for name, live in observed.services.items():
        if name in kept or not services.is_owned(live, service):
            continue
        component = text(mapping(live["metadata"].get("labels")).get(names.COMPONENT_LABEL))
        if component not in in_spec or component_status.ready_type(component) in ready:
            stale.append(live)
    return stale


def _address(observed: Observed, service: InferenceService, parts: list[Part]) -> ingresses.Address | None:
    backend = next(part for part in parts if part.component is service.backend)
    url = text(mapping(mapping(backend.live).get("status")).get("url"))
    return ingresses.address_of(service, url, observed.config.ingress) if url else None


def _plan_ingress(
    observed: Observed, service: InferenceService, address: ingresses.Address | None
) -> tuple[Condition, list[Child], list[Obj]]:
    """IngressReady, what to apply and what to delete, when every component is ready."""
    if address is None:
        message = f"the Knative Service of the {service.backend.name} has no URL yet"
        return (
            Condition(
                component_status.INGRESS_READY, conditions.UNKNOWN, Reason.INGRESS_NOT_OBSERVED, message
            ),
            [],
            [],
        )
    ours = [item for item in (observed.ingress, observed.alias) if item and services.is_owned(item, service)]
    config = observed.config.ingress
    if config.is_virtual_host_disabled:
        return Condition(component_status.INGRESS_READY, conditions.TRUE), [], ours
    if config.path_template:
        message = "inferenceservice-config, key ingress: pathTemplate is not supported yet; remove it"
        failed = Condition(
            component_status.INGRESS_READY, conditions.FALSE, Reason.NOT_SUPPORTED_YET, message
        )
        return failed, [], []
    failure = observed.failures.get("")
    condition = ingress_status.of_ingress(service, observed.ingress)
    if failure is not None:
        condition = Condition(
            component_status.INGRESS_READY, conditions.FALSE, failure.reason, failure.message
        )
    if observed.ingress is not None and not services.is_owned(observed.ingress, service):
        return condition, [], []
    children = [
        Child("", ingresses.build(service, address, observed.config, observed.platform.ingress_class))
    ]
    domain = ingress_status.internal_domain(observed.ingress)
    if domain and (observed.alias is None or services.is_owned(observed.alias, service)):
        children.append(Child("", ingresses.build_alias(service, domain)))
    return condition, children, []
