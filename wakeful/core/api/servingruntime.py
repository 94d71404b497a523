"""ServingRuntime and ClusterServingRuntime v1alpha1 as values: formats, protocols, and the pod they bring.

Called by runtime selection and by the builders of the predictor. Left out in behaviour, kept in the schema: the
ModelMesh fields. Source: KServe behaviour page sections 1.4 and 4.2. Invariant: ``parse`` never raises.
"""

from __future__ import annotations

from dataclasses import dataclass

from wakeful.core.api import isvc_names as names
from wakeful.core.api import podspec
from wakeful.core.api.isvc_problem import (
    Obj,
    Problem,
    ProblemReason,
    integer,
    mapping,
    mappings,
    sequence,
    text,
)

NAMESPACED = "ServingRuntime"
CLUSTER = "ClusterServingRuntime"


@dataclass(frozen=True, slots=True)
class ModelFormat:
    """One entry of ``supportedModelFormats``; ``priority`` None is lower than every number."""

    name: str
    version: str
    is_auto_select: bool
    priority: int | None


@dataclass(frozen=True, slots=True)
class Runtime:
    """One runtime. ``created_at`` is RFC 3339, which sorts as text."""

    kind: str
    name: str
    created_at: str
    formats: tuple[ModelFormat, ...]
    protocols: tuple[str, ...]
    is_multi_model: bool
    is_disabled: bool
    is_multi_node: bool
    containers: tuple[Obj, ...]
    pod_spec: Obj
    labels: dict[str, str]
    annotations: dict[str, str]
    server_type: str

    def supports_protocol(self, protocol: str) -> bool:
        """An empty list supports every protocol."""
        return not self.protocols or protocol in self.protocols

    def lowest_protocol(self) -> str | None:
        """The first of ``v1 v2 grpc-v1 grpc-v2`` that the runtime lists; None when it lists none."""
        return next((item for item in names.PROTOCOLS if item in self.protocols), None)

    def priority_of(self, format_name: str) -> int | None:
        """The priority of the first entry with that format name, as KServe reads it."""
        return next((item.priority for item in self.formats if item.name == format_name), None)


def parse(obj: Obj) -> Runtime:
    """``obj`` as values."""
    metadata, spec = mapping(obj.get("metadata")), mapping(obj.get("spec"))
    annotations = _strings(spec.get("annotations"))
    name = text(metadata.get("name"))
    server_type = _strings(metadata.get("annotations")).get(names.SERVER_TYPE) or annotations.get(
        names.SERVER_TYPE
    )
    return Runtime(
        kind=text(obj.get("kind")) or NAMESPACED,
        name=name,
        created_at=text(metadata.get("creationTimestamp")),
        formats=tuple(_format(item) for item in mappings(spec.get("supportedModelFormats"))),
        protocols=tuple(item for item in sequence(spec.get("protocolVersions")) if isinstance(item, str)),
        is_multi_model=spec.get("multiModel") is True,
        is_disabled=spec.get("disabled") is True,
        is_multi_node=spec.get("workerSpec") is not None,
        containers=tuple(mappings(spec.get("containers"))),
        pod_spec=podspec.pick(spec, RUNTIME_POD_FIELDS),
        labels=_strings(spec.get("labels")),
        annotations=annotations,
        server_type=server_type or name,
    )


RUNTIME_POD_FIELDS = (
    "affinity",
    "hostIPC",
    "imagePullSecrets",
    "nodeSelector",
    "resourceClaims",
    "schedulerName",
    "tolerations",
    "volumes",
)
"""What a runtime brings besides containers. KServe drops ``hostIPC``; it is meant, so it is kept here."""


PARALLEL_SIZES = ("pipelineParallelSize", "tensorParallelSize")
PARALLEL_VARIABLES = ("PIPELINE_PARALLEL_SIZE", "TENSOR_PARALLEL_SIZE")


