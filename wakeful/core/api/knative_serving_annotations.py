"""Checks of the annotations that Knative Serving reads: scaling, rollout, progress deadline.

Called by ``knative_serving_kinds``. Sections 1.8 and 1.10 of the reference page: a misspelt key on the template is
accepted silently (KServe and others put their own there); any key of the group on the Service itself is refused,
because it would have no effect.

Invariant: a set of annotations that passes gives the autoscaler exactly the numbers the user wrote.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping

from wakeful.core.api.knative_serving_names import PROGRESS_DEADLINE, ROLLOUT_DURATION
from wakeful.core.api.knative_serving_problem import Problem, invalid, out_of_bounds
from wakeful.core.scaling import durations
from wakeful.core.scaling.settings import (
    FLOATS,
    GROUP,
    HPA,
    KPA,
    KPA_METRICS,
    LEGACY,
    MAX_INT,
    SECONDS,
    AutoscalerConfig,
    annotation,
)

Annotations = Mapping[str, str]
SCALES = ("min-scale", "max-scale", "initial-scale", "activation-scale")
WHOLE_SECONDS = ("window", "scale-down-delay")
ALGORITHMS = ("linear", "weighted-exponential", "weightedExponential")
MISPLACED = 'autoscaling annotations must be put under "spec.template.metadata.annotations" to work'


def validate_misplaced(annotations: Annotations) -> Iterator[Problem]:
    """Annotations of a Service's or Configuration's own metadata."""
    for key in sorted(annotations):
        if key.startswith(f"{GROUP}/"):
            yield Problem(MISPLACED, f'annotations["{key}"]')


def validate_scaling(annotations: Annotations, config: AutoscalerConfig) -> Iterator[Problem]:
    """Annotations of a template or Revision."""
    yield from _validate_class(annotations)
    scales: dict[str, int] = {}
    for key in SCALES:
        text = annotation(annotations, key)
        if text is not None:
            yield from _validate_scale(annotations, key, text, config, scales)
    yield from _validate_order(annotations, scales, config)
    for key, (low, high) in FLOATS.items():
        yield from _validate_number(annotations, key, low, high)
    if annotation(annotations, "target-burst-capacity") not in ("-1", "-1.0"):
        yield from _validate_number(annotations, "target-burst-capacity", 0, MAX_INT)
    for key, (least, most) in SECONDS.items():
        yield from _validate_seconds(annotations, key, least, most)
    algorithm = annotation(annotations, "metric-aggregation-algorithm")
    if algorithm is not None and algorithm not in ALGORITHMS:
        yield invalid(algorithm, _written(annotations, "metric-aggregation-algorithm"))


def _written(annotations: Annotations, key: str) -> str:
    """The key in the spelling that was read."""
    full = f"{GROUP}/{key}"
    return full if full in annotations or key not in LEGACY else f"{GROUP}/{LEGACY[key]}"


def _validate_class(annotations: Annotations) -> Iterator[Problem]:
    class_ = annotations.get(f"{GROUP}/class", KPA)
    metric = annotations.get(f"{GROUP}/metric")
    if class_.endswith("knative.dev") and class_ not in (KPA, HPA):
        yield invalid(class_, f"{GROUP}/class")
    if metric is None:
        return
    if class_ == KPA and metric not in KPA_METRICS:
        yield invalid(metric, f"{GROUP}/metric")


def _validate_scale(
    annotations: Annotations, key: str, text: str, config: AutoscalerConfig, scales: dict[str, int]
) -> Iterator[Problem]:
    path = _written(annotations, key)
    try:
        value = int(text)
    except ValueError:
        yield invalid(text, path, "must be an integer equal or greater than 0")
        return
    scales[key] = value
    least = 2 if key == "activation-scale" else 0
    if not least <= value <= MAX_INT:
        yield out_of_bounds(value, least, MAX_INT, path)
    elif key == "initial-scale" and value == 0 and not config.allow_zero_initial_scale:
        yield Problem(
            "invalid value: 0", path, "initial-scale=0 is not allowed while allow-zero-initial-scale is false"
        )
    elif key == "max-scale" and config.max_scale_limit and not 1 <= value <= config.max_scale_limit:
        yield out_of_bounds(value, 1, config.max_scale_limit, path)


def _validate_order(
    annotations: Annotations, scales: Mapping[str, int], config: AutoscalerConfig
) -> Iterator[Problem]:
    least = scales.get("min-scale", config.min_scale)
    most = scales.get("max-scale", config.max_scale)
    if most and most < least and ("max-scale" in scales or "min-scale" in scales):
        paths = ", ".join(_written(annotations, key) for key in ("max-scale", "min-scale"))
        yield Problem(f"max-scale={most} is less than min-scale={least}", paths)
    activation = scales.get("activation-scale")
    if activation is not None and activation >= 2:
        if activation < least:
            yield out_of_bounds(activation, least, most or MAX_INT, f"{GROUP}/activation-scale")
        elif most and activation > most:
            yield out_of_bounds(activation, least, most, f"{GROUP}/activation-scale")


def _validate_number(annotations: Annotations, key: str, low: float, high: float) -> Iterator[Problem]:
    text = annotation(annotations, key)
    if text is None:
        return
    path = _written(annotations, key)
    try:
        number = float(text)
    except ValueError:
        yield invalid(text, path)
        return
    if not low <= number <= high or math.isinf(number):
        if high == float("inf"):
            yield Problem(f"{key} {text} should be at least {low}", path)
        else:
            yield out_of_bounds(text, low, high, path)


def _validate_seconds(annotations: Annotations, key: str, least: int, most: int) -> Iterator[Problem]:
    text = annotation(annotations, key)
    if text is None:
        return
    path = _written(annotations, key)
    try:
        seconds = durations.parse(text)
    except ValueError:
        yield invalid(text, path)
        return
    if not least <= seconds <= most:
        yield out_of_bounds(text, durations.render(least), durations.render(most), path)
    elif key in WHOLE_SECONDS and seconds % 1:
        yield Problem(f"{key}={text} is not a whole number of seconds", path)


def validate_duration(annotations: Annotations, key: str) -> Iterator[Problem]:
    """``rollout-duration`` and ``progress-deadline``: 0 or more, whole seconds."""
    text = annotations.get(key)
    if text is None:
        return
    try:
        seconds = durations.parse(text)
    except ValueError:
        yield invalid(text, key)
        return
    if seconds < 0:
        yield Problem(f"{key.rpartition('/')[2]}={text} must be positive", key)
    elif seconds % 1:
        yield Problem(f"{key.rpartition('/')[2]}={text} is not at second precision", key)


def validate_rollout_duration(annotations: Annotations) -> Iterator[Problem]:
    return validate_duration(annotations, ROLLOUT_DURATION)


def validate_progress_deadline(annotations: Annotations) -> Iterator[Problem]:
    return validate_duration(annotations, PROGRESS_DEADLINE)
