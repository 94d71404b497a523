"""The Knative Service of one component, and the owner reference every child object carries.

Called by ``plan``. Source: KServe behaviour page section 2.4. Invariant: only fields we own are in the object (it is
applied server-side), and they depend on nothing but the spec, the runtime and the configuration: an unchanged
InferenceService gives an equal object, so no revision appears by itself.
"""

from __future__ import annotations

from controller.desired import custom, metadata, predictor, rollout
from controller.desired.composition import ComposedPod, Runtimes, is_custom, refuse_unsupported
from controller.desired.configuration import Configuration
from controller.desired.metadata import ScalingFacts
from wakeful.core.api import isvc_names as names
from wakeful.core.api import podspec
from wakeful.core.api.code_bearing import VARIABLE, Policy
from wakeful.core.api.inferenceservice import Component, InferenceService
from wakeful.core.api.isvc_problem import Obj, mappings

API_VERSION = "serving.knative.dev/v1"


def compose(
    service: InferenceService, component: Component, runtimes: Runtimes, predictor_protocol: str
) -> ComposedPod:
    """The component's pod. Raises ``SpecError``."""
    refuse_unsupported(component)
    if component.name == names.PREDICTOR and not is_custom(component):
        return predictor.compose(service, component, runtimes)
    return custom.compose(service, component, predictor_protocol)


def build(
    service: InferenceService,
    component: Component,
    pod: ComposedPod,
    config: Configuration,
    scaling: ScalingFacts,
    latest_rolled_out: str,
) -> Obj:
    """The Knative Service, with the traffic block its rollout asks for."""
    meta = metadata.build(service, component, pod, config, scaling)
    spec = _with_policy(pod, config.code_bearing)
    if component.container_concurrency is not None:
        spec["containerConcurrency"] = component.container_concurrency
    if component.timeout_s is not None:
        spec["timeoutSeconds"] = component.timeout_s
        spec["responseStartTimeoutSeconds"] = component.timeout_s
    with_tag = service.annotations.get(names.TAG_ROUTING) == "true"
    return {
        "apiVersion": API_VERSION,
        "kind": "Service",
        "metadata": {
            "name": names.component_name(service.name, component.name, component.variant),
            "namespace": service.namespace,
            "labels": meta.labels,
            "annotations": meta.annotations,
            "ownerReferences": [owner_reference(service)],
        },
        "spec": {
            "template": {
                "metadata": {"labels": meta.template_labels, "annotations": meta.template_annotations},
                "spec": spec,
            },
            "traffic": rollout.build_traffic(component.canary_percent, latest_rolled_out, with_tag),
        },
    }


def _with_policy(pod: ComposedPod, policy: Policy) -> Obj:
    """The pod spec; the server of a model is told the platform's policy where that is not its own default, Warn.

    Refuse wins over what the user's own variable says; Allow does not make a stricter user less strict.
    """
    spec = dict(pod.spec)
    if pod.runtime is None or policy is Policy.WARN:
        return spec
    containers = []
    for container in spec["containers"]:
        if container.get("name") == names.MAIN_CONTAINER:
            if policy is Policy.REFUSE:
                kept = [item for item in mappings(container.get("env")) if item.get("name") != VARIABLE]
                container = {**container, "env": kept}
            container = podspec.with_env(container, VARIABLE, policy.value)
        containers.append(container)
    spec["containers"] = containers
    return spec


def owner_reference(service: InferenceService) -> Obj:
    """The InferenceService as controlling owner."""
    return {
        "apiVersion": names.API_VERSION,
        "kind": names.KIND,
        "name": service.name,
        "uid": service.uid,
        "controller": True,
        "blockOwnerDeletion": True,
    }


def is_owned(obj: Obj, service: InferenceService) -> bool:
    """Whether this InferenceService controls ``obj``."""
    owners = obj.get("metadata", {}).get("ownerReferences") or []
    return any(owner.get("uid") == service.uid and owner.get("controller") for owner in owners)
