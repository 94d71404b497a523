"""Logger and batcher of a component: flags and environment of Wakeful's own model server, instead of KServe's agent.

Called by ``desired.predictor`` and ``desired.custom`` for the container that serves. KServe puts an agent container in
front of the model; our model server does both itself (``--max_batchsize``, ``WAKEFUL_LOGGER_*``). An image that is not
ours has neither, so there the fields are refused with a sentence instead of having no effect. Source: KServe behaviour
page sections 1.2.1, 3.6, 5.9, 5.10. Left out: ``batcher.timeout`` (KServe never uses it), ``logger.marshallerUrl``.

Invariant: a flag or variable that the user gave is not written again.
"""

from __future__ import annotations

import json

from controller.desired import images
from controller.desired.reasons import Reason, SpecError
from wakeful.core.api import isvc_names as names
from wakeful.core.api import podspec
from wakeful.core.api.inferenceservice import Component, InferenceService
from wakeful.core.api.isvc_problem import Obj, integer, mapping, text
from wakeful.core.protocol import payload_store

DEFAULT_BATCH_SIZE = 32
"""KServe's agent's own; its default latency of 5 s is not copied: nobody waits for company that may not come."""


def add(service: InferenceService, component: Component, container: Obj, runtime: dict[str, str]) -> Obj:
    """``container`` with what the component's logger and batcher ask for. ``runtime``: the runtime's annotations.

    Raises ``SpecError`` where the container's image is not known to be Wakeful's model server.
    """
    logger, batcher = component.raw.get("logger"), component.raw.get("batcher")
    if logger is None and batcher is None:
        return container
    if not _is_model_server(service, component, container, runtime):
        field = "logger" if logger is not None else "batcher"
        message = (
            f"spec.{component.name}.{field} is done by Wakeful's model server, and nothing says that the image "
            f"{container.get('image') or ''!r} is one; if it is built on wakeful.serving, add the annotation "
            f'{names.MODEL_SERVER}: "true", else remove the field'
        )
        raise SpecError(Reason.NOT_SUPPORTED_YET, message)
    if batcher is not None:
        container = with_flags(container, _batcher_flags(mapping(batcher)))
    if logger is not None:
        container = _with_logger(service, component, container, mapping(logger))
    return container


def with_flags(container: Obj, wanted: list[tuple[str, str]]) -> Obj:
    """``container`` with each ``--flag=value`` that is not among its args yet, in either spelling."""
    given = {str(item).partition("=")[0].replace("-", "_") for item in container.get("args") or []}
    added = [f"{flag}={value}" for flag, value in wanted if flag.replace("-", "_") not in given]
    return {**container, "args": [*(container.get("args") or []), *added]} if added else container


def _is_model_server(
    service: InferenceService, component: Component, container: Obj, runtime: dict[str, str]
) -> bool:
    said = {**runtime, **service.annotations, **component.annotations}.get(names.MODEL_SERVER, "")
    return said.lower() == "true" or images.is_wakefuls(str(container.get("image") or ""))


def _batcher_flags(batcher: Obj) -> list[tuple[str, str]]:
    size, latency_ms = integer(batcher.get("maxBatchSize")), integer(batcher.get("maxLatency"))
    flags = [("--max_batchsize", str(size if size and size > 0 else DEFAULT_BATCH_SIZE))]
    if latency_ms and latency_ms > 0:
        flags.append(("--max_latency", str(latency_ms)))
    return flags


def _with_logger(service: InferenceService, component: Component, container: Obj, logger: Obj) -> Obj:
    storage = mapping(logger.get("storage"))
    parameters = mapping(storage.get("parameters"))
    size = integer(logger.get("batchSize"))
    values = {
        "URL": "" if storage else text(logger.get("url")),
        "STORE_PATH": payload_store.path_of(text(storage.get("path")), text(parameters.get("bucket"))),
        "STORE_FORMAT": text(parameters.get("format")),
        "BATCH_SIZE": str(size) if size and size > 0 else "",
        "BATCH_INTERVAL": text(logger.get("batchInterval")),
        "MODE": text(logger.get("mode")) or "all",
        "METADATA_HEADERS": ",".join(_texts(logger.get("metadataHeaders"))),
        "METADATA_ANNOTATIONS": _annotations(service, component, _texts(logger.get("metadataAnnotations"))),
        "NAMESPACE": service.namespace,
        "COMPONENT": component.name,
    }
    for name, value in values.items():
        if value:
            container = podspec.with_env(container, names.LOGGER_VARIABLE + name, value)
    if storage:
        reference = {"name": names.STORAGE_SECRET, "key": text(storage.get("key"))}
        container = podspec.with_env_from(container, names.LOGGER_VARIABLE + "STORE_CONFIG", reference)
    return container


def _annotations(service: InferenceService, component: Component, keys: list[str]) -> str:
    present = {**service.annotations, **component.annotations}
    chosen = {key: present[key] for key in keys if key in present}
    return json.dumps(chosen, separators=(",", ":"), sort_keys=True) if chosen else ""


def _texts(value: object) -> list[str]:
    return [item for item in value if isinstance(item, str)] if isinstance(value, list) else []
