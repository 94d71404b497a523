"""What KServe's defaulter writes into an InferenceService, as a function from object to object.

Called by the defaulting webhook and, so that the controller does not depend on admission, by every reconcile before
parsing. ``Defaults`` carries what comes from the ConfigMap. Left out: the local model cache. Source: KServe behaviour
page section 4.3. Invariant: idempotent, and an object that validation will refuse passes through unharmed (KServe's
own defaulter panics on some of them: section 6, item 34).
"""

from __future__ import annotations

import copy
from dataclasses import dataclass, field

from wakeful.core.api import inferenceservice as isvc
from wakeful.core.api import isvc_names as names
from wakeful.core.api.isvc_problem import Obj, mapping, mappings, text

V2_SHORT_FORMS = ("triton", "onnx", "huggingface")
V2_FORMATS = ("triton", "vLLM")
MODEL_FORMAT_ANNOTATION = "modelFormat"


@dataclass(frozen=True, slots=True)
class Defaults:
    """From ``inferenceservice-config``: mode, resources of custom containers, mounting of the account's token."""

    deployment_mode: str = names.KNATIVE
    requests: dict[str, str] = field(default_factory=lambda: {"cpu": "1", "memory": "2Gi"})
    limits: dict[str, str] = field(default_factory=lambda: {"cpu": "1", "memory": "2Gi"})
    automount_token: bool = True


def default(obj: Obj, defaults: Defaults, old: Obj | None = None) -> Obj:
    """A defaulted copy of ``obj``; ``old`` is the stored object that it replaces, where it replaces one."""
    result = copy.deepcopy(obj)
    metadata, spec = result.get("metadata"), result.get("spec")
    if not isinstance(metadata, dict) or not isinstance(spec, dict):
        return result
    _default_mode(metadata, defaults)
    predictor = spec.get(names.PREDICTOR)
    if isinstance(predictor, dict):
        before = mapping(mapping(mapping(old).get("spec")).get(names.PREDICTOR))
        _drop_outdated_model(predictor, before)
        _drop_outdated_format(metadata, predictor, mapping(old))
        _default_model(metadata, predictor)
    for name in names.COMPONENTS:
        component = spec.get(name)
        if isinstance(component, dict):
            _default_containers(component, defaults)
            if not defaults.automount_token:
                component.setdefault("automountServiceAccountToken", False)
    return result


def _default_mode(metadata: Obj, defaults: Defaults) -> None:
    annotations = mapping(metadata.get("annotations"))
    mode = annotations.get(names.DEPLOYMENT_MODE)
    if isinstance(mode, str):
        annotations[names.DEPLOYMENT_MODE] = names.normalise_mode(mode)
    elif defaults.deployment_mode != names.KNATIVE:
        metadata["annotations"] = {**annotations, names.DEPLOYMENT_MODE: defaults.deployment_mode}


def _drop_outdated_model(predictor: Obj, before: Obj) -> None:
    """A manifest with a short form (``sklearn:``) that is applied again meets the ``model`` it was turned into.

    The short form is what the user says now, the unchanged ``model`` is what we made of an earlier one.
    """
    is_ours = predictor.get("model") == before.get("model") and not isvc.frameworks_in(before)
    if is_ours and len(isvc.frameworks_in(predictor)) == 1:
        predictor.pop("model", None)


def _drop_outdated_format(metadata: Obj, predictor: Obj, old: Obj) -> None:
    """The annotation we derived from an earlier format must not outlive it."""
    annotations = mapping(metadata.get("annotations"))
    derived = _format_of(mapping(mapping(old.get("spec")).get(names.PREDICTOR)))
    if derived and annotations.get(MODEL_FORMAT_ANNOTATION) == derived != _format_of(predictor):
        metadata["annotations"] = {k: v for k, v in annotations.items() if k != MODEL_FORMAT_ANNOTATION}


def _format_of(predictor: Obj) -> str:
    frameworks = isvc.frameworks_in(predictor)
    return (
        frameworks[0]
        if frameworks
        else text(mapping(mapping(predictor.get("model")).get("modelFormat")).get("name"))
    )


def _default_model(metadata: Obj, predictor: Obj) -> None:
    frameworks = isvc.frameworks_in(predictor)
    if len(frameworks) == 1 and predictor.get("model") is None:
        framework = frameworks[0]
        short = mapping(predictor.pop(framework))
        predictor["model"] = {**short, "modelFormat": {"name": framework}}
        if framework in V2_SHORT_FORMS:
            predictor["model"].setdefault("protocolVersion", "v2")
    model = predictor.get("model")
    if not isinstance(model, dict):
        return
    format_name = text(mapping(model.get("modelFormat")).get("name"))
    if format_name in V2_FORMATS:
        model.setdefault("protocolVersion", "v2")
    if format_name:
        annotations = mapping(metadata.get("annotations"))
        if MODEL_FORMAT_ANNOTATION not in annotations:
            metadata["annotations"] = {**annotations, MODEL_FORMAT_ANNOTATION: format_name}


def _default_containers(component: Obj, defaults: Defaults) -> None:
    """Name and resources of a custom component's first container; a model takes both from its runtime."""
    if component.get("model") is not None or isvc.frameworks_in(component):
        return
    containers = mappings(component.get("containers"))
    if not containers or any(item.get("name") == names.MAIN_CONTAINER for item in containers[1:]):
        return
    # A running KServe renames the first container always, named or not (section 6, item 13).
    containers[0]["name"] = names.MAIN_CONTAINER
    resources = containers[0].setdefault("resources", {})
    if isinstance(resources, dict):
        for key, wanted in (("requests", defaults.requests), ("limits", defaults.limits)):
            resources[key] = {**wanted, **mapping(resources.get(key))}
        _lower_requests(resources, defaults)


def _lower_requests(resources: Obj, defaults: Defaults) -> None:
    """Where only a limit was given, request what it allows: a default request above it would refuse the pod."""
    for name, quantity in resources["limits"].items():
        is_users = quantity != defaults.limits.get(name)
        if is_users and resources["requests"].get(name) == defaults.requests.get(name):
            resources["requests"][name] = quantity
