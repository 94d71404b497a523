"""Settings with the defaults that Knative's own decision vectors use."""

from dataclasses import replace
from typing import Any

from wakeful.core.scaling.settings import AutoscalerConfig, Scaling, build_scaling


def scaling(**changes: Any) -> Scaling:
    """Up- and down-rate 10, panic threshold 2, window 60 s, ``total = target / 0.75``."""
    base = build_scaling(AutoscalerConfig(max_scale_up_rate=10, max_scale_down_rate=10), {}, 0)
    target = float(changes.pop("target", 10))
    return replace(base, target=target, total=target / 0.75, **changes)
