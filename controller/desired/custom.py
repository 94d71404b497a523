"""The pod of a component that the user implements with containers of their own.

Called by ``desired.service.compose`` for custom predictors, transformers and explainers. Source: KServe behaviour page
sections 1.2.3 and 2.3.5. Invariant: a flag that the user already gave is not added again, in either spelling
(``--flag value``, ``--flag=value``).
"""

from __future__ import annotations

from collections.abc import Iterable

from controller.desired import collocation, inprocess
from controller.desired.composition import ComposedPod, finish, storage_annotations
from controller.desired.reasons import Reason, SpecError
from wakeful.core.api import isvc_names as names
from wakeful.core.api import isvc_scaling, podspec
from wakeful.core.api.inferenceservice import Component, InferenceService
from wakeful.core.api.isvc_problem import Obj

HTTP_PORT = "8080"


def compose(service: InferenceService, component: Component, predictor_protocol: str = "v1") -> ComposedPod:
    """The component's pod. Raises ``SpecError`` when it has no container."""
    if not component.containers:
        message = f"spec.{component.name}: at least one container is required"
        raise SpecError(Reason.INVALID_PREDICTOR_SPEC, message)
    main = _main_first(component.containers)
    first = main[0]
    storage = storage_annotations(component)
    protocol = podspec.env_value(first, "PROTOCOL") or "v1"
    annotations = dict(storage)
    first = inprocess.add(service, component, first, {})
    if component.name != names.PREDICTOR:
        if predictor_protocol != "v1":
            first = podspec.with_env(first, names.PREDICTOR_PROTOCOL_VARIABLE, predictor_protocol)
        first = {**first, "args": [*(first.get("args") or []), *_flags(service, component, first)]}
        annotations[names.INTERNAL + "predictor-host"] = predictor_host(service)
        annotations[names.INTERNAL + "predictor-protocol"] = predictor_protocol
    spec = {key: value for key, value in component.pod_spec.items() if key != "containers"}
    containers = [first, *main[1:]]
    if component.name == names.PREDICTOR:
        containers = collocation.arrange(service, containers, protocol)
    return ComposedPod(spec=finish(spec, service, containers), annotations=annotations, protocol=protocol)


def predictor_host(service: InferenceService) -> str:
    """The host at which transformer and explainer reach the predictor."""
    predictor = names.component_name(service.name, names.PREDICTOR, service.predictor.variant)
    return f"{predictor}.{service.namespace}"


def _main_first(containers: Iterable[Obj]) -> list[Obj]:
    """The one named ``kserve-container`` (the first, when none is) before the others."""
    items = list(containers)
    main = podspec.find(items, names.MAIN_CONTAINER) or items[0]
    named = {**main, "name": names.MAIN_CONTAINER}
    return [named, *(item for item in items if item is not main)]


def _flags(service: InferenceService, component: Component, container: Obj) -> list[str]:
    wanted = [
        ("--model_name", service.name),
        ("--predictor_host", predictor_host(service)),
        ("--http_port", HTTP_PORT),
    ]
    given = [str(item) for item in container.get("args") or []]
    workers = isvc_scaling.workers(component, given)
    if workers is not None:
        wanted.append(("--workers", str(workers)))
    flags: list[str] = []
    for flag, value in wanted:
        if not any(item == flag or item.startswith(f"{flag}=") for item in given):
            flags += [flag, value]
    return flags