def validate(obj: Obj, others: list[Obj], old: Obj | None = None) -> list[Problem]:
    """What makes the runtime unusable, or ambiguous beside ``others`` (same kind and scope). Disabled ones pass."""
    runtime = parse(obj)
    if runtime.is_disabled:
        return []
    problems = [*_own_problems(runtime), *_worker_problems(mapping(obj.get("spec")).get("workerSpec"))]
    if old is not None and parse(old).is_multi_node and not runtime.is_multi_node:
        message = "workerSpec cannot be removed: running workers would be left behind; make another runtime"
        problems.append(Problem("spec.workerSpec", message, ProblemReason.FORBIDDEN))
    for other in (parse(item) for item in others):
        if other.name != runtime.name and not other.is_disabled:
            problems += _clashes(runtime, other)
    return problems


def _own_problems(runtime: Runtime) -> list[Problem]:
    problems = []
    for index, container in enumerate(runtime.containers):
        if any(entry.get("name") == "PYTHONPATH" for entry in mappings(container.get("env"))):
            path = f"spec.containers[{index}].env"
            problems.append(Problem(path, "the variable PYTHONPATH is not allowed", ProblemReason.FORBIDDEN))
    if podspec.find(runtime.containers, names.MAIN_CONTAINER) is None and not runtime.is_multi_model:
        message = f"a container named {names.MAIN_CONTAINER} is required: it is the one that serves the model"
        problems.append(Problem("spec.containers", message, ProblemReason.REQUIRED))
    seen: dict[tuple[str, str], int | None] = {}
    for index, item in enumerate(runtime.formats):
        key = (item.name, item.version)
        if item.is_auto_select and seen.setdefault(key, item.priority) != item.priority:
            message = f"format {item.name} has different priorities in one runtime; give it one"
            path = f"spec.supportedModelFormats[{index}].priority"
            problems.append(Problem(path, message, ProblemReason.INVALID))
    return problems


def _worker_problems(worker: object) -> list[Problem]:
    """Rules of ``workerSpec`` (serving on several nodes)."""
    problems = []
    containers = mappings(mapping(worker).get("containers"))
    if len(containers) > 1:
        message = f"one worker container is allowed and there are {len(containers)}"
        problems.append(Problem("spec.workerSpec.containers", message, ProblemReason.FORBIDDEN))
    for index, container in enumerate(containers):
        for entry in mappings(container.get("env")):
            if entry.get("name") in (*PARALLEL_VARIABLES, "PYTHONPATH"):
                path = f"spec.workerSpec.containers[{index}].env"
                message = f"the variable {entry['name']} is not allowed"
                problems.append(Problem(path, message, ProblemReason.FORBIDDEN))
    for key in PARALLEL_SIZES:
        size = integer(mapping(worker).get(key))
        if size is not None and size < 1:
            problems.append(Problem(f"spec.workerSpec.{key}", f"must be at least 1, not {size}"))
    return problems


def _clashes(runtime: Runtime, other: Runtime) -> list[Problem]:
    problems = []
    for index, item in enumerate(runtime.formats):
        for theirs in other.formats:
            same = (item.name.lower(), item.version) == (theirs.name.lower(), theirs.version)
            if (
                same
                and item.is_auto_select
                and theirs.is_auto_select
                and item.priority is not None
                and item.priority == theirs.priority
                and runtime.is_multi_model == other.is_multi_model
                and (set(runtime.protocols) & set(other.protocols))
            ):
                message = (
                    f"runtime {other.name} has the same priority {item.priority} for format {item.name}; "
                    "which one is chosen would be chance: give one of them another priority"
                )
                problems.append(Problem(f"spec.supportedModelFormats[{index}].priority", message))
    return problems


def _format(item: Obj) -> ModelFormat:
    version = item.get("version")
    return ModelFormat(
        name=text(item.get("name")),
        version=str(version) if version is not None else "",
        is_auto_select=item.get("autoSelect") is True,
        priority=integer(item.get("priority")),
    )


def _strings(value: object) -> dict[str, str]:
    return {str(key): item for key, item in mapping(value).items() if isinstance(item, str)}
