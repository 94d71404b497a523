"""Settings of Serving: what the command line gives, and the ConfigMaps of namespace knative-serving.

``ServingConfig`` is replaced as a whole when a ConfigMap changes; an invalid one is reported and the last good value
stays, as Knative's own stores do.

Invariant: every field always has a usable value.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field, replace

import yaml

from standalone.knative.collect import Retention, parse_retention
from wakeful.core.api.knative_serving_config import Features, parse_features
from wakeful.core.scaling.config_autoscaler import parse_config
from wakeful.core.scaling.config_values import read_whole_seconds
from wakeful.core.scaling.settings import AutoscalerConfig

CLUSTER_DOMAIN = "cluster.local"
ONLY = {
    "http-protocol": "Enabled",
    "external-domain-tls": "Disabled",
    "cluster-local-domain-tls": "Disabled",
    "system-internal-tls": "Disabled",
    "default-external-scheme": "http",
}
"""Keys of config-network of which one value is supported."""
FIELD = re.compile(r"\{\{ ?\.(\w+) ?\}\}")
HOST = re.compile(r"[a-z0-9]([-a-z0-9]*[a-z0-9])?(\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*")


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
            return _with_network(config, data)
        case "config-gc":
            return replace(config, retention=parse_retention(data))
        case "config-deployment":
            text = data.get("progress-deadline") or "600s"
            return replace(config, progress_deadline_s=read_whole_seconds("progress-deadline", text, 1))
    return config


def _with_network(config: ServingConfig, data: Mapping[str, str]) -> ServingConfig:
    for key, supported in ONLY.items():
        if data.get(key) and data[key].lower() != supported.lower():
            raise ValueError(f"{key} = {data[key]!r}, want {supported!r}: there is no TLS on one machine")
    domain = data.get("domain-template") or ServingConfig().domain_template
    tag = data.get("tag-template") or ServingConfig().tag_template
    _check_template("domain-template", domain, ("Name", "Namespace", "Domain", "Tag"))
    _check_template("tag-template", tag, ("Name", "Tag"))
    text = data.get("rollout-duration") or "0s"
    return replace(
        config,
        rollout_s=read_whole_seconds("rollout-duration", text, 0),
        domain_template=domain,
        tag_template=tag,
    )


def _check_template(key: str, text: str, known: tuple[str, ...]) -> None:
    rest = FIELD.sub(lambda match: "x" if match[1] in known else match[0], text)
    if not HOST.fullmatch(rest):
        fields = ", ".join("{{." + name + "}}" for name in known)
        raise ValueError(
            f"{key}: {text!r} gives no host name; it may use letters, digits, '-', '.' and {fields}"
        )


def _domains(data: Mapping[str, str]) -> tuple[Domain, ...]:
    found = []
    for name, text in data.items():
        if name.startswith("_"):
            continue
        if not HOST.fullmatch(name):
            raise ValueError(f"{name}: not a domain name")
        try:
            selector = (yaml.safe_load(text or "") or {}).get("selector") or {}
            found.append(Domain(name, {str(k): str(v) for k, v in selector.items()}))
        except (yaml.YAMLError, AttributeError):
            raise ValueError(f"{name}: {text!r} is not YAML with a selector (a map of labels)") from None
    return tuple(found) or ServingConfig().domains
