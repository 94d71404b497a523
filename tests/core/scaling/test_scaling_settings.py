"""Targets (section 2.4), annotations in both spellings, the ConfigMap with its bounds, durations."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from wakeful.core.scaling import durations
from wakeful.core.scaling.config_autoscaler import parse_config
from wakeful.core.scaling.settings import HPA, AutoscalerConfig, build_scaling

PREFIX = "autoscaling.knative.dev/"


def notes(**values: str) -> dict[str, str]:
    return {PREFIX + key.replace("_", "-"): value for key, value in values.items()}


@pytest.mark.parametrize(
    ("concurrency", "annotations", "config", "target", "total"),
    [
        (0, {}, {}, 70, 100),
        (10, {}, {"target_utilization": 0.8}, 8, 10),
        (12, notes(target_utilization_percentage="75"), {}, 9, 12),
        (1, notes(target="10"), {"target_utilization": 1}, 1, 1),
        (0, notes(metric="rps"), {}, 140, 200),
        (0, notes(metric="rps", target="300"), {}, 210, 300),
        (0, notes(target="0.01", target_utilization_percentage="1"), {}, 0.01, 0.01),
        (0, notes(target="0.001"), {}, 70, 100),
        (20, notes(target="5"), {"target_utilization": 1}, 5, 5),
    ],
)
def test_targets(
    concurrency: int, annotations: dict[str, str], config: dict[str, float], target: float, total: float
) -> None:
    scaling = build_scaling(AutoscalerConfig(**config), annotations, concurrency)  # type: ignore[arg-type]
    assert (scaling.target, scaling.total) == (target, total)


def test_kebab_case_wins_over_camel_case() -> None:
    both = {PREFIX + "minScale": "3", PREFIX + "min-scale": "2", PREFIX + "maxScale": "9"}
    scaling = build_scaling(AutoscalerConfig(), both, 0)
    assert (scaling.min_scale, scaling.max_scale) == (2, 9)


def test_panic_window_is_whole_seconds_and_at_least_one() -> None:
    assert build_scaling(AutoscalerConfig(), {}, 0).panic_window_s == 6
    assert build_scaling(AutoscalerConfig(), notes(window="6s"), 0).panic_window_s == 1


def test_zero_initial_scale_needs_the_switch() -> None:
    asked = notes(initial_scale="0")
    assert build_scaling(AutoscalerConfig(), asked, 0).initial_scale == 1
    assert build_scaling(AutoscalerConfig(allow_zero_initial_scale=True), asked, 0).initial_scale == 0


def test_unreadable_annotations_fall_back() -> None:
    scaling = build_scaling(AutoscalerConfig(), notes(window="soon", min_scale="many"), 0)
    assert (scaling.window_s, scaling.min_scale) == (60, 0)


@pytest.mark.parametrize(
    "value", ["inf", "-inf", "nan", "1e400", "-5", "99999999999", "999999h", "0s", "-1h"]
)
@pytest.mark.parametrize("key", ["min-scale", "max-scale", "initial-scale", "activation-scale", "target", "window",
                                 "target-utilization-percentage", "panic-window-percentage",
                                 "panic-threshold-percentage", "scale-down-delay", "target-burst-capacity",
                                 "scale-to-zero-pod-retention-period"])  # fmt: skip
def test_what_admission_refuses_falls_back(key: str, value: str) -> None:
    """A PodAutoscaler passes no admission: "inf" raised OverflowError, 999999h was a window of 30 GB."""
    if (key, value) in (("scale-down-delay", "0s"), ("scale-to-zero-pod-retention-period", "0s")) or (
        key == "target" and value == "99999999999"
    ):
        return
    assert build_scaling(AutoscalerConfig(), {PREFIX + key: value}, 0) == build_scaling(
        AutoscalerConfig(), {}, 0
    )


def test_kpa_knows_two_metrics() -> None:
    assert build_scaling(AutoscalerConfig(), notes(metric="queue-length"), 0).metric == "concurrency"
    assert build_scaling(AutoscalerConfig(), {PREFIX + "class": HPA}, 0).metric == "cpu"
    assert build_scaling(AutoscalerConfig(), {PREFIX + "class": "x.example.com"}, 0).metric == "concurrency"


def test_config_map() -> None:
    config = parse_config(
        {
            "container-concurrency-target-percentage": "80",
            "panic-window-percentage": "0.2",
            "panic-threshold-percentage": "300",
            "stable-window": "1m30s",
            "scale-to-zero-grace-period": "5s",
            "allow-zero-initial-scale": "True",
            "initial-scale": "0",
            "pod-autoscaler-class": "hpa.autoscaling.knative.dev",
            "_example": "ignored",
        }
    )
    assert config.target_utilization == 0.8
    assert config.panic_window_fraction == 0.2
    assert config.panic_threshold == 3
    assert (config.stable_window_s, config.grace_period_s) == (90, 5)
    assert (config.allow_zero_initial_scale, config.initial_scale) == (True, 0)
    assert config.autoscaler_class == "hpa.autoscaling.knative.dev"


def test_empty_config_map_is_the_defaults() -> None:
    assert parse_config({}) == AutoscalerConfig()


@pytest.mark.parametrize(
    ("key", "value", "text"),
    [
        ("max-scale-up-rate", "1", "above 1"),
        ("max-scale-down-rate", "0.5", "above 1"),
        ("stable-window", "5s", "6s to 1h"),
        ("stable-window", "6.5s", "whole seconds"),
        ("stable-window", "soon", "invalid duration"),
        ("scale-to-zero-grace-period", "0s", "above 0s"),
        ("activator-capacity", "0.5", "1 or more"),
        ("target-burst-capacity", "-2", "0 or more, or -1"),
        ("container-concurrency-target-percentage", "101", "1 to 100"),
        ("panic-window-percentage", "0", "1 to 100"),
        ("initial-scale", "0", "1 or more"),
        ("min-scale", "two", "not a whole number"),
        ("max-scale", "-1", "0 or more"),
        ("requests-per-second-target-default", "x", "not a number"),
        ("max-scale-limit", "5", "1 to max-scale-limit"),
    ],
)
def test_bad_config_map(key: str, value: str, text: str) -> None:
    with pytest.raises(ValueError, match=text) as caught:
        parse_config({key: value})
    assert key in str(caught.value) or key == "max-scale-limit"


@pytest.mark.parametrize(
    ("text", "seconds"),
    [("0", 0), ("6s", 6), ("1h30m", 5400), ("1.5h", 5400), ("250ms", 0.25), ("-2s", -2), ("1m0.5s", 60.5)],
)
def test_durations(text: str, seconds: float) -> None:
    assert durations.parse(text) == seconds


@pytest.mark.parametrize("text", ["", "6", "s", "6 s", "6x", "1h-3m", "five"])
def test_no_durations(text: str) -> None:
    with pytest.raises(ValueError, match="time: invalid duration"):
        durations.parse(text)


@pytest.mark.parametrize(
    ("seconds", "text"), [(0, "0s"), (60, "1m0s"), (3600, "1h0m0s"), (0.25, "250ms"), (1.5, "1.5s")]
)
def test_render(seconds: float, text: str) -> None:
    assert durations.render(seconds) == text


@given(st.integers(0, 10**7))
def test_render_round_trip(milliseconds: int) -> None:
    assert durations.parse(durations.render(milliseconds / 1000)) == pytest.approx(milliseconds / 1000)
