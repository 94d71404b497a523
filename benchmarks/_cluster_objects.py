"""What ``hack/bench cluster`` applies, and how it reads what it measured. Pure: values in, values out.

Called by ``cluster`` and its parts. Invariant: the phases of a wake are never negative and their sum is what the client
waited; a moment that was not seen is moved to its neighbour, so that the phase it would open is 0.
"""

from __future__ import annotations

import statistics
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

Obj = dict[str, Any]

AUTOSCALING = "autoscaling.knative.dev/"
ASLEEP = {f"{AUTOSCALING}window": "6s", f"{AUTOSCALING}scale-to-zero-pod-retention-period": "0s"}
SMALL = {"requests": {"cpu": "20m", "memory": "64Mi"}, "limits": {"cpu": "1", "memory": "1Gi"}}
RESTRICTED = {
    "allowPrivilegeEscalation": False,
    "runAsNonRoot": True,
    "capabilities": {"drop": ["ALL"]},
    "seccompProfile": {"type": "RuntimeDefault"},
}
PHASES = ("decide", "schedule", "create+start", "import", "load", "probe+answer")
WAKE_OVER_BARE_S, WAKE_BESIDE_KSERVE, WARM_BESIDE_KSERVE = 0.8, 0.4, 0.9
"""The goals of issue 4: bare service + 0.8 s, 0.4 of KServe's wake, 0.9 of KServe's warm p50."""


@dataclass(frozen=True, slots=True)
class Moments:
    """Unix seconds of one wake; None where nothing was seen."""

    asked: float
    answered: float
    created: float | None = None
    scheduled: float | None = None
    began: float | None = None
    """The server's process."""
    imported: float | None = None
    loaded: float | None = None


def phases_of(moments: Moments) -> dict[str, float]:
    """Milliseconds by phase."""
    marks = (moments.created, moments.scheduled, moments.began, moments.imported, moments.loaded)
    found: dict[str, float] = {}
    at = moments.asked
    for name, mark in zip(PHASES, (*marks, moments.answered), strict=True):
        end = at if mark is None else min(max(mark, at), moments.answered)
        found[name] = (end - at) * 1000
        at = end
    return found


def p50_p95(values: Sequence[float]) -> tuple[float, float]:
    return percentile(values, 50), percentile(values, 95)


def percentile(values: Sequence[float], percent: float) -> float:
    """The median, or the value that so many per cent are not above."""
    ordered = sorted(values)
    if percent == 50:
        return statistics.median(ordered)
    return ordered[min(len(ordered) - 1, int(len(ordered) * percent / 100))]


def inference_service(namespace: str, name: str, uri: str, notes: Mapping[str, str], minimum: int = 0) -> Obj:
    """A scikit-learn InferenceService."""
    model = {"modelFormat": {"name": "sklearn"}, "storageUri": uri, "resources": SMALL}
    return {
        "apiVersion": "serving.kserve.io/v1beta1",
        "kind": "InferenceService",
        "metadata": {"name": name, "namespace": namespace, "annotations": dict(notes)},
        "spec": {"predictor": {"minReplicas": minimum, "model": model}},
    }


def knative_service(namespace: str, name: str, image: str, notes: Mapping[str, str]) -> Obj:
    """A Knative Service of one image that listens on 8080."""
    container = {
        "image": image,
        "imagePullPolicy": "IfNotPresent",
        "resources": SMALL,
        "securityContext": RESTRICTED,
        "ports": [{"containerPort": 8080}],
    }
    template = {"metadata": {"annotations": dict(notes)}, "spec": {"containers": [container]}}
    return {
        "apiVersion": "serving.knative.dev/v1",
        "kind": "Service",
        "metadata": {"name": name, "namespace": namespace},
        "spec": {"template": template},
    }


def is_ready(obj: Obj) -> bool:
    """Whether ``Ready`` is True for the generation that is there."""
    status = obj.get("status") or {}
    if status.get("observedGeneration", obj["metadata"]["generation"]) != obj["metadata"]["generation"]:
        return False
    return any(c["type"] == "Ready" and c["status"] == "True" for c in status.get("conditions") or [])


def judge(wakes: Mapping[str, float], warm: Mapping[str, float]) -> list[str]:
    """One sentence a goal, ``ok`` or ``MISS``; p50 of wakes (s) and of warm requests (ms) by target."""
    said: list[str] = []

    def claim(is_met: bool, text: str) -> None:
        said.append(f"{'ok  ' if is_met else 'MISS'} {text}")

    ours = wakes.get("wakeful")
    if ours is not None and "bare" in wakes:
        limit = wakes["bare"] + WAKE_OVER_BARE_S
        claim(
            ours <= limit, f"wake {ours:.2f} s at p50; goal: the bare service's {wakes['bare']:.2f} + 0.8 s"
        )
    if ours is not None and "kserve" in wakes:
        share = ours / wakes["kserve"]
        claim(share <= WAKE_BESIDE_KSERVE, f"wake {share:.2f} of KServe's {wakes['kserve']:.2f} s; goal: 0.4")
    for way in ("direct", "activator"):
        mine, theirs = warm.get(f"wakeful {way}"), warm.get(f"kserve {way}")
        if mine is not None and theirs is not None:
            share = mine / theirs
            claim(
                share <= WARM_BESIDE_KSERVE,
                f"warm, {way}: {share:.2f} of KServe's {theirs:.2f} ms; goal: 0.9",
            )
    return said
