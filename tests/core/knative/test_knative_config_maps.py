"""ConfigMaps of knative-serving that could not be used are refused at apply, with the key, the value and the bound."""

from __future__ import annotations

import pytest

from standalone.apiserver.ports import Denied, Review
from standalone.knative.admission import Admission
from standalone.knative.settings import ServingConfig, with_configmap

REFUSED = [
    ("config-autoscaler", {"stable-window": "3s"}, "stable-window = 3, want 6s to 1h in whole seconds"),
    ("config-autoscaler", {"max-scale-up-rate": "nan"}, "max-scale-up-rate: 'nan' is not a finite number"),
    ("config-autoscaler", {"initial-scale": "0"}, "initial-scale = 0, want 1 or more"),
    (
        "config-autoscaler",
        {"enable-scale-to-zero": "maybe"},
        "enable-scale-to-zero: 'maybe' is neither true nor false",
    ),
    (
        "config-autoscaler",
        {"min-scale": "5", "max-scale": "3"},
        "min-scale = 5, want at most max-scale (3)",
    ),
    (
        "config-defaults",
        {"enable-service-links": "xyz"},
        "enable-service-links: 'xyz' is neither true nor false",
    ),
    ("config-defaults", {"revision-cpu-request": "abc"}, "revision-cpu-request: 'abc' is not a quantity"),
    ("config-defaults", {"container-name-template": "{{.Bad"}, "container-name-template: '{{.Bad' is no DNS"),
    ("config-defaults", {"revision-timeout-seconds": "-1"}, "revision-timeout-seconds = -1, want 0 or more"),
    ("config-features", {"multi-container": "on"}, "multi-container: 'on' is none of enabled, allowed"),
    (
        "config-gc",
        {"min-non-active-revisions": "5", "max-non-active-revisions": "1"},
        "min-non-active-revisions (5) must be <= max-non-active-revisions (1)",
    ),
    ("config-gc", {"retain-since-create-time": "soon"}, "retain-since-create-time: time: invalid duration"),
    ("config-gc", {"retain-since-create-time": "-1h"}, "retain-since-create-time = -1h, want 0s or more"),
    ("config-gc", {"max-non-active-revisions": "-1"}, "max-non-active-revisions: '-1' is not a whole number"),
    ("config-network", {"rollout-duration": "1500ms"}, "rollout-duration = 1500ms, want 0s or more in whole"),
    ("config-network", {"rollout-duration": "-5s"}, "rollout-duration = -5s, want 0s or more"),
    ("config-network", {"domain-template": "{{.Nam}}.x"}, "domain-template: '{{.Nam}}.x' gives no host name"),
    ("config-network", {"tag-template": "{{.Name"}, "tag-template: '{{.Name' gives no host name"),
    (
        "config-network",
        {"external-domain-tls": "Enabled"},
        "external-domain-tls = 'Enabled', want 'Disabled'",
    ),
    ("config-domain", {"example.com": "selector: [a"}, "example.com: 'selector: [a' is not YAML"),
    ("config-domain", {"example.com": "selector: [a]"}, "example.com: 'selector: [a]' is not YAML"),
    ("config-domain", {"Exa_mple": ""}, "Exa_mple: not a domain name"),
    ("config-deployment", {"progress-deadline": "1500ms"}, "progress-deadline = 1500ms, want 1s or more"),
]
TAKEN = [
    ("config-autoscaler", {"enable-scale-to-zero": "False", "stable-window": "30s", "_example": "{{"}),
    (
        "config-defaults",
        {"revision-cpu-request": "500m", "revision-memory-limit": "1.5Gi", "enable-service-links": "T"},
    ),
    ("config-gc", {"max-non-active-revisions": "disabled", "retain-since-last-active-time": "disabled"}),
    (
        "config-network",
        {"domain-template": "{{.Name}}-{{ .Namespace }}.{{.Domain}}", "http-protocol": "enabled"},
    ),
    ("config-domain", {"example.com": "selector:\n  app: prod\n", "localhost": ""}),
    ("config-deployment", {"progress-deadline": "2m"}),
    ("config-of-others", {"anything": "goes"}),
]


def review(name: str, data: dict[str, str], namespace: str = "knative-serving") -> Review:
    metadata = {"name": name, "namespace": namespace}
    return Review(
        "UPDATE", {"apiVersion": "v1", "kind": "ConfigMap", "metadata": metadata, "data": data}, None, "ann"
    )


@pytest.mark.parametrize(("name", "data", "words"), REFUSED, ids=lambda value: str(value)[:40])
def test_refused_at_apply(name: str, data: dict[str, str], words: str) -> None:
    with pytest.raises(Denied) as caught:
        Admission().config_map(review(name, data))
    told = 'admission webhook "config.webhook.serving.knative.dev" denied the request: validation failed: '
    assert caught.value.message.startswith(told + words)
    assert caught.value.reason == "BadRequest"


@pytest.mark.parametrize(("name", "data"), TAKEN, ids=lambda value: str(value)[:40])
def test_taken(name: str, data: dict[str, str]) -> None:
    Admission().config_map(review(name, data))


def test_a_config_map_elsewhere_is_nobodys_business() -> None:
    Admission().config_map(review("config-gc", {"max-non-active-revisions": "x"}, "default"))


def test_what_is_taken_holds() -> None:
    config = with_configmap(ServingConfig(), "config-network", {"rollout-duration": "2m"})
    config = with_configmap(config, "config-deployment", {"progress-deadline": "30s"})
    config = with_configmap(config, "config-autoscaler", {"enable-scale-to-zero": "false"})
    assert (config.rollout_s, config.progress_deadline_s) == (120.0, 30.0)
    assert not config.autoscaler.enable_scale_to_zero
    assert with_configmap(config, "config-network", {}).rollout_s == 0.0
