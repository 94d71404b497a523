"""Reads Knative's own manifests from the folders of its Go modules and fits them to a node of this kind.

Called by `up` and `build`; the result (two JSON files: what must exist first, and the rest) lies in the cache folder,
so that a later start needs neither Go nor the modules. Nothing of these projects is stored in this repository.
Changed on the way: images become the local ones, CPU requests shrink to fit a small machine, autoscalers and
disruption budgets of Knative's own programs are left out, scale-to-zero gets short times (`CONFIG`), and Kourier gets
a fixed port on the node.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import yaml

from realnode import build, images
from realnode.node import DOMAIN, HERE, INGRESS_PORT, ClusterError
from realnode.progress import Progress

# Module folders have no symbolic links, so what serving/config links to is read where it really lies.
FIRST = {
    "knative.dev/serving": ("config/core/100-namespace.yaml", "config/core/300-resources/*.yaml"),
    "knative.dev/networking": (
        "config/ingress.yaml",
        "config/serverlessservice.yaml",
        "config/certificate.yaml",
        "config/domain-claim.yaml",
    ),
    "knative.dev/caching": ("config/image.yaml",),
    "knative.dev/eventing": (
        "config/core/100-namespace.yaml",
        "config/core/resources/*.yaml",
        "config/channels/in-memory-channel/resources/*.yaml",
    ),
}
CHANNEL = "config/channels/in-memory-channel"
REST = {
    "knative.dev/serving": (
        "config/core/300-knativecertificate.yaml",
        "config/core/200-serviceaccount.yaml",
        "config/core/200-roles/*.yaml",
        "config/core/configmaps/*.yaml",
        "config/core/999-cache.yaml",
        "config/core/webhooks/*.yaml",
        "config/core/deployments/*.yaml",
    ),
    "knative.dev/networking": ("config/config-network.yaml",),
    "knative.dev/net-kourier": ("config/*.yaml",),
    "knative.dev/eventing": (
        "config/core/200-*.yaml",
        *(f"config/core/{part}/*.yaml" for part in ("roles", "configmaps", "webhooks", "deployments")),
        "third_party/eventing-integrations-latest/*.yaml",  # ConfigMaps that Eventing's controller reads at its start
        "config/brokers/mt-channel-broker/*/*.yaml",
        f"{CHANNEL}/200-*.yaml",
        *(f"{CHANNEL}/{part}/*.yaml" for part in ("roles", "configmaps", "webhooks", "deployments")),
    ),
}
LEFT_OUT_KINDS = {"HorizontalPodAutoscaler", "PodDisruptionBudget"}
LEFT_OUT = {("StatefulSet", "request-reply"), ("Service", "request-reply")}
CONFIG = {
    "config-autoscaler": {
        "stable-window": "6s",  # the shortest that Knative takes
        "scale-to-zero-grace-period": "6s",
        "scale-to-zero-pod-retention-period": "0s",
        "allow-zero-initial-scale": "true",  # for many services at once that need no pod each
    },
    # A restarted node's controllers wait for the leases of their former selves: 30 s instead of 60.
    "config-leader-election": {"lease-duration": "30s", "renew-deadline": "20s", "retry-period": "5s"},
    "config-network": {"ingress-class": "kourier.ingress.networking.knative.dev"},
    "config-domain": {DOMAIN: ""},
}
SMALL = {"requests": {"cpu": "5m", "memory": "20Mi"}}
NAMESPACES = ("knative-serving", "kourier-system", "knative-eventing")


def write_manifests(cache: Path, programs: Path, progress: Progress) -> Path:
    """The folder with first.json and rest.json; made when the cache has none for these modules."""
    key = build.key_of([HERE / "go.mod", Path(__file__), Path(images.__file__)], programs.name)
    folder = cache / f"manifests-{key}"
    if folder.is_dir():
        return folder
    partial = build.fresh(folder)
    with progress.step("read Knative's manifests"):
        for name, sources in (("first", FIRST), ("rest", REST)):
            objects = [fitted for found in read_all(sources) if (fitted := fit(found)) is not None]
            (partial / f"{name}.json").write_text(json.dumps(objects))
        partial.rename(folder)
    return folder


def read_all(sources: dict[str, tuple[str, ...]]) -> Iterator[dict[str, Any]]:
    for module, patterns in sources.items():
        folder = build.module_folder(module)
        for pattern in patterns:
            paths = sorted(folder.glob(pattern))
            if not paths:
                raise ClusterError(
                    f"{module} has no {pattern} (another version than this script was written for?)"
                )
            for path in paths:
                yield from (found for found in yaml.load_all(path.read_text(), yaml.CSafeLoader) if found)


def fit(found: dict[str, Any]) -> dict[str, Any] | None:
    """One object as this node wants it, or None when it is left out."""
    kind, name = found["kind"], found["metadata"]["name"]
    if kind in LEFT_OUT_KINDS or (kind, name) in LEFT_OUT:
        return None
    fitted: dict[str, Any] = local_images(found)
    if kind == "ConfigMap" and name in CONFIG:
        fitted["data"] = {**(fitted.get("data") or {}), **CONFIG[name]}
    if kind in ("Deployment", "StatefulSet"):
        fit_workload(fitted)
    if (kind, name) == ("Service", "kourier"):
        fitted["spec"]["type"] = "NodePort"
        fitted["spec"]["ports"][0]["nodePort"] = INGRESS_PORT
    return fitted


def fit_workload(workload: dict[str, Any]) -> None:
    for container in workload["spec"]["template"]["spec"]["containers"]:
        container["imagePullPolicy"] = "IfNotPresent"
        container["resources"] = SMALL
        if "envoyproxy/envoy" in container["image"]:
            container["image"] = images.ENVOY_IMAGE
        if probe := container.get("readinessProbe"):  # a start should not wait ten seconds for the first look
            probe["periodSeconds"] = 1
            probe.pop("initialDelaySeconds", None)
        for name in ("livenessProbe", "startupProbe"):
            if name in container:
                container[name]["periodSeconds"] = 10


def local_images(value: Any) -> Any:
    """The same value with each `ko://PACKAGE` replaced by the image that was built from it."""
    if isinstance(value, dict):
        return {key: local_images(inner) for key, inner in value.items()}
    if isinstance(value, list):
        return [local_images(inner) for inner in value]
    if isinstance(value, str) and value.startswith("ko://"):
        return images.name_of(value.removeprefix("ko://"))
    return value
