"""What the newest pod of a component is waiting for, as one sentence: shown while Knative says no more than "Unknown".

Called by ``plan`` for PredictorReady and its kin. Knative tells of a pod that failed, but of one that only waits (a claim
that does not exist, a server that listens on another port than it says) it says nothing for the ten minutes of its
progress deadline. Invariant: only what is in the pods' status; no clock, so the same pods give the same sentence.
"""

from __future__ import annotations

from collections.abc import Sequence

from wakeful.core.api import conditions, podspec
from wakeful.core.api import isvc_names as names
from wakeful.core.api.isvc_problem import Obj, integer, mapping, mappings, text

QUEUE_PROXY = "queue-proxy"
"""Knative's container beside the one that serves."""
STARTING = ("", "ContainerCreating", "PodInitializing")


def sentence(pods: Sequence[Obj], revision: str) -> str:
    """What holds back the newest pod of ``revision``; "" when there is none, or nothing to say about it."""
    pod = newest(pods, revision)
    if pod is None:
        return ""
    status = mapping(pod.get("status"))
    said = _scheduling(status) or _initializing(status) or _running(pod, status)
    return f"pod {pod['metadata']['name']}: {said}" if said else ""


def failure(pods: Sequence[Obj], revision: str) -> str:
    """How a container of the newest pod failed that has not been ready since; "" when none has.

    Knative itself says nothing of a failed init container, and of a failing server only after a while.
    """
    pod = newest(pods, revision)
    if pod is None:
        return ""
    status = mapping(pod.get("status"))
    if conditions.read(status, "Ready").is_true:
        return ""
    for key, kind in (("initContainerStatuses", "init container"), ("containerStatuses", "container")):
        for container in mappings(status.get(key)):
            if said := _ended(container):
                return f"pod {pod['metadata']['name']}: {kind} {container.get('name')} {said}"
    return ""


def newest(pods: Sequence[Obj], revision: str) -> Obj | None:
    """The newest pod of the revision that is not going away; the name breaks ties."""
    own = [
        pod
        for pod in pods
        if revision
        and mapping(mapping(pod.get("metadata")).get("labels")).get(names.REVISION_LABEL) == revision
        and not pod["metadata"].get("deletionTimestamp")
    ]
    return max(
        own,
        key=lambda pod: (text(pod["metadata"].get("creationTimestamp")), pod["metadata"]["name"]),
        default=None,
    )


def _scheduling(status: Obj) -> str:
    scheduled = conditions.read(status, "PodScheduled")
    return f"not scheduled: {scheduled.message or scheduled.reason}" if scheduled.is_false else ""


def _initializing(status: Obj) -> str:
    for container in mappings(status.get("initContainerStatuses")):
        state = mapping(container.get("state"))
        if "running" in state:
            return f"init container {container.get('name')} is running"
        said = _waiting(container, mapping(state.get("waiting")))
        if said:
            return f"init {said}"
    return ""


def _running(pod: Obj, status: Obj) -> str:
    for container in mappings(status.get("containerStatuses")):
        state = mapping(container.get("state"))
        said = _waiting(container, mapping(state.get("waiting")))
        if said:
            return said
        if "running" in state and not container.get("ready"):
            if container.get("name") == QUEUE_PROXY:
                return _behind_queue_proxy(pod, status)
            since = text(mapping(state["running"]).get("startedAt"))
            spec = podspec.find(
                mappings(mapping(pod.get("spec")).get("containers")), str(container.get("name"))
            )
            probe = _probe(mapping(mapping(spec).get("readinessProbe")))
            return (
                f"container {container.get('name')} runs since {since} and is not ready: {probe} has not succeeded "
                f"yet (kubectl describe pod {pod['metadata']['name']} shows each attempt)"
            )
    return ""


def _behind_queue_proxy(pod: Obj, status: Obj) -> str:
    """queue-proxy is ready when the container behind it answers the readiness probe, which Knative gave to queue-proxy."""
    containers = mappings(mapping(pod.get("spec")).get("containers"))
    others = [item for item in containers if item.get("name") != QUEUE_PROXY]
    spec = next((item for item in others if item.get("ports")), others[0] if others else {})
    served = mapping(podspec.find(mappings(status.get("containerStatuses")), str(spec.get("name"))))
    since = text(mapping(mapping(served.get("state")).get("running")).get("startedAt"))
    name = pod["metadata"]["name"]
    return (
        f"container {spec.get('name')} runs since {since} and has not answered its readiness probe yet (kubectl logs "
        f"{name} -c {spec.get('name')} shows what it does, kubectl describe pod {name} each attempt of queue-proxy)"
    )


def _ended(container: Obj) -> str:
    """How it failed, now or before the restart it waits for or is in; "" when it has not, or has done its work.

    Whether it is "ready" says nothing: beside queue-proxy a container counts as ready as soon as it runs.
    """
    state = mapping(container.get("state"))
    ended = mapping(state.get("terminated")) or mapping(mapping(container.get("lastState")).get("terminated"))
    code = integer(ended.get("exitCode"))
    is_looping = mapping(state.get("waiting")).get("reason") == "CrashLoopBackOff"
    is_done = "exitCode" in mapping(state.get("terminated")) and not code
    if is_done or not ended or not (code or is_looping):
        return ""
    return (
        f"failed with exit code {code}: {(text(ended.get('message')) or text(ended.get('reason'))).strip()}"
    )


def _waiting(container: Obj, waiting: Obj) -> str:
    reason, message = text(waiting.get("reason")), text(waiting.get("message"))
    if not message and reason in STARTING:
        return ""
    return f"container {container.get('name')} is waiting ({reason}){': ' + message if message else ''}"


def _probe(probe: Obj) -> str:
    """The readiness probe in words."""
    for kind, words in (
        ("httpGet", "its readiness probe GET"),
        ("tcpSocket", "its readiness probe, a connection to"),
    ):
        target = mapping(probe.get(kind))
        if target:
            path = f" {target.get('path') or '/'} on" if kind == "httpGet" else ""
            return f"{words}{path} port {target.get('port')}"
    return "its readiness probe"
