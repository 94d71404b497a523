"""Which pods a Deployment should create and delete now, and what its status says. Pure.

Called by ``deployments``. There are no ReplicaSets on one machine: a pod carries the hash of the template it was made
from (label ``pod-template-hash``), and a rolling update replaces pods of other hashes within ``maxSurge`` and
``maxUnavailable``. Scale-down takes pods that are not ready first, then the youngest.

Invariant: never more than ``replicas + maxSurge`` pods are created, and a pod that serves is only deleted while at
least ``replicas - maxUnavailable`` others do (or fewer replicas are wanted).
"""

from __future__ import annotations

import hashlib
import json
import math
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from standalone.knative.pod_index import is_active, is_pod_ready
from wakeful.core.api import instants
from wakeful.core.api.isvc_problem import mapping, mappings

Obj = dict[str, Any]
HASH = "pod-template-hash"


@dataclass(frozen=True, slots=True)
class Plan:
    """``create`` pods of the present template, ``delete`` these pods."""

    create: int
    delete: tuple[Obj, ...]


def template_hash(deployment: Obj) -> str:
    """Ten characters that change with the template."""
    text = json.dumps(deployment["spec"]["template"], sort_keys=True)
    return hashlib.sha256(text.encode()).hexdigest()[:10]


def plan_pods(deployment: Obj, pods: Sequence[Obj]) -> Plan:
    """``pods`` are all pods the Deployment owns."""
    spec = deployment["spec"]
    wanted = int(spec.get("replicas", 1))
    if spec.get("paused"):
        return Plan(0, ())
    current = template_hash(deployment)
    finished = [p for p in pods if not is_active(p) and "deletionTimestamp" not in p["metadata"]]
    active = [p for p in pods if is_active(p)]
    new = [p for p in active if hash_of(p) == current]
    old = [p for p in active if hash_of(p) != current]
    if wanted == 0:
        return Plan(0, (*finished, *active))
    strategy = mapping(spec.get("strategy"))
    if strategy.get("type") == "Recreate":
        leaving = any(hash_of(p) != current for p in pods)
        create = 0 if leaving else max(0, wanted - len(new))
        return Plan(create, (*finished, *old, *_surplus(new, wanted)))
    rolling = mapping(strategy.get("rollingUpdate"))
    surge = _resolve(rolling.get("maxSurge", "25%"), wanted, math.ceil)
    unavailable = _resolve(rolling.get("maxUnavailable", "25%"), wanted, math.floor)
    if surge == 0 and unavailable == 0:
        unavailable = 1
    create = min(wanted - len(new), wanted + surge - len(active)) if len(new) < wanted else 0
    serving_new = sum(1 for p in new if is_pod_ready(p))
    removable = len(active) - (wanted - unavailable) - (len(new) - serving_new)
    doomed = [] if removable <= 0 else sorted(old, key=_first_to_go)[:removable]
    return Plan(max(0, create), (*finished, *doomed, *_surplus(new, wanted)))


def _surplus(pods: Sequence[Obj], wanted: int) -> list[Obj]:
    excess = len(pods) - wanted
    return sorted(pods, key=_first_to_go)[:excess] if excess > 0 else []


def _first_to_go(pod: Obj) -> tuple[bool, float, str]:
    """Not ready before ready, young before old."""
    created = instants.parse(pod["metadata"].get("creationTimestamp")).timestamp()
    return is_pod_ready(pod), -created, pod["metadata"]["name"]


def _resolve(value: Any, total: int, rounding: Any) -> int:
    """A count or a percentage of ``total``; what cannot be read is the default of 25 %."""
    text = str(value)
    share = text.removesuffix("%")
    if not share.isdigit():
        share, text = "25", "25%"
    return int(rounding(total * int(share) / 100)) if text.endswith("%") else int(share)


def hash_of(pod: Obj) -> str:
    return str(mapping(pod["metadata"].get("labels")).get(HASH, ""))


