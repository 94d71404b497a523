"""ConfigMaps ``config-defaults`` and ``config-features``: what a Revision gets when it says nothing, and may ask for.

Read by admission. Unknown keys are ignored, as Knative does. Sections 1.8 of the reference page.

Invariant: a bad value raises ``ValueError`` that names key and value; the empty ConfigMap gives Knative's defaults.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field

from wakeful.core.scaling.config_values import read_flag, read_integer

RESOURCES = ("cpu", "memory", "ephemeral-storage")
QUANTITY = re.compile(r"\+?(\d+\.?\d*|\.\d+)([eE][+-]?\d+|[KMGTPE]i|[numkMGTPE])?")
CONTAINER_NAME = re.compile(r"[a-z0-9]([-a-z0-9]{0,61}[a-z0-9])?")


@dataclass(frozen=True, slots=True)
class Defaults:
    """``config-defaults``. Times in seconds; ``requests`` and ``limits`` by resource name."""

    timeout_s: int = 300
    max_timeout_s: int = 600
    response_start_timeout_s: int = 300
    idle_timeout_s: int = 0
    concurrency: int = 0
    max_concurrency: int = 1000
    allow_zero_concurrency: bool = True
    container_name: str = "user-container"
    init_container_name: str = "init-container"
    enable_service_links: bool = False
    requests: Mapping[str, str] = field(default_factory=dict)
    limits: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Features:
    """``config-features``: flags that are not in ``states`` have Knative's default."""

    states: Mapping[str, str] = field(default_factory=dict)

    ON_BY_DEFAULT = ("multi-container", "kubernetes.podspec-volumes-emptydir")

    def is_on(self, flag: str) -> bool:
        """Whether ``flag`` is ``enabled`` or ``allowed``."""
        default = "enabled" if flag in self.ON_BY_DEFAULT else "disabled"
        return self.states.get(flag, default).lower() in ("enabled", "allowed")


def parse_defaults(data: Mapping[str, str]) -> Defaults:
    """Raises ``ValueError`` with key, value and rule."""
    base = Defaults()

    def number(key: str, default: int) -> int:
        return read_integer(key, data[key]) if data.get(key) else default

    def flag(key: str, default: bool) -> bool:
        return read_flag(key, data[key]) if data.get(key) else default

    def amounts(suffix: str) -> dict[str, str]:
        named = ((name, data.get(f"revision-{name}-{suffix}", "")) for name in RESOURCES)
        found = {name: text for name, text in named if text}
        for name, text in found.items():
            if not QUANTITY.fullmatch(text):
                raise ValueError(
                    f'revision-{name}-{suffix}: {text!r} is not a quantity such as "500m" or "1Gi"'
                )
        return found

    found = Defaults(
        timeout_s=number("revision-timeout-seconds", base.timeout_s),
        max_timeout_s=number("max-revision-timeout-seconds", base.max_timeout_s),
        response_start_timeout_s=number(
            "revision-response-start-timeout-seconds", base.response_start_timeout_s
        ),
        idle_timeout_s=number("revision-idle-timeout-seconds", base.idle_timeout_s),
        concurrency=number("container-concurrency", base.concurrency),
        max_concurrency=number("container-concurrency-max-limit", base.max_concurrency),
        allow_zero_concurrency=flag("allow-container-concurrency-zero", base.allow_zero_concurrency),
        container_name=data.get("container-name-template") or base.container_name,
        init_container_name=data.get("init-container-name-template") or base.init_container_name,
        enable_service_links=flag("enable-service-links", base.enable_service_links),
        requests=amounts("request"),
        limits=amounts("limit"),
    )
    _check(found)
    return found


def _check(found: Defaults) -> None:
    if found.timeout_s > found.max_timeout_s:
        raise ValueError(
            f"revision-timeout-seconds ({found.timeout_s}) cannot be greater than max-revision-timeout-seconds "
            f"({found.max_timeout_s})"
        )
    for key, seconds in (
        ("revision-timeout-seconds", found.timeout_s),
        ("revision-response-start-timeout-seconds", found.response_start_timeout_s),
        ("revision-idle-timeout-seconds", found.idle_timeout_s),
    ):
        if seconds < 0:
            raise ValueError(f"{key} = {seconds}, want 0 or more")
    for key, name in (
        ("container-name-template", found.container_name),
        ("init-container-name-template", found.init_container_name),
    ):
        if not CONTAINER_NAME.fullmatch(name):
            raise ValueError(f"{key}: {name!r} is no DNS 1123 label (Go templates are not filled in here)")
    if found.max_concurrency < 1:
        raise ValueError(f"container-concurrency-max-limit = {found.max_concurrency}, want 1 or more")
    if not 0 <= found.concurrency <= found.max_concurrency:
        raise ValueError(f"container-concurrency = {found.concurrency}, want 0 to {found.max_concurrency}")


def parse_features(data: Mapping[str, str]) -> Features:
    """Raises ``ValueError`` for a state that is none of enabled, allowed, disabled."""
    states = {key: value for key, value in data.items() if not key.startswith("_")}
    for key, value in states.items():
        if key != "secure-pod-defaults" and value.lower() not in ("enabled", "allowed", "disabled"):
            raise ValueError(f"{key}: {value!r} is none of enabled, allowed, disabled")
    return Features(states)
