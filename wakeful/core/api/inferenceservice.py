"""InferenceService v1beta1 as values: one ``Component`` a part, its implementation, and what the user asked of it.

Called by the controller's pure builders and by validation, always with an object that went through
``inferenceservice_defaults.default`` (the framework short forms are ``model`` by then). Left out: multi-node
(``workerSpec``), the ``canary`` list and ``autoScaling``, which belong to Standard mode. Source: KServe behaviour page
section 1.2. Invariant: parsing never raises on a wrong type; such a value reads as absent and the schema reports it.
"""

from __future__ import annotations

from dataclasses import dataclass

from wakeful.core.api import isvc_names as names
from wakeful.core.api import podspec
from wakeful.core.api.isvc_problem import Obj, integer, mapping, mappings, text

FRAMEWORKS = (
    "sklearn",
    "xgboost",
    "tensorflow",
    "pytorch",
    "triton",
    "onnx",
    "huggingface",
    "pmml",
    "lightgbm",
    "paddle",
)


@dataclass(frozen=True, slots=True)
class ModelSpec:
    """``predictor.model``: what to serve; ``container`` holds the user's Container fields."""

    format_name: str
    format_version: str
    runtime: str
    protocol: str
    runtime_version: str
    storage_uri: str
    storage: Obj | None
    container: Obj


@dataclass(frozen=True, slots=True)
class Component:
    """Predictor, transformer or explainer. Absent numbers are None (absent is not zero)."""

    name: str
    raw: Obj
    variant: str
    model: ModelSpec | None
    containers: tuple[Obj, ...]
    pod_spec: Obj
    min_replicas: int | None
    max_replicas: int | None
    scale_target: int | None
    scale_metric: str
    container_concurrency: int | None
    timeout_s: int | None
    canary_percent: int | None
    labels: dict[str, str]
    annotations: dict[str, str]

    @property
    def storage_uris(self) -> list[Obj]:
        return mappings(self.raw.get("storageUris"))


@dataclass(frozen=True, slots=True)
class InferenceService:
    """One InferenceService; ``raw`` is the whole object."""

    namespace: str
    name: str
    uid: str
    generation: int
    labels: dict[str, str]
    annotations: dict[str, str]
    predictor: Component
    transformer: Component | None
    explainer: Component | None
    raw: Obj

    @property
    def components(self) -> tuple[Component, ...]:
        """Those in the spec, in the order in which they are reconciled."""
        return tuple(part for part in (self.predictor, self.transformer, self.explainer) if part is not None)

    @property
    def backend(self) -> Component:
        """The component that answers predictions from outside: the transformer where there is one."""
        return self.transformer or self.predictor

    @property
    def is_cluster_local(self) -> bool:
        return self.labels.get(names.VISIBILITY_LABEL) == "cluster-local"


def parse(obj: Obj) -> InferenceService:
    """``obj`` as values. ``metadata.name`` must be there; everything else may be missing."""
    metadata = mapping(obj.get("metadata"))
    spec = mapping(obj.get("spec"))
    parts = {
        name: parse_component(name, mapping(spec[name]))
        for name in names.COMPONENTS
        if spec.get(name) is not None
    }
    return InferenceService(
        namespace=text(metadata.get("namespace")),
        name=text(metadata.get("name")),
        uid=text(metadata.get("uid")),
        generation=integer(metadata.get("generation")) or 0,
        labels=strings(metadata.get("labels")),
        annotations=strings(metadata.get("annotations")),
        predictor=parts.get(names.PREDICTOR) or parse_component(names.PREDICTOR, {}),
        transformer=parts.get(names.TRANSFORMER),
        explainer=parts.get(names.EXPLAINER),
        raw=obj,
    )


def parse_component(name: str, spec: Obj) -> Component:
    """One part of the spec."""
    model = spec.get("model")
    return Component(
        name=name,
        raw=spec,
        variant=text(spec.get("name")) if name == names.PREDICTOR else "",
        model=parse_model(mapping(model)) if isinstance(model, dict) else None,
        containers=tuple(mappings(spec.get("containers"))),
        pod_spec=podspec.pick(spec, podspec.POD_FIELDS),
        min_replicas=integer(spec.get("minReplicas")),
        max_replicas=integer(spec.get("maxReplicas")),
        scale_target=integer(spec.get("scaleTarget")),
        scale_metric=text(spec.get("scaleMetric")),
        container_concurrency=integer(spec.get("containerConcurrency")),
        timeout_s=integer(spec.get("timeout")),
        canary_percent=integer(spec.get("canaryTrafficPercent")),
        labels=strings(spec.get("labels")),
        annotations=strings(spec.get("annotations")),
    )


def parse_model(model: Obj) -> ModelSpec:
    """``predictor.model``."""
    format_ = mapping(model.get("modelFormat"))
    storage = model.get("storage")
    return ModelSpec(
        format_name=text(format_.get("name")),
        format_version=text(format_.get("version")),
        runtime=text(model.get("runtime")),
        protocol=text(model.get("protocolVersion")),
        runtime_version=text(model.get("runtimeVersion")),
        storage_uri=text(model.get("storageUri")),
        storage=storage if isinstance(storage, dict) else None,
        container=podspec.pick(model, podspec.CONTAINER_FIELDS),
    )


def frameworks_in(predictor: Obj) -> list[str]:
    """The framework short forms that a predictor uses."""
    return [name for name in FRAMEWORKS if predictor.get(name) is not None]


def is_multi_model(predictor: Component) -> bool:
    """Whether the first container asks to be a multi-model server.

    KServe also counts a model without storage, but a running KServe does not match such a one with multi-model
    runtimes (section 6, item 12), so only the explicit form counts here.
    """
    first = predictor.containers[0] if predictor.containers else {}
    return podspec.env_value(first, "MULTI_MODEL_SERVER") == "true"


def is_custom(component: Component) -> bool:
    """Whether the component is implemented by containers of the user."""
    return component.model is None and bool(component.containers)


def strings(value: object) -> dict[str, str]:
    """The string entries of a labels or annotations mapping."""
    return {str(key): item for key, item in mapping(value).items() if isinstance(item, str)}