def build_status(deployment: Obj, pods: Sequence[Obj], refused: str, at: datetime) -> Obj:
    """The Deployment's status. ``refused`` is the API server's answer to the last creation, "" when it worked."""
    spec, old = deployment["spec"], mapping(deployment.get("status"))
    wanted = int(spec.get("replicas", 1))
    active = [p for p in pods if is_active(p)]
    updated = [p for p in active if hash_of(p) == template_hash(deployment)]
    ready = [p for p in active if is_pod_ready(p)]
    available = [p for p in ready if _is_available(p, int(spec.get("minReadySeconds") or 0), at)]
    counts = {
        "replicas": len(active),
        "updatedReplicas": len(updated),
        "readyReplicas": len(ready),
        "availableReplicas": len(available),
        "unavailableReplicas": max(0, wanted - len(available)),
    }
    status: Obj = {key: value for key, value in counts.items() if value}
    status["observedGeneration"] = deployment["metadata"]["generation"]
    is_complete = len(updated) == wanted == len(available) and len(active) == wanted
    has_moved = any(old.get(key, 0) != value for key, value in counts.items()) or (
        old.get("observedGeneration") != status["observedGeneration"]
    )
    status["conditions"] = _conditions(
        deployment, wanted, len(available), is_complete, has_moved, refused, at
    )
    return status


def _is_available(pod: Obj, min_ready_s: int, at: datetime) -> bool:
    if not min_ready_s:
        return True
    found = mappings(mapping(pod.get("status")).get("conditions"))
    since = next((c.get("lastTransitionTime") for c in found if c.get("type") == "Ready"), None)
    return (at - instants.parse(since)).total_seconds() >= min_ready_s


def _conditions(
    deployment: Obj,
    wanted: int,
    available: int,
    is_complete: bool,
    has_moved: bool,
    refused: str,
    at: datetime,
) -> list[Obj]:
    stamp = instants.render(at)
    old = {c.get("type"): c for c in mappings(mapping(deployment.get("status")).get("conditions"))}
    unavailable = _resolve(
        mapping(mapping(deployment["spec"].get("strategy")).get("rollingUpdate")).get(
            "maxUnavailable", "25%"
        ),
        wanted,
        math.floor,
    )
    found = [
        _progressing(deployment, old.get("Progressing"), is_complete, has_moved, at),
        ("Available", "True", "MinimumReplicasAvailable", "Deployment has minimum availability.")
        if available >= wanted - unavailable
        else (
            "Available",
            "False",
            "MinimumReplicasUnavailable",
            "Deployment does not have minimum availability.",
        ),
    ]
    if refused:
        found.append(("ReplicaFailure", "True", "FailedCreate", refused))
    return [
        _stamped(entry, old.get(entry[0]), stamp, has_moved and entry[0] == "Progressing") for entry in found
    ]


def _progressing(
    deployment: Obj, old: Obj | None, is_complete: bool, has_moved: bool, at: datetime
) -> tuple[str, str, str, str]:
    name = f"{deployment['metadata']['name']}-{template_hash(deployment)}"
    done = f'ReplicaSet "{name}" has successfully progressed.'
    was_done = (old or {}).get("reason") == "NewReplicaSetAvailable" and (old or {}).get("message") == done
    if is_complete or was_done:
        return "Progressing", "True", "NewReplicaSetAvailable", done
    deadline_s = deployment["spec"].get("progressDeadlineSeconds") or 600
    since = instants.parse((old or {}).get("lastUpdateTime")) if old else at
    if old and not has_moved and (at - since).total_seconds() > deadline_s:
        text = f'ReplicaSet "{name}" has timed out progressing.'
        return "Progressing", "False", "ProgressDeadlineExceeded", text
    if old and old.get("status") == "False" and not has_moved:
        return "Progressing", "False", str(old.get("reason")), str(old.get("message"))
    return "Progressing", "True", "ReplicaSetUpdated", f'ReplicaSet "{name}" is progressing.'


def _stamped(entry: tuple[str, str, str, str], old: Obj | None, stamp: str, is_new: bool) -> Obj:
    type_, status, reason, message = entry
    keeps = old is not None and old.get("status") == status
    same = (
        keeps and not is_new and (old or {}).get("reason") == reason and (old or {}).get("message") == message
    )
    return {
        "type": type_,
        "status": status,
        "reason": reason,
        "message": message,
        "lastTransitionTime": (old or {}).get("lastTransitionTime") if keeps else stamp,
        "lastUpdateTime": (old or {}).get("lastUpdateTime") if same else stamp,
    }
