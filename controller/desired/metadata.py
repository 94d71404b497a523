"""Labels and annotations of a component's Knative Service and of its revision template.

Called by ``desired.service``. Precedence, low to high: runtime (predictor only), InferenceService, component, fixed.
Source: KServe behaviour page sections 2.3.4 and 2.4. Invariant: autoscaling bounds come from the fields alone, and
nothing that changes by itself (times, generations) gets into the template, since each difference is a new revision.
"""

from __future__ import annotations

from dataclasses import dataclass

from controller.desired.composition import ComposedPod
from controller.desired.configuration import Configuration
from wakeful.core.api import isvc_names as names
from wakeful.core.api.inferenceservice import Component, InferenceService

AUTOSCALING = "autoscaling.knative.dev/"
KPA_CLASS = "kpa.autoscaling.knative.dev"
SERVICE_ANNOTATIONS = (
    "serving.knative.dev/rollout-duration",
    "serving.knative.openshift.io/enablePassthrough",
)
"""Managed annotations: they belong on the Knative Service and would be wrong on its template."""


@dataclass(frozen=True, slots=True)
class ServiceMetadata:
    """For the Knative Service and for its template."""

    labels: dict[str, str]
    annotations: dict[str, str]
    template_labels: dict[str, str]
    template_annotations: dict[str, str]


@dataclass(frozen=True, slots=True)
class ScalingFacts:
    """What Knative's ConfigMap ``config-autoscaler`` allows."""

    is_zero_initial_scale_allowed: bool = False


def build(
    service: InferenceService,
    component: Component,
    pod: ComposedPod,
    config: Configuration,
    scaling: ScalingFacts,
) -> ServiceMetadata:
    """Labels and annotations of one component."""
    fixed = {names.ISVC_LABEL: service.name, names.COMPONENT_LABEL: component.name}
    labels = {**pod.labels, **service.labels, **component.labels, **fixed}
    merged = {**pod.runtime_annotations, **service.annotations, **component.annotations}
    kept = {key: value for key, value in merged.items() if key not in config.disallowed_annotations}
    on_service = {key: kept.pop(key) for key in SERVICE_ANNOTATIONS if key in kept}
    return ServiceMetadata(
        labels=labels,
        annotations=on_service,
        template_labels={key: value for key, value in labels.items() if key not in config.disallowed_labels},
        template_annotations={**_autoscaling(component, kept, scaling), **pod.annotations},
    )


def _autoscaling(component: Component, kept: dict[str, str], scaling: ScalingFacts) -> dict[str, str]:
    result = dict(kept)
    result.setdefault(f"{AUTOSCALING}class", KPA_CLASS)
    if component.scale_target is not None:
        result[f"{AUTOSCALING}target"] = str(component.scale_target)
    if component.scale_metric:
        result[f"{AUTOSCALING}metric"] = component.scale_metric
    low = 1 if component.min_replicas is None else component.min_replicas
    result[f"{AUTOSCALING}min-scale"] = str(low)
    if component.max_replicas:
        result[f"{AUTOSCALING}max-scale"] = str(component.max_replicas)
    initial = result.get(f"{AUTOSCALING}initial-scale")
    if initial is not None and not _is_usable(initial, scaling):
        del result[f"{AUTOSCALING}initial-scale"]
    return result


def _is_usable(initial_scale: str, scaling: ScalingFacts) -> bool:
    """A value Knative would refuse is dropped, as section 2.2 step 7 says (a running KServe lets -1 through)."""
    if not initial_scale.isdigit():
        return False
    return int(initial_scale) > 0 or scaling.is_zero_initial_scale_allowed
