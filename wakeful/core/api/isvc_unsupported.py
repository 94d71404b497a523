"""What an InferenceService may ask of KServe that Wakeful does not do yet, or that does nothing in Knative mode.

Called by ``inferenceservice_validate`` (``problems`` refuse at ``kubectl apply``, ``warnings`` are shown there) and by the
controller, which shows ``problems_of`` in the component's condition for objects that were stored before. Left out: values
that are wrong in themselves (``isvc_scaling``, ``isvc_storage``). Invariant: no field of the schema is ignored in silence.
"""

from __future__ import annotations

from wakeful.core.api import inferenceservice as isvc
from wakeful.core.api import isvc_names as names
from wakeful.core.api import podspec, storage_uri
from wakeful.core.api.isvc_problem import Obj, Problem, ProblemReason, mapping
from wakeful.core.protocol import payload_store

AUTOSCALING = "autoscaling.knative.dev/"
HPA_CLASS = "hpa.autoscaling.knative.dev"

COMPONENT_FIELDS = {
    "workerSpec": "serving on several nodes",
    "storageContainerName": "choosing a ClusterStorageContainer",
}
STORE_FORMATS = ("json", "csv")
KNATIVE_IGNORES = ("autoScaling", "scaleMetricType")
"""Fields of a component that only mean something to the Horizontal Pod Autoscaler or KEDA."""

IGNORED_ANNOTATIONS = {
    names.METRIC_AGGREGATION: "metrics aggregation is not supported yet",
    f"{names.GROUP}/enable-prometheus-scraping": "scrape annotations are not written yet",
    f"{names.GROUP}/nodegroup": "the local model cache is not supported yet",
    names.AUTOSCALER_CLASS: "it chooses the autoscaler of Standard mode, and this is Knative mode",
    f"{names.GROUP}/metrics": "it belongs to Standard mode; use scaleMetric",
    f"{names.GROUP}/targetUtilizationPercentage": "it belongs to Standard mode; use scaleTarget",
    f"{names.GROUP}/gpu-resource-types": "it belongs to serving on several nodes, which is not supported yet",
}


def problems(parsed: isvc.InferenceService) -> list[Problem]:
    """What cannot be built at all."""
    found = []
    mode = names.normalise_mode(parsed.annotations.get(names.DEPLOYMENT_MODE, names.KNATIVE))
    if mode in names.MODES and mode != names.KNATIVE:
        path = f"metadata.annotations[{names.DEPLOYMENT_MODE}]"
        message = f"deployment mode {mode} is not supported yet; use {names.KNATIVE} (remove the annotation)"
        found.append(Problem(path, message, ProblemReason.NOT_SUPPORTED))
    for component in parsed.components:
        found += problems_of(component)
    return found


def problems_of(component: isvc.Component) -> list[Problem]:
    """What cannot be built in one component."""
    path = f"spec.{component.name}"
    found = [
        Problem(
            f"{path}.{key}", f"{feature} is not supported yet; remove the field", ProblemReason.NOT_SUPPORTED
        )
        for key, feature in COMPONENT_FIELDS.items()
        if component.raw.get(key) is not None
    ]
    found += _logger(mapping(component.raw.get("logger")), f"{path}.logger")
    if component.raw.get("art") is not None:
        message = "the ART explainer is not supported yet; give the explainer as containers"
        found.append(Problem(f"{path}.art", message, ProblemReason.NOT_SUPPORTED))
    if mapping(mapping(component.raw.get("model")).get("confidential")).get("enabled"):
        message = "encrypted models are not supported yet; remove the field"
        found.append(Problem(f"{path}.model.confidential", message, ProblemReason.NOT_SUPPORTED))
    return found


def _logger(logger: Obj, path: str) -> list[Problem]:
    """A logger needs somewhere to log to that the model server can write."""
    if not logger:
        return []
    if logger.get("marshallerUrl"):
        message = "a remote marshaller is not supported; the formats are json and csv: remove the field"
        return [Problem(f"{path}.marshallerUrl", message, ProblemReason.NOT_SUPPORTED)]
    storage = mapping(logger.get("storage"))
    if not storage:
        message = "give the URL that takes the events, or storage: there is no default sink"
        if not logger.get("url"):
            return [Problem(f"{path}.url", message, ProblemReason.REQUIRED)]
        why = payload_store.url_problem(str(logger["url"]))
        return [Problem(f"{path}.url", f"{str(logger['url'])[:200]!r}: {why}")] if why else []
    found = []
    parameters = mapping(storage.get("parameters"))
    if parameters.get("type", "s3") != "s3":
        message = f"type {parameters.get('type')!r} is not supported: payloads are stored in s3"
        found.append(Problem(f"{path}.storage.parameters.type", message, ProblemReason.NOT_SUPPORTED))
    if parameters.get("format", "json") not in STORE_FORMATS:
        message = (
            f"format {parameters.get('format')!r} is not supported; use one of {', '.join(STORE_FORMATS)}"
        )
        found.append(Problem(f"{path}.storage.parameters.format", message, ProblemReason.NOT_SUPPORTED))
    return found + _store(
        str(storage.get("path", "")), str(parameters.get("bucket") or ""), f"{path}.storage"
    )


