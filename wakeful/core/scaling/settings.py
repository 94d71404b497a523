"""The settings of scaling: ConfigMap ``config-autoscaler`` and the ``autoscaling.knative.dev/*`` annotations.

``read_config`` and ``read_annotations`` are called by admission (to refuse bad values) and by the autoscaler (to
use good ones). Every field has Knative's default and bounds (sections 1.10 and 2.4 of the reference page). KServe
writes the legacy camelCase forms, so both spellings are read; kebab-case wins.

Invariant: the target used for division is at least 0.01.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass

from wakeful.core.scaling import durations

GROUP = "autoscaling.knative.dev"
KPA = f"kpa.{GROUP}"
HPA = f"hpa.{GROUP}"
LEAST_TARGET = 0.01
MAX_INT = 2**31 - 1
FLOATS: Mapping[str, tuple[float, float]] = {
    "target": (0.01, float("inf")),
    "target-utilization-percentage": (1, 100),
    "panic-window-percentage": (1, 100),
    "panic-threshold-percentage": (110, 1000),
}
"""What admission takes; infinity itself it does not."""
SECONDS = {
    "window": (6, 3600),
    "scale-down-delay": (0, 3600),
    "scale-to-zero-pod-retention-period": (0, 3600),
}
KPA_METRICS = ("concurrency", "rps")
LEGACY = {
    "min-scale": "minScale",
    "max-scale": "maxScale",
    "initial-scale": "initialScale",
    "target-burst-capacity": "targetBurstCapacity",
    "target-utilization-percentage": "targetUtilizationPercentage",
    "scale-down-delay": "scaleDownDelay",
    "scale-to-zero-pod-retention-period": "scaleToZeroPodRetentionPeriod",
    "panic-window-percentage": "panicWindowPercentage",
    "panic-threshold-percentage": "panicThresholdPercentage",
    "metric-aggregation-algorithm": "metricAggregationAlgorithm",
}


@dataclass(frozen=True, slots=True)
class AutoscalerConfig:
    """ConfigMap ``config-autoscaler``. Fractions are of 1, durations in seconds."""

    enable_scale_to_zero: bool = True
    allow_zero_initial_scale: bool = False
    target_utilization: float = 0.7
    concurrency_target: float = 100.0
    rps_target: float = 200.0
    target_burst_capacity: float = 211.0
    max_scale_up_rate: float = 1000.0
    max_scale_down_rate: float = 2.0
    stable_window_s: float = 60.0
    panic_window_fraction: float = 0.1
    panic_threshold: float = 2.0
    grace_period_s: float = 30.0
    retention_s: float = 0.0
    scale_down_delay_s: float = 0.0
    initial_scale: int = 1
    min_scale: int = 0
    max_scale: int = 0
    max_scale_limit: int = 0
    activator_capacity: float = 100.0
    autoscaler_class: str = KPA


@dataclass(frozen=True, slots=True)
class Scaling:
    """What holds for one revision: the ConfigMap with the revision's annotations laid over it."""

    autoscaler_class: str
    metric: str
    """``concurrency`` or ``rps`` (KPA); HPA metrics keep their name."""
    target: float
    """Value per pod the decision divides by, at least 0.01."""
    total: float
    """Capacity of one pod, for the burst arithmetic."""
    target_burst_capacity: float
    window_s: float
    panic_window_s: float
    panic_threshold: float
    min_scale: int
    max_scale: int
    """0 is no limit."""
    initial_scale: int
    activation_scale: int
    scale_down_delay_s: float
    retention_s: float
    is_exponential: bool
    max_scale_up_rate: float
    max_scale_down_rate: float
    grace_period_s: float
    enable_scale_to_zero: bool


def annotation(annotations: Mapping[str, str], key: str) -> str | None:
    """The value of ``autoscaling.knative.dev/<key>`` in either spelling, or None."""
    value = annotations.get(f"{GROUP}/{key}")
    if value is None and key in LEGACY:
        value = annotations.get(f"{GROUP}/{LEGACY[key]}")
    return value


def build_scaling(
    config: AutoscalerConfig, annotations: Mapping[str, str], container_concurrency: int
) -> Scaling:
    """The settings of one revision. Values that admission would have refused fall back to the ConfigMap's."""
    read = _Reader(annotations)
    class_ = read.text("class", config.autoscaler_class)
    metric = read.text("metric", "cpu" if class_ == HPA else "concurrency")
    if class_ == KPA and metric not in KPA_METRICS:
        metric = "concurrency"
    target, total = _target(config, read, metric, container_concurrency)
    window_s = read.seconds("window", config.stable_window_s)
    panic_fraction = read.number("panic-window-percentage", config.panic_window_fraction * 100) / 100
    return Scaling(
        autoscaler_class=class_,
        metric=metric,
        target=target,
        total=total,
        target_burst_capacity=read.number("target-burst-capacity", config.target_burst_capacity),
        window_s=window_s,
        panic_window_s=max(1.0, float(round(window_s * panic_fraction))),
        panic_threshold=read.number("panic-threshold-percentage", config.panic_threshold * 100) / 100,
        min_scale=int(read.number("min-scale", config.min_scale)),
        max_scale=int(read.number("max-scale", config.max_scale)),
        initial_scale=_initial(config, read),
        activation_scale=int(read.number("activation-scale", 1)),
        scale_down_delay_s=read.seconds("scale-down-delay", config.scale_down_delay_s),
        retention_s=read.seconds("scale-to-zero-pod-retention-period", config.retention_s),
        is_exponential=read.text("metric-aggregation-algorithm", "linear").lower().replace("-", "")
        == "weightedexponential",
        max_scale_up_rate=config.max_scale_up_rate,
        max_scale_down_rate=config.max_scale_down_rate,
        grace_period_s=config.grace_period_s,
        enable_scale_to_zero=config.enable_scale_to_zero,
    )


def _initial(config: AutoscalerConfig, read: _Reader) -> int:
    initial = int(read.number("initial-scale", config.initial_scale))
    return max(initial, 0 if config.allow_zero_initial_scale else 1)


def _target(
    config: AutoscalerConfig, read: _Reader, metric: str, container_concurrency: int
) -> tuple[float, float]:
    """(target, total): section 2.4. A container's hard limit and the annotation: the smaller one wins."""
    if metric == "rps":
        total = config.rps_target
    elif container_concurrency > 0:
        total = float(container_concurrency)
    else:
        total = config.concurrency_target
    wanted = read.number("target", 0.0)
    if wanted > 0:
        hard = metric == "concurrency" and container_concurrency > 0
        total = min(wanted, float(container_concurrency)) if hard else wanted
    utilization = read.number("target-utilization-percentage", config.target_utilization * 100) / 100
    return max(LEAST_TARGET, round(total * utilization, 9)), total


@dataclass(frozen=True, slots=True)
class _Reader:
    """Annotation values with a fallback for what cannot be read."""

    annotations: Mapping[str, str]

    def text(self, key: str, default: str) -> str:
        return annotation(self.annotations, key) or default

    def number(self, key: str, default: float) -> float:
        low, high = FLOATS.get(key, (-1.0 if key == "target-burst-capacity" else 0.0, float(MAX_INT)))
        try:
            value = float(annotation(self.annotations, key) or default)
        except ValueError:
            return default
        return value if low <= value <= high and math.isfinite(value) else default

    def seconds(self, key: str, default: float) -> float:
        low, high = SECONDS[key]
        try:
            text = annotation(self.annotations, key)
            value = durations.parse(text) if text else default
        except ValueError:
            return default
        return value if low <= value <= high else default
