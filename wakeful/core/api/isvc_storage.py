"""Rules about where a component's model lies: ``storageUri``, ``storage`` and ``storageUris``.

Called by ``inferenceservice_validate``. Whether a scheme is supported is not checked at admission (it may be by
another storage initializer) but shown in the status. Source: KServe behaviour page section 4.1, V12 to V18, applied
to every format (a running KServe skips most of them: section 6, item 36).
"""

from __future__ import annotations

from posixpath import splitext

from wakeful.core.api import inferenceservice as isvc
from wakeful.core.api import isvc_names as names
from wakeful.core.api import podspec
from wakeful.core.api.isvc_problem import Problem, ProblemReason, mapping, text

SPEC_PREFIXES = ("s3://", "hdfs://", "webhdfs://")
SPEC_TYPES = ("s3", "hdfs", "webhdfs")


def validate(component: isvc.Component) -> list[Problem]:
    """The problems of one component's storage."""
    path = f"spec.{component.name}"
    problems = _uris(component, path)
    model = component.model
    if model is None:
        return problems
    if model.storage_uri and component.storage_uris:
        message = "Setting both StorageURI and StorageURIs is not supported."
        problems.append(Problem(f"{path}.storageUris", message, ProblemReason.FORBIDDEN))
    problems += _spec(model, f"{path}.model")
    problems += _format(model, f"{path}.model")
    side = podspec.find(component.containers, names.TRANSFORMER_CONTAINER)
    if side is not None and podspec.env_value(side, "STORAGE_URI") is not None:
        message = "STORAGE_URI is not allowed on transformer-container: the model belongs to the predictor"
        problems.append(Problem(f"{path}.containers", message, ProblemReason.FORBIDDEN))
    return problems


def _uris(component: isvc.Component, path: str) -> list[Problem]:
    problems = []
    seen: set[str] = set()
    for index, item in enumerate(component.storage_uris):
        where = f"{path}.storageUris[{index}]"
        if not text(item.get("uri")):
            problems.append(Problem(f"{where}.uri", "must not be empty", ProblemReason.REQUIRED))
        mount = item.get("mountPath", names.MODEL_MOUNT)
        if (
            not isinstance(mount, str)
            or not mount.startswith("/")
            or mount == "/"
            or ".." in mount.split("/")
        ):
            message = f"{mount!r} must be an absolute path below / and must not contain '..'"
            problems.append(Problem(f"{where}.mountPath", message))
        elif mount.rstrip("/") in seen:
            message = f"{mount} is used twice; every item needs its own mountPath"
            problems.append(Problem(f"{where}.mountPath", message, ProblemReason.DUPLICATE))
        else:
            seen.add(mount.rstrip("/"))
    return problems


def _spec(model: isvc.ModelSpec, path: str) -> list[Problem]:
    if model.storage is None:
        return []
    if model.storage_uri and not model.storage_uri.startswith(SPEC_PREFIXES):
        message = f"unsupported storageUri {model.storage_uri} beside storage; use one of {', '.join(SPEC_PREFIXES)}"
        return [Problem(f"{path}.storageUri", message, ProblemReason.NOT_SUPPORTED)]
    if model.storage_uri and model.storage.get("path"):
        message = "storageUri and storage.path are given; give only one of them"
        return [Problem(f"{path}.storage.path", message, ProblemReason.FORBIDDEN)]
    type_ = mapping(model.storage.get("parameters")).get("type")
    if type_ is not None and type_ not in SPEC_TYPES:
        message = f"storage.spec.type {type_!r} is not supported; use one of {', '.join(SPEC_TYPES)}"
        return [Problem(f"{path}.storage.parameters.type", message, ProblemReason.NOT_SUPPORTED)]
    return []


def _format(model: isvc.ModelSpec, path: str) -> list[Problem]:
    extension = splitext(model.storage_uri.partition("?")[0])[1]
    if model.format_name == "onnx" and extension and not extension[1:].isdigit() and extension != ".onnx":
        message = f"expected a folder or a file with extension .onnx, not {extension}"
        return [Problem(f"{path}.storageUri", message)]
    if model.format_name == "tensorflow" and model.runtime_version:
        is_gpu_image = model.runtime_version.endswith("-gpu")
        if is_gpu_image != podspec.wants_gpu(model.container):
            asks = "asks for a GPU" if is_gpu_image else "has no -gpu"
            message = f"runtimeVersion {model.runtime_version} {asks} and the resources say otherwise"
            return [Problem(f"{path}.runtimeVersion", message)]
    return []
