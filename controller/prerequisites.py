"""Whether this cluster is one where Wakeful can do its work: Knative is there and usable, and no KServe is.

Pure; called by ``platform_watch`` in the controller and by ``wakeful doctor``, so that both say the same sentences.
Blocking findings make the controller stand aside; the others are shown and everything goes on. Left out: whether
Knative's own pods are healthy, which its own status tells. Invariant: every finding says what to do.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import Any

Obj = dict[str, Any]

PART_OF = "app.kubernetes.io/part-of"
OURS = "wakeful"
VERSION = "app.kubernetes.io/version"
KSERVE_WEBHOOKS = "inferenceservice.serving.kserve.io"
"""The name of KServe's own ValidatingWebhookConfiguration; it is there as long as a KServe is installed."""
ISVC_DEFINITION = "inferenceservices.serving.kserve.io"
TESTED_KNATIVE = (1, 21)
"""Knative Serving the suites run against (module v0.48); see docs/reference/install.md."""
MINIMUM_KNATIVE = (1, 8)
"""The first whose Services may carry a seccompProfile, without which pods are not ``restricted``."""
DOCUMENT = "docs/reference/install.md"


class Reason(StrEnum):
    """Why the platform is as it is: the reasons of the condition ``PlatformReady``."""

    READY = "PlatformReady"
    KSERVE_INSTALLED = "KServeInstalled"
    FOREIGN_DEFINITIONS = "ForeignDefinitions"
    KNATIVE_NOT_INSTALLED = "KnativeNotInstalled"
    KNATIVE_NOT_READABLE = "KnativeNotReadable"
    KNATIVE_NOT_SUPPORTED = "KnativeNotSupported"
    INGRESS_CLASS_MISSING = "IngressClassMissing"


@dataclass(frozen=True, slots=True)
class Found:
    """What was looked at. None: it is not there."""

    serves_services: bool = True
    """services.serving.knative.dev/v1 are served."""
    serves_ingresses: bool = True
    """ingresses.networking.internal.knative.dev/v1alpha1 are served."""
    network: Obj | None = None
    """ConfigMap config-network of knative-serving."""
    definition: Obj | None = None
    """The metadata of the CustomResourceDefinition of InferenceServices."""
    kserve: Obj | None = None
    """KServe's ValidatingWebhookConfiguration."""
    is_network_readable: bool = True
    """Whether the controller may read ``network``."""


@dataclass(frozen=True, slots=True)
class Finding:
    """One thing that is wrong."""

    reason: Reason
    message: str
    is_blocking: bool = False


def judge(found: Found) -> tuple[Finding, ...]:
    """What is wrong, the worst first; empty where all is well."""
    problems = [*_kserve(found), *_knative(found)]
    return tuple(sorted(problems, key=lambda item: not item.is_blocking))


def _kserve(found: Found) -> list[Finding]:
    if found.kserve is not None:
        where = _service_namespace(found.kserve)
        message = (
            f"KServe is installed in this cluster (webhooks {KSERVE_WEBHOOKS}{where}), and both would act on the same "
            "InferenceServices. Wakeful does nothing and holds up nobody until one of the two is removed: "
            "`kubectl delete -k config/without-crds` removes Wakeful and leaves the definitions KServe needs; KServe's own "
            f"instructions remove KServe; see {DOCUMENT}"
        )
        return [Finding(Reason.KSERVE_INSTALLED, message, is_blocking=True)]
    labels: Mapping[str, str] = ((found.definition or {}).get("metadata") or {}).get("labels") or {}
    if found.definition is not None and labels.get(PART_OF) != OURS:
        message = (
            f"the CustomResourceDefinition {ISVC_DEFINITION} is not Wakeful's (no label {PART_OF}={OURS}). Wakeful does "
            "nothing until `kubectl apply --server-side --force-conflicts -k config/crd` has replaced it; stored "
            "InferenceServices stay"
        )
        return [Finding(Reason.FOREIGN_DEFINITIONS, message, is_blocking=True)]
    return []


def _service_namespace(configuration: Obj) -> str:
    for item in configuration.get("webhooks") or []:
        namespace = ((item.get("clientConfig") or {}).get("service") or {}).get("namespace")
        if namespace:
            return f", served from namespace {namespace}"
    return ""


def _knative(found: Found) -> list[Finding]:
    if not found.serves_services:
        message = (
            "Knative Serving is not installed: the API server has no services.serving.knative.dev/v1. Install Knative "
            f"Serving {_dotted(TESTED_KNATIVE)} with a networking layer such as Kourier; Wakeful goes on by itself then"
        )
        return [Finding(Reason.KNATIVE_NOT_INSTALLED, message)]
    if not found.serves_ingresses:
        message = (
            "Knative Serving lacks ingresses.networking.internal.knative.dev/v1alpha1, which Wakeful routes with; "
            f"install Knative Serving {_dotted(TESTED_KNATIVE)}"
        )
        return [Finding(Reason.KNATIVE_NOT_SUPPORTED, message)]
    if not found.is_network_readable:
        message = (
            "the controller may not read Knative's configuration: its Role in namespace knative-serving is missing, "
            "because Knative was installed after Wakeful; run `kubectl apply -k config/default` again"
        )
        return [Finding(Reason.KNATIVE_NOT_READABLE, message)]
    labels = ((found.network or {}).get("metadata") or {}).get("labels") or {}
    version = parse_version(str(labels.get(VERSION) or ""))
    if version is not None and version < MINIMUM_KNATIVE:
        message = (
            f"Knative Serving {_dotted(version)} is too old; upgrade it to {_dotted(TESTED_KNATIVE)} (at least "
            f"{_dotted(MINIMUM_KNATIVE)})"
        )
        return [Finding(Reason.KNATIVE_NOT_SUPPORTED, message)]
    if not ingress_class(found.network):
        message = (
            "ConfigMap config-network in knative-serving names no ingress-class, so Knative takes Istio's and Wakeful's "
            "routes may be served by nobody; name your networking layer: kubectl patch configmap config-network -n "
            'knative-serving --type merge -p \'{"data":{"ingress-class":"kourier.ingress.networking.knative.dev"}}\''
        )
        return [Finding(Reason.INGRESS_CLASS_MISSING, message)]
    return []


def ingress_class(network: Obj | None) -> str:
    """The ingress class that Knative's ConfigMap config-network names; "" where it names none."""
    data = (network or {}).get("data") or {}
    return str(data.get("ingress-class") or data.get("ingress.class") or "")


def parse_version(text: str) -> tuple[int, int] | None:
    """``1.21.0`` or ``v1.21`` as (1, 21); None for anything else (a build from source says "devel")."""
    match = re.match(r"v?(\d+)\.(\d+)(?:\.|$|-)", text)
    return (int(match[1]), int(match[2])) if match else None


def serves(resources: Obj | None, plural: str) -> bool:
    """Whether an APIResourceList has ``plural``; None is a group that is not served."""
    return any(item.get("name") == plural for item in (resources or {}).get("resources") or [])


def _dotted(version: tuple[int, int]) -> str:
    return f"{version[0]}.{version[1]}"
