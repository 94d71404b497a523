"""Settings of Serving: what the command line gives, and the ConfigMaps of namespace knative-serving.

``ServingConfig`` is replaced as a whole when a ConfigMap changes; an invalid one is reported and the last good value
stays, as Knative's own stores do.

Invariant: every field always has a usable value.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace

import yaml

from standalone.knative.collect import Retention, parse_retention
from wakeful.core.api.knative_serving_config import Features, parse_features
from wakeful.core.scaling import durations
from wakeful.core.scaling.config_autoscaler import parse_config
from wakeful.core.scaling.settings import AutoscalerConfig

CLUSTER_DOMAIN = "cluster.local"


@dataclass(frozen=True, slots=True)
class Domain:
    """One entry of ``config-domain``: the labels a route must have for it."""

    name: str
    selector: Mapping[str, str]


@dataclass(frozen=True, slots=True)
class ServingConfig:
    """All ConfigMaps of Serving that the controllers use."""

    gateway_port: int = 80
    """In URLs when it is not 80."""
    domains: tuple[Domain, ...] = (Domain("localhost", {}),)
    autoscaler: AutoscalerConfig = field(default_factory=AutoscalerConfig)
    features: Features = field(default_factory=Features)
    rollout_s: float = 0.0
    progress_deadline_s: float = 600.0
    retention: Retention = field(default_factory=Retention)
    domain_template: str = "{{.Name}}.{{.Namespace}}.{{.Domain}}"
    tag_template: str = "{{.Tag}}-{{.Name}}"


def with_configmap(config: ServingConfig, name: str, data: Mapping[str, str]) -> ServingConfig:
    """``config`` with ConfigMap ``name`` taken over. Raises ``ValueError`` in one sentence."""
    match name:
        case "config-autoscaler":
            return replace(config, autoscaler=parse_config(data))
        case "config-features":
            return replace(config, features=parse_features(data))
        case "config-domain":
            return replace(config, domains=_domains(data))
        case "config-network":
            return replace(
                config,
                rollout_s=_seconds(data, "rollout-duration", 0.0),
                domain_template=data.get("domain-template") or ServingConfig().domain_template,
                tag_template=data.get("tag-template") or ServingConfig().tag_template,
            )
        case "config-gc":
            return replace(config, retention=parse_retention(data))
        case "config-deployment":
            return replace(config, progress_deadline_s=_seconds(data, "progress-deadline", 600.0))
    return config


def _domains(data: Mapping[str, str]) -> tuple[Domain, ...]:
    found = []
    for name, text in data.items():
        if name.startswith("_"):
            continue
        try:
            selector = (yaml.safe_load(text or "") or {}).get("selector") or {}
        except (yaml.YAMLError, AttributeError):
            raise ValueError(f"{name}: {text!r} is not YAML with a selector") from None
        found.append(Domain(name, {str(k): str(v) for k, v in selector.items()}))
    return tuple(found) or ServingConfig().domains


def _seconds(data: Mapping[str, str], key: str, default: float) -> float:
    text = data.get(key, "")
    if text in ("", "0"):
        return default if text == "" else 0.0
    try:
        return durations.parse(text)
    except ValueError as error:
        raise ValueError(f"{key}: {error}") from None
