"""Rules about replicas, concurrency, time limits, canary percentages and metrics of one component (Knative mode).

Called by ``inferenceservice_validate``. Source: KServe behaviour page section 4.1 (V8 to V11 and the table of scaling
rules) and section 6, items 37 and 38: values that KServe accepts and Knative refuses later are refused at once.
"""

from __future__ import annotations

from collections.abc import Sequence

from wakeful.core.api import inferenceservice as isvc
from wakeful.core.api import isvc_names as names
from wakeful.core.api import podspec
from wakeful.core.api.isvc_problem import Problem, ProblemReason, mapping

HPA_CLASS = "hpa.autoscaling.knative.dev"
CLASS_ANNOTATION = "autoscaling.knative.dev/class"
LOGGER_MODES = ("all", "request", "response")
CONCURRENCY_LIMIT = 1000
TIMEOUT_LIMIT_S = 600
"""Knative's shipped maxima; an installation may raise them, so beyond them is a warning."""


def validate(component: isvc.Component, parsed: isvc.InferenceService) -> list[Problem]:
    """The problems of one component's numbers."""
    path = f"spec.{component.name}"
    problems = [*_replicas(component, path), *_limits(component, path), *_logger(component, path)]
    mode = names.normalise_mode(parsed.annotations.get(names.DEPLOYMENT_MODE, names.KNATIVE))
    if mode == names.KNATIVE:
        problems += _metric(component, {**parsed.annotations, **component.annotations}, path)
    return problems


def warnings(parsed: isvc.InferenceService) -> list[str]:
    """Sentences about values that work only where Knative's limits were raised, or that do more than they say."""
    found = []
    for item in parsed.components:
        path = f"spec.{item.name}"
        if item.container_concurrency is not None and item.container_concurrency > CONCURRENCY_LIMIT:
            found.append(
                f"{path}.containerConcurrency: {item.container_concurrency} is above Knative's default limit "
                f"{CONCURRENCY_LIMIT}; unless config-defaults raises it the revision is refused"
            )
        if item.timeout_s is not None and item.timeout_s > TIMEOUT_LIMIT_S:
            found.append(
                f"{path}.timeout: {item.timeout_s} s is above Knative's default limit {TIMEOUT_LIMIT_S} s; "
                "unless config-defaults raises it the revision is refused"
            )
        found += _processes(item, path)
    return found


def workers(item: isvc.Component, args: Sequence[object]) -> int | None:
    """``--workers`` for a custom transformer or explainer with these arguments; None: its own default, one process.

    KServe passes it containerConcurrency. 0 is no limit there, and no number of processes.
    """
    has_own = any(str(arg) == "--workers" or str(arg).startswith("--workers=") for arg in args)
    return None if has_own else item.container_concurrency or None


def _processes(item: isvc.Component, path: str) -> list[str]:
    if item.name == names.PREDICTOR or not item.containers:
        return []
    main = podspec.find(list(item.containers), names.MAIN_CONTAINER) or item.containers[0]
    args = main.get("args")
    count = workers(item, args if isinstance(args, list) else [])
    if count is None or count < 2:
        return []
    return [
        f"{path}.containerConcurrency: {count} also starts {count} processes of the {item.name} (--workers={count}), each with "
        "what it loads, as in KServe; for one process give its container the argument --workers=1"
    ]


def _replicas(item: isvc.Component, path: str) -> list[Problem]:
    problems = []
    low, high = item.min_replicas, item.max_replicas
    if low is not None and low < 0:
        problems.append(Problem(f"{path}.minReplicas", "MinReplicas cannot be less than 0"))
    if high is not None and high < 0:
        problems.append(Problem(f"{path}.maxReplicas", "MaxReplicas cannot be less than 0"))
    floor = 1 if low is None else low
    if high and high > 0 and floor > high:
        problems.append(
            Problem(f"{path}.maxReplicas", f"MinReplicas {floor} cannot be greater than MaxReplicas {high}")
        )
    return problems


def _limits(item: isvc.Component, path: str) -> list[Problem]:
    problems = []
    if item.container_concurrency is not None and item.container_concurrency < 0:
        problems.append(Problem(f"{path}.containerConcurrency", "parallelism cannot be less than 0"))
    if item.timeout_s is not None and item.timeout_s < 1:
        problems.append(
            Problem(f"{path}.timeout", f"must be a number of seconds of at least 1, not {item.timeout_s}")
        )
    percent = item.canary_percent
    if percent is not None and not 0 <= percent <= 100:
        problems.append(Problem(f"{path}.canaryTrafficPercent", f"must be from 0 to 100, not {percent}"))
    if item.scale_target is not None and item.scale_target < 1:
        problems.append(Problem(f"{path}.scaleTarget", f"must be at least 1, not {item.scale_target}"))
    return problems


def _logger(item: isvc.Component, path: str) -> list[Problem]:
    if item.raw.get("logger") is None:
        return []
    logger = mapping(item.raw["logger"])
    problems = []
    if logger.get("mode") not in LOGGER_MODES:
        message = f"invalid logger type {logger.get('mode') or ''!r}; use one of {', '.join(LOGGER_MODES)}"
        problems.append(Problem(f"{path}.logger.mode", message, ProblemReason.NOT_SUPPORTED))
    if logger.get("storage") is not None:
        missing = [key for key in ("path", "parameters", "key") if not mapping(logger["storage"]).get(key)]
        if missing:
            message = f"invalid logger storage configuration: {', '.join(missing)} missing"
            problems.append(Problem(f"{path}.logger.storage", message, ProblemReason.REQUIRED))
    return problems


def _metric(item: isvc.Component, annotations: dict[str, str], path: str) -> list[Problem]:
    is_hpa = annotations.get(CLASS_ANNOTATION) == HPA_CLASS
    allowed = ("cpu", "memory") if is_hpa else ("concurrency", "rps")
    if item.scale_metric and item.scale_metric not in allowed:
        scaler = "Knative's HPA class" if is_hpa else "Knative's autoscaler"
        message = f"[{item.scale_metric}] is not supported by {scaler}; use one of {', '.join(allowed)}"
        return [Problem(f"{path}.scaleMetric", message, ProblemReason.NOT_SUPPORTED)]
    if is_hpa and item.scale_metric == "cpu" and item.scale_target is not None and item.scale_target > 100:
        return [
            Problem(
                f"{path}.scaleTarget", f"a cpu target is a percentage from 1 to 100, not {item.scale_target}"
            )
        ]
    return []
