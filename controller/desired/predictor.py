"""The pod of a predictor that serves a ``model``: the chosen runtime's pod with the user's fields merged over it.

Called by ``desired.service.compose``. Source: KServe behaviour page sections 2.3.3 and 2.3.4, corrected by section 6,
items 12 to 15. Invariant: container order is ``kserve-container``, ``transformer-container``, the runtime's others,
the user's others; the first one serves, or the transformer where there is one.
"""

from __future__ import annotations

from controller.desired import collocation, images, inprocess, placeholders, selection
from controller.desired.composition import ComposedPod, Runtimes, finish, storage_annotations
from controller.desired.reasons import Reason, SpecError
from wakeful.core.api import inferenceservice, podspec
from wakeful.core.api import isvc_names as names
from wakeful.core.api.inferenceservice import Component, InferenceService, ModelSpec
from wakeful.core.api.isvc_problem import Obj
from wakeful.core.api.servingruntime import Runtime

MLSERVER = "kserve-mlserver"
TRITON = "kserve-tritonserver"
TORCHSERVE = "kserve-torchserve"
V2_BY_DEFAULT = (MLSERVER, TRITON)
MLSERVER_CLASSES = {
    "sklearn": "mlserver_sklearn.SKLearnModel",
    "xgboost": "mlserver_xgboost.XGBoostModel",
    "lightgbm": "mlserver_lightgbm.LightGBMModel",
    "mlflow": "mlserver_mlflow.MLflowRuntime",
}


def compose(service: InferenceService, component: Component, runtimes: Runtimes) -> ComposedPod:
    """The predictor's pod. Raises ``SpecError`` when no runtime fits or the parts do not go together."""
    model = component.model
    if model is None:
        raise SpecError(Reason.INVALID_PREDICTOR_SPEC, "spec.predictor: a model or a container is required")
    is_multi_model = inferenceservice.is_multi_model(component)
    decision = selection.decide(model, runtimes.namespaced, runtimes.cluster, is_multi_model)
    runtime = decision.runtime
    protocol = model.protocol or ("v2" if runtime.server_type in V2_BY_DEFAULT else decision.protocol)
    storage = storage_annotations(component)
    main = _main_container(service, model, runtime, bool(storage), protocol)
    labels = {**runtime.labels, **_labels(model, runtime, protocol)}
    main = inprocess.add(service, component, main, runtime.annotations)
    containers = collocation.arrange(service, [main, *_others(component, runtime)], protocol)
    rendered = placeholders.render(containers, _with_labels(service, labels))
    pod_spec = podspec.merge(
        runtime.pod_spec, {k: v for k, v in component.pod_spec.items() if k != "containers"}
    )
    return ComposedPod(
        spec=finish(pod_spec, service, rendered),
        labels=labels,
        annotations=storage,
        runtime_annotations=runtime.annotations,
        protocol=protocol,
        runtime=decision,
    )


def _main_container(
    service: InferenceService, model: ModelSpec, runtime: Runtime, has_storage: bool, protocol: str
) -> Obj:
    base = podspec.find(runtime.containers, names.MAIN_CONTAINER)
    if base is None:
        message = f"{runtime.kind} {runtime.name} has no container named {names.MAIN_CONTAINER}, which serves the model"
        raise SpecError(Reason.INVALID_PREDICTOR_SPEC, message)
    merged = podspec.merge_containers(base, model.container)
    if not model.container.get("image"):
        merged["image"] = images.choose(
            str(merged.get("image") or ""),
            runtime.server_type,
            model.runtime_version,
            podspec.wants_gpu(merged),
        )
    return _server_effects(service, merged, runtime, has_storage, protocol)


def _server_effects(
    service: InferenceService, container: Obj, runtime: Runtime, has_storage: bool, protocol: str
) -> Obj:
    if runtime.server_type == MLSERVER:
        if not has_storage:
            return podspec.with_env(container, "MLSERVER_LOAD_MODELS_AT_STARTUP", "false")
        named = podspec.with_env(container, "MLSERVER_MODEL_NAME", service.name)
        return podspec.with_env(named, "MLSERVER_MODEL_URI", names.MODEL_MOUNT)
    if runtime.server_type == TRITON and not has_storage:
        return {**container, "args": [*(container.get("args") or []), "--model-control-mode=explicit"]}
    if runtime.server_type == TORCHSERVE:
        return podspec.with_env(container, "PROTOCOL_VERSION", protocol)
    return container


def _labels(model: ModelSpec, runtime: Runtime, protocol: str) -> dict[str, str]:
    if runtime.server_type == MLSERVER and model.format_name in MLSERVER_CLASSES:
        return {"modelClass": MLSERVER_CLASSES[model.format_name]}
    if runtime.server_type == TORCHSERVE:
        return {"serviceEnvelope": "kservev2" if protocol == "v2" else "kserve"}
    return {}


def _others(component: Component, runtime: Runtime) -> list[Obj]:
    """Every container but the main one, in their order; those of one name are merged."""
    theirs = [item for item in runtime.containers if item.get("name") != names.MAIN_CONTAINER]
    users = [item for item in component.containers if item.get("name") != names.MAIN_CONTAINER]
    merged = []
    for item in theirs:
        same = podspec.find(users, str(item.get("name")))
        merged.append(item if same is None else podspec.merge_containers(item, same))
    known = {item.get("name") for item in theirs}
    merged += [item for item in users if item.get("name") not in known]
    return sorted(merged, key=lambda item: item.get("name") != names.TRANSFORMER_CONTAINER)


def _with_labels(service: InferenceService, extra: dict[str, str]) -> InferenceService:
    """The service with the labels that server types add, which runtimes refer to (``{{.Labels.modelClass}}``)."""
    return InferenceService(
        namespace=service.namespace,
        name=service.name,
        uid=service.uid,
        generation=service.generation,
        labels={**extra, **service.labels},
        annotations=service.annotations,
        predictor=service.predictor,
        transformer=service.transformer,
        explainer=service.explainer,
        raw=service.raw,
    )
