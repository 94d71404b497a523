"""What is refused, and what is warned about, when an InferenceService is created or changed.

Called by the validating webhook with the defaulted object. The rules about replicas, concurrency and metrics are in
``isvc_scaling``, those about storage in ``isvc_storage``. Source: KServe behaviour page section 4.1 (numbers V..) and
the corrections of section 6, items 34 to 39: what KServe accepts although it can never work is refused here with a
sentence. Invariant: an object being deleted, and a change that only touches metadata nobody checks, always passes.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

from wakeful.core.api import inferenceservice as isvc
from wakeful.core.api import isvc_names as names
from wakeful.core.api import isvc_scaling, isvc_storage, isvc_unsupported
from wakeful.core.api.isvc_problem import Obj, Problem, ProblemReason, mapping, mappings, text

NAME_PATTERN = "^[a-z]([-a-z0-9]*[a-z0-9])?$"
AUTOSCALER_CLASSES = ("hpa", "keda", "external", "none")
CUSTOM_PROTOCOLS = ("v1", "v2", "grpc-v2")


@dataclass(frozen=True, slots=True)
class Findings:
    """``problems`` refuse the object; ``warnings`` are shown to the user and pass."""

    problems: list[Problem]
    warnings: list[str]


def validate(obj: Obj, old: Obj | None = None) -> Findings:
    """Check ``obj`` (already defaulted) as a creation, or as a change of ``old``."""
    if mapping(obj.get("metadata")).get("deletionTimestamp"):
        return Findings([], [])
    parsed = isvc.parse(obj)
    problems = [*_name(parsed), *_annotations(parsed)]
    if old is not None:
        problems += _change(parsed, old)
    if not isinstance(mapping(obj.get("spec")).get(names.PREDICTOR), dict):
        message = "a predictor is required: give spec.predictor.model with a modelFormat and a storageUri"
        problems.append(Problem("spec.predictor", message, ProblemReason.REQUIRED))
    else:
        for component in parsed.components:
            problems += _implementation(component)
            problems += _environment(component)
            problems += isvc_storage.validate(component)
            problems += isvc_scaling.validate(component, parsed)
        problems += _model(parsed.predictor)
        problems += _standard_only(parsed)
        problems += _unsupported(parsed, old)
    return Findings(problems, [*isvc_scaling.warnings(parsed), *isvc_unsupported.warnings(parsed)])


def _unsupported(parsed: isvc.InferenceService, old: Obj | None) -> list[Problem]:
    """What cannot be built; but who stored such an object before may still change the rest of it, or stop it."""
    known = [] if old is None else isvc_unsupported.problems(isvc.parse(old))
    return [item for item in isvc_unsupported.problems(parsed) if item not in known]


def _name(parsed: isvc.InferenceService) -> list[Problem]:
    if not parsed.name:
        return []
    if not re.fullmatch(NAME_PATTERN[1:-1], parsed.name):
        message = (
            f"the InferenceService {parsed.name!r} is invalid: a name must consist of lower case letters, "
            f"digits and '-', start with a letter and end with a letter or digit (it must match {NAME_PATTERN})"
        )
        return [Problem("metadata.name", message)]
    problems = []
    for component in parsed.components:
        child = names.component_name(parsed.name, component.name, component.variant)
        if len(child) > names.LABEL_LIMIT:
            message = (
                f"the name is too long: its Knative Service would be called {child}, {len(child)} characters, "
                f"and {names.LABEL_LIMIT} is the limit; shorten it by {len(child) - names.LABEL_LIMIT}"
            )
            problems.append(Problem("metadata.name", message))
    return problems[:1]


def _annotations(parsed: isvc.InferenceService) -> list[Problem]:
    problems = []
    mode = parsed.annotations.get(names.DEPLOYMENT_MODE)
    if mode is not None and names.normalise_mode(mode) not in names.MODES:
        message = f"{mode!r} is not a deployment mode; use one of {', '.join(names.MODES)}"
        problems.append(_annotation(names.DEPLOYMENT_MODE, message))
    scaler = parsed.annotations.get(names.AUTOSCALER_CLASS)
    if scaler is not None and scaler not in AUTOSCALER_CLASSES:
        message = (
            f"[{scaler}] is not a supported autoscaler class type; use one of {', '.join(AUTOSCALER_CLASSES)}"
        )
        problems.append(_annotation(names.AUTOSCALER_CLASS, message))
    return problems


def _annotation(key: str, message: str) -> Problem:
    return Problem(f"metadata.annotations[{key}]", message, ProblemReason.NOT_SUPPORTED)


def _change(parsed: isvc.InferenceService, old: Obj) -> list[Problem]:
    problems = []
    before = names.normalise_mode(text(mapping(old.get("status")).get("deploymentMode")))
    now = names.normalise_mode(parsed.annotations.get(names.DEPLOYMENT_MODE, before))
    if before and now != before:
        message = f"deploymentMode cannot be changed from {before} to {now}; delete the InferenceService and create it"
        problems.append(_annotation(names.DEPLOYMENT_MODE, message))
    old_predictor = isvc.parse(old).predictor
    if old_predictor.variant != parsed.predictor.variant and not _model_changed(
        old_predictor, parsed.predictor
    ):
        message = "predictor.name change requires a model change"
        problems.append(Problem("spec.predictor.name", message, ProblemReason.FORBIDDEN))
    return problems


def _model_changed(old: isvc.Component, new: isvc.Component) -> bool:
    return (old.model, old.containers, old.storage_uris) != (new.model, new.containers, new.storage_uris)


def _implementation(component: isvc.Component) -> list[Problem]:
    path = f"spec.{component.name}"
    raw = component.raw
    chosen = [name for name in (*isvc.FRAMEWORKS, "model", "art") if raw.get(name) is not None]
    custom = [item for item in component.containers if item.get("name") == names.MAIN_CONTAINER]
    if custom or (component.containers and not chosen):
        chosen.append("containers")
    if len(chosen) == 1:
        return []
    allowed = "model, containers, or one of " + ", ".join(isvc.FRAMEWORKS)
    choices = allowed if component.name == names.PREDICTOR else "containers"
    if not chosen:
        message = f"exactly one implementation is required and there is none: give {choices}"
        return [Problem(path, message, ProblemReason.REQUIRED)]
    message = f"exactly one implementation is allowed and there are {len(chosen)} ({', '.join(chosen)}): give {choices}"
    return [Problem(path, message, ProblemReason.FORBIDDEN)]


def _environment(component: isvc.Component) -> list[Problem]:
    problems = []
    groups = [
        (f"spec.{component.name}.{key}[{index}]", item)
        for key in ("containers", "initContainers")
        for index, item in enumerate(mappings(component.raw.get(key)))
    ]
    workers = mappings(mapping(component.raw.get("workerSpec")).get("containers"))
    groups += [
        (f"spec.{component.name}.workerSpec.containers[{index}]", item) for index, item in enumerate(workers)
    ]
    if component.model is not None:
        groups.append((f"spec.{component.name}.model", component.model.container))
    for path, container in groups:
        if any(entry.get("name") == "PYTHONPATH" for entry in mappings(container.get("env"))):
            message = "the variable PYTHONPATH is not allowed: it could replace the server's own modules"
            problems.append(Problem(f"{path}.env", message, ProblemReason.FORBIDDEN))
    if isvc.is_custom(component):
        protocol = next(
            (item for item in mappings(component.containers[0].get("env")) if item.get("name") == "PROTOCOL"),
            {},
        )
        value = protocol.get("value")
        if isinstance(value, str) and value not in CUSTOM_PROTOCOLS:
            message = f"invalid protocol {value}. Must be one of {', '.join(CUSTOM_PROTOCOLS)}"
            path = f"spec.{component.name}.containers[0].env[PROTOCOL]"
            problems.append(Problem(path, message, ProblemReason.NOT_SUPPORTED))
    return problems


def _model(predictor: isvc.Component) -> list[Problem]:
    model = predictor.model
    if model is None:
        return []
    problems = []
    if not model.format_name:
        message = "a model format is required, for example modelFormat: {name: sklearn}"
        problems.append(Problem("spec.predictor.model.modelFormat.name", message, ProblemReason.REQUIRED))
    if model.protocol and model.protocol not in names.PROTOCOLS:
        message = f"{model.protocol!r} is not a protocol; use one of {', '.join(names.PROTOCOLS)}"
        problems.append(Problem("spec.predictor.model.protocolVersion", message, ProblemReason.NOT_SUPPORTED))
    if model.container.get("name"):
        message = "the name field is not allowed in standard predictor: the runtime names the container"
        problems.append(Problem("spec.predictor.model.name", message, ProblemReason.FORBIDDEN))
    return problems


def _standard_only(parsed: isvc.InferenceService) -> list[Problem]:
    mode = names.normalise_mode(parsed.annotations.get(names.DEPLOYMENT_MODE, names.KNATIVE))
    if mode != names.KNATIVE:
        return []
    problems = []
    if mapping(parsed.raw.get("spec")).get("canary"):
        message = "the canary list belongs to Standard mode; use spec.predictor.canaryTrafficPercent"
        problems.append(Problem("spec.canary", message, ProblemReason.FORBIDDEN))
    for component in parsed.components:
        if component.raw.get("deploymentStrategy"):
            message = "deploymentStrategy belongs to Standard mode; Knative rolls out by canaryTrafficPercent"
            problems.append(
                Problem(f"spec.{component.name}.deploymentStrategy", message, ProblemReason.FORBIDDEN)
            )
    return problems
