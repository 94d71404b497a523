"""The pod of one component: its containers, what surrounds them, and what the pod webhook is told about the model.

``compose`` is called by ``plan`` for each component and goes to ``desired.predictor`` or ``desired.custom``. Left out,
with a sentence for the user: multi-node, confidential models, ``resources.claims``. Source: KServe
behaviour page sections 2.3 and 3.2. Invariant: pure; the same input gives the same pod, byte for byte.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass, field

from controller.desired.reasons import Reason, SpecError
from controller.desired.selection import RuntimeDecision
from wakeful.core.api import inferenceservice, isvc_unsupported, podspec, storage_uri
from wakeful.core.api import isvc_names as names
from wakeful.core.api.inferenceservice import Component, InferenceService, ModelSpec
from wakeful.core.api.isvc_problem import Obj, mapping, text
from wakeful.core.api.servingruntime import Runtime

STORAGE_URIS = names.INTERNAL + "storage-uris"
"""JSON of ``storageUris`` for our pod webhook. KServe edits the pod spec instead, which Knative refuses by default."""

SPEC_PLACEHOLDER = "storage-spec://"
"""Scheme of the source URI while the ``storage`` spec's secret decides the real one (the pod webhook replaces it)."""


@dataclass(frozen=True, slots=True)
class Runtimes:
    """The runtimes a predictor may choose from."""

    namespaced: Sequence[Runtime] = ()
    cluster: Sequence[Runtime] = ()


@dataclass(frozen=True, slots=True)
class ComposedPod:
    """The pod spec of a revision template. ``annotations`` are ours and win; ``runtime_annotations`` lose."""

    spec: Obj
    labels: dict[str, str] = field(default_factory=dict)
    annotations: dict[str, str] = field(default_factory=dict)
    runtime_annotations: dict[str, str] = field(default_factory=dict)
    protocol: str = "v1"
    runtime: RuntimeDecision | None = None


def refuse_unsupported(component: Component) -> None:
    """Raise ``SpecError`` for fields whose feature is not built yet, instead of leaving them without effect."""
    for problem in isvc_unsupported.problems_of(component):
        raise SpecError(Reason.NOT_SUPPORTED_YET, str(problem))


def storage_annotations(component: Component) -> dict[str, str]:
    """What the pod webhook must know to bring the model. Raises ``SpecError`` for a source nothing can read."""
    uris = component.storage_uris
    if uris:
        items = [
            {"uri": text(item.get("uri")), "mountPath": text(item.get("mountPath")) or names.MODEL_MOUNT}
            for item in uris
        ]
        for item in items:
            _check(item["uri"])
        return {STORAGE_URIS: json.dumps(items, separators=(",", ":"), sort_keys=True)}
    model = component.model
    if model is not None:
        return _model_annotations(model)
    first = component.containers[0] if component.containers else {}
    uri = podspec.env_value(first, "STORAGE_URI")
    if uri is None:
        return {}
    _check(uri)
    return {names.SOURCE_URI: uri}


def _model_annotations(model: ModelSpec) -> dict[str, str]:
    annotations: dict[str, str] = {}
    container = text(model.container.get("name"))
    if container:
        raise SpecError(
            Reason.INVALID_PREDICTOR_SPEC, "spec.predictor.model.name: the runtime names the container"
        )
    if model.storage is not None:
        path = text(model.storage.get("path"))
        if model.storage_uri and path:
            message = "spec.predictor.model: storageUri and storage.path are given; give only one of them"
            raise SpecError(Reason.INVALID_PREDICTOR_SPEC, message)
        annotations[names.STORAGE_SPEC] = "true"
        annotations[names.SOURCE_URI] = model.storage_uri or SPEC_PLACEHOLDER + path
        if model.storage.get("key"):
            annotations[names.STORAGE_SPEC_KEY] = text(model.storage["key"])
        parameters = mapping(model.storage.get("parameters"))
        if parameters:
            annotations[names.STORAGE_SPEC_PARAM] = json.dumps(
                parameters, separators=(",", ":"), sort_keys=True
            )
    elif model.storage_uri:
        annotations[names.SOURCE_URI] = model.storage_uri
    if model.storage_uri:
        _check(model.storage_uri)
    return annotations


def _check(uri: str) -> None:
    try:
        storage_uri.check(uri)
    except storage_uri.StorageUriError as error:
        raise SpecError(Reason.STORAGE_NOT_SUPPORTED, str(error)) from error


def finish(spec: Obj, service: InferenceService, containers: list[Obj]) -> Obj:
    """The pod spec with its containers, ``INFERENCE_SERVICE_NAME`` in each, and without what Knative never takes."""
    named = [podspec.with_env(item, "INFERENCE_SERVICE_NAME", service.name) for item in containers]
    result = {**spec, "containers": named}
    if result.get("automountServiceAccountToken") is True:
        del result["automountServiceAccountToken"]  # the default; Knative refuses it spelt out
    return result


def is_custom(component: Component) -> bool:
    """Whether the user's own containers implement the component."""
    return inferenceservice.is_custom(component)
