"""Reading ConfigMap ``config-autoscaler``: strings to ``AutoscalerConfig``, or one sentence that says what is wrong.

Called by admission (an invalid ConfigMap is refused at apply) and by the autoscaler (which keeps the last good one).
Percentages in (0, 1] are taken for fractions, as Knative does. Unknown keys and ``_example`` are ignored.

Invariant: what ``parse_config`` returns satisfies every bound in section 1.10 of the reference page.
"""

from __future__ import annotations

from collections.abc import Mapping

from wakeful.core.scaling.config_values import read_flag, read_integer, read_number, read_seconds
from wakeful.core.scaling.settings import AutoscalerConfig

_NUMBERS = {
    "container-concurrency-target-default": "concurrency_target",
    "requests-per-second-target-default": "rps_target",
    "target-burst-capacity": "target_burst_capacity",
    "max-scale-up-rate": "max_scale_up_rate",
    "max-scale-down-rate": "max_scale_down_rate",
    "activator-capacity": "activator_capacity",
}
_FRACTIONS = {
    "container-concurrency-target-percentage": "target_utilization",
    "panic-window-percentage": "panic_window_fraction",
}
_SECONDS = {
    "stable-window": "stable_window_s",
    "scale-to-zero-grace-period": "grace_period_s",
    "scale-to-zero-pod-retention-period": "retention_s",
    "scale-down-delay": "scale_down_delay_s",
}
_INTEGERS = {
    "initial-scale": "initial_scale",
    "min-scale": "min_scale",
    "max-scale": "max_scale",
    "max-scale-limit": "max_scale_limit",
}
_BOOLEANS = {
    "enable-scale-to-zero": "enable_scale_to_zero",
    "allow-zero-initial-scale": "allow_zero_initial_scale",
}


def parse_config(data: Mapping[str, str]) -> AutoscalerConfig:
    """The configuration. Raises ``ValueError`` naming the key, the value and the bound."""
    fields: dict[str, float | int | bool | str] = {}
    for key, name in _NUMBERS.items():
        if key in data:
            fields[name] = read_number(key, data[key])
    for key, name in _FRACTIONS.items():
        if key in data:
            number = read_number(key, data[key])
            fields[name] = number if 0 < number <= 1 else number / 100
    if "panic-threshold-percentage" in data:
        fields["panic_threshold"] = (
            read_number("panic-threshold-percentage", data["panic-threshold-percentage"]) / 100
        )
    for key, name in _SECONDS.items():
        if key in data:
            fields[name] = read_seconds(key, data[key])
    for key, name in _INTEGERS.items():
        if key in data:
            fields[name] = read_integer(key, data[key])
    for key, name in _BOOLEANS.items():
        if key in data:
            fields[name] = read_flag(key, data[key])
    if data.get("pod-autoscaler-class"):
        fields["autoscaler_class"] = data["pod-autoscaler-class"]
    config = AutoscalerConfig(**fields)  # type: ignore[arg-type]
    _check(config)
    return config


Bound = tuple[str, float, bool, str]
"""Key, value, whether it is good, and what is wanted."""


def _check(config: AutoscalerConfig) -> None:
    for key, value, is_good, want in (*_rate_bounds(config), *_window_bounds(config), *_scale_bounds(config)):
        if not is_good:
            raise ValueError(f"{key} = {value:g}, want {want}")
    if config.max_scale and config.min_scale > config.max_scale:
        raise ValueError(f"min-scale = {config.min_scale}, want at most max-scale ({config.max_scale})")
    if config.max_scale_limit and not 1 <= config.max_scale <= config.max_scale_limit:
        raise ValueError(
            f"max-scale = {config.max_scale}, want 1 to max-scale-limit ({config.max_scale_limit})"
        )


def _rate_bounds(config: AutoscalerConfig) -> list[Bound]:
    utilization, burst = config.target_utilization, config.target_burst_capacity
    concurrency, rps = config.concurrency_target, config.rps_target
    return [
        ("max-scale-up-rate", config.max_scale_up_rate, config.max_scale_up_rate > 1, "above 1"),
        ("max-scale-down-rate", config.max_scale_down_rate, config.max_scale_down_rate > 1, "above 1"),
        ("activator-capacity", config.activator_capacity, config.activator_capacity >= 1, "1 or more"),
        ("target-burst-capacity", burst, burst >= 0 or burst == -1, "0 or more, or -1"),
        (
            "container-concurrency-target-percentage",
            utilization * 100,
            0 < utilization <= 1,
            "1 to 100",
        ),
        ("container-concurrency-target-default", concurrency, concurrency >= 0.01, "0.01 or more"),
        ("requests-per-second-target-default", rps, rps >= 0.01, "0.01 or more"),
    ]


def _window_bounds(config: AutoscalerConfig) -> list[Bound]:
    stable, panic = config.stable_window_s, config.panic_window_fraction
    is_stable_good = 6 <= stable <= 3600 and stable % 1 == 0
    return [
        ("scale-to-zero-grace-period", config.grace_period_s, config.grace_period_s > 0, "above 0s"),
        ("scale-to-zero-pod-retention-period", config.retention_s, config.retention_s >= 0, "0s or more"),
        ("scale-down-delay", config.scale_down_delay_s, config.scale_down_delay_s >= 0, "0s or more"),
        ("stable-window", stable, is_stable_good, "6s to 1h in whole seconds"),
        ("panic-window-percentage", panic * 100, 0.01 <= panic <= 1, "1 to 100"),
    ]


def _scale_bounds(config: AutoscalerConfig) -> list[Bound]:
    least = 0 if config.allow_zero_initial_scale else 1
    return [
        ("initial-scale", config.initial_scale, config.initial_scale >= least, f"{least} or more"),
        ("min-scale", config.min_scale, config.min_scale >= 0, "0 or more"),
        ("max-scale", config.max_scale, config.max_scale >= 0, "0 or more"),
        ("max-scale-limit", config.max_scale_limit, config.max_scale_limit >= 0, "0 or more"),
    ]