def _store(given: str, bucket: str, path: str) -> list[Problem]:
    """A bucket and a prefix that objects can be written to."""
    store = payload_store.path_of(given, bucket)
    if not store.startswith("s3://"):
        message = "give s3://BUCKET/PREFIX, or the bucket in parameters.bucket"
        return [Problem(f"{path}.path", message, ProblemReason.REQUIRED)]
    why = payload_store.store_problem(store)
    where = "path" if "://" in given or why != payload_store.NO_BUCKET else "parameters.bucket"
    return [Problem(f"{path}.{where}", f"{store[:200]!r}: {why}")] if why else []


def warnings(parsed: isvc.InferenceService) -> list[str]:
    """What passes without having the effect that is asked for."""
    found = [
        f"annotation {key}: {why}; it has no effect"
        for key, why in IGNORED_ANNOTATIONS.items()
        if parsed.annotations.get(key, "false") != "false"
    ]
    for component in parsed.components:
        found += [
            f"spec.{component.name}.{key}: it has no effect in Knative mode"
            for key in KNATIVE_IGNORES
            if component.raw.get(key) is not None
        ]
        found += _autoscaling(parsed, component)
        found += _sources(component)
    return found


def _autoscaling(parsed: isvc.InferenceService, component: isvc.Component) -> list[str]:
    annotations = {**parsed.annotations, **component.annotations}
    found = []
    if annotations.get(f"{AUTOSCALING}class") == HPA_CLASS:
        found.append(
            f"annotation {AUTOSCALING}class: {HPA_CLASS} needs Knative's HPA extension on a cluster; where it is not "
            "installed the number of pods does not follow cpu or memory (on one machine it does)"
        )
    initial = annotations.get(f"{AUTOSCALING}initial-scale")
    if initial is not None and not initial.isdigit():
        found.append(f"annotation {AUTOSCALING}initial-scale: {initial!r} is not a number; it is left out")
    for bound in ("min-scale", "max-scale"):
        if f"{AUTOSCALING}{bound}" in annotations:
            field = "minReplicas" if bound == "min-scale" else "maxReplicas"
            found.append(
                f"annotation {AUTOSCALING}{bound}: it is left out; use spec.{component.name}.{field}"
            )
    return found


def unread_sources(parsed: isvc.InferenceService) -> list[str]:
    """Sources that Wakeful's own storage initializer, where that is the one in use, cannot read yet."""
    known = storage_uri.OWN_PREFIXES
    return [
        f"{where}: Wakeful's storage initializer does not read {uri.partition('://')[0]}:// yet; "
        f"use one of {', '.join(known[:-1])}"
        for component in parsed.components
        for where, uri in _uris(component)
        if uri.startswith(storage_uri.PREFIXES) and not uri.startswith(known)
    ]


def _sources(component: isvc.Component) -> list[str]:
    """Sources that nothing reads. Not refused: a cluster may have another storage initializer."""
    found = []
    for where, uri in _uris(component):
        try:
            storage_uri.check(uri)
        except storage_uri.StorageUriError as error:
            found.append(f"{where}: {error}")
    return found


def _uris(component: isvc.Component) -> list[tuple[str, str]]:
    """Every source with the path of its field."""
    path = f"spec.{component.name}"
    uris: list[tuple[str, object]] = [
        (f"{path}.storageUris[{index}].uri", item.get("uri"))
        for index, item in enumerate(component.storage_uris)
    ]
    if component.model is not None:
        uris.append((f"{path}.model.storageUri", component.model.storage_uri))
    elif component.containers:
        first = component.containers[0]
        uris.append((f"{path}.containers[0].env[STORAGE_URI]", podspec.env_value(first, "STORAGE_URI")))
    return [(where, uri) for where, uri in uris if isinstance(uri, str) and uri]
