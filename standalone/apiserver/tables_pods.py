"""Columns of pods and of the kinds that own pods: readiness, restarts, status words as kubectl shows them.

Read by ``tables``. Invariant: the STATUS word of a pod is computed as Kubernetes does it (init containers first, then
the last container with a reason, then deletion).
"""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime

from standalone.apiserver.tables_cells import (
    AGE,
    NAME,
    NONE,
    Column,
    Obj,
    age_of,
    at,
    containers_of,
    duration,
    field,
    parse_time,
    selector_text,
)


def pod_status(pod: Obj) -> str:
    """The word of the STATUS column."""
    conditions = {one.get("type"): one.get("status") for one in at(pod, "status.conditions", [])}
    word = at(pod, "status.reason") or at(pod, "status.phase", "")
    waiting = "" if conditions.get("Initialized") == "True" else _init_word(pod)
    if waiting:
        word = waiting
    else:
        word = _container_word(pod, word)
    if at(pod, "metadata.deletionTimestamp"):
        if at(pod, "status.reason") == "NodeLost":
            return "Unknown"
        if at(pod, "status.phase") not in ("Succeeded", "Failed"):
            return "Terminating"
    return str(word)


def _init_word(pod: Obj) -> str:
    declared = {one.get("name"): one for one in at(pod, "spec.initContainers", [])}
    for number, status in enumerate(at(pod, "status.initContainerStatuses", [])):
        state = status.get("state") or {}
        done = state.get("terminated")
        if done is not None and done.get("exitCode") == 0:
            continue
        is_sidecar = (declared.get(status.get("name")) or {}).get("restartPolicy") == "Always"
        if is_sidecar and status.get("started"):
            continue
        if done is not None:
            return "Init:" + _exit_word(done)
        reason = (state.get("waiting") or {}).get("reason")
        if reason and reason != "PodInitializing":
            return f"Init:{reason}"
        return f"Init:{number}/{len(declared)}"
    return ""


def _exit_word(done: Obj) -> str:
    if done.get("reason"):
        return str(done["reason"])
    return f"Signal:{done['signal']}" if done.get("signal") else f"ExitCode:{done.get('exitCode', 0)}"


def _container_word(pod: Obj, word: str) -> str:
    has_running = False
    for status in reversed(at(pod, "status.containerStatuses", [])):
        state = status.get("state") or {}
        if (state.get("waiting") or {}).get("reason"):
            word = state["waiting"]["reason"]
        elif state.get("terminated") is not None:
            word = _exit_word(state["terminated"])
        elif status.get("ready") and state.get("running") is not None:
            has_running = True
    if word == "Completed" and has_running:
        conditions = {one.get("type"): one.get("status") for one in at(pod, "status.conditions", [])}
        return "Running" if conditions.get("Ready") == "True" else "NotReady"
    return word


def _ready(pod: Obj, now: datetime) -> str:
    ready = sum(
        1
        for status in at(pod, "status.containerStatuses", [])
        if status.get("ready") and (status.get("state") or {}).get("running") is not None
    )
    return f"{ready}/{len(at(pod, 'spec.containers', []))}"


def _restarts(pod: Obj, now: datetime) -> str:
    statuses = at(pod, "status.containerStatuses", [])
    initialising = at(pod, "status.initContainerStatuses", []) if _init_word(pod) else []
    count, last = 0, None
    for status in initialising or statuses:
        count += status.get("restartCount") or 0
        ended = at(status, "lastState.terminated.finishedAt")
        when = parse_time(ended) if isinstance(ended, str) else None
        if when is not None and (last is None or when > last):
            last = when
    if count and last is not None:
        return f"{count} ({duration((now - last).total_seconds())} ago)"
    return str(count)


def _gates(pod: Obj, now: datetime) -> str:
    gates = at(pod, "spec.readinessGates", [])
    if not gates:
        return NONE
    true = {one.get("type") for one in at(pod, "status.conditions", []) if one.get("status") == "True"}
    return f"{sum(1 for gate in gates if gate.get('conditionType') in true)}/{len(gates)}"


def _of(ready: str, wanted: str) -> Callable[[Obj, datetime], str]:
    return lambda obj, now: f"{at(obj, ready, 0)}/{at(obj, wanted, 0)}"


def _template(part: int, path: str = "spec.template.spec") -> Callable[[Obj, datetime], str]:
    return lambda obj, now: containers_of(at(obj, path))[part]


_SELECTOR = Column("Selector", lambda obj, now: selector_text(at(obj, "spec.selector")), priority=1)
_WIDE = (Column("Containers", _template(0), priority=1), Column("Images", _template(1), priority=1))


def _count(name: str, path: str) -> Column:
    return field(name, path, 0, type="integer")


def _job_status(job: Obj, now: datetime) -> str:
    true = {one.get("type") for one in at(job, "status.conditions", []) if one.get("status") == "True"}
    for kind, word in (("Complete", "Complete"), ("Failed", "Failed"), ("Suspended", "Suspended")):
        if kind in true:
            return word
    if at(job, "metadata.deletionTimestamp"):
        return "Terminating"
    return "FailureTarget" if "FailureTarget" in true else "Running"


def _job_completions(job: Obj, now: datetime) -> str:
    done = at(job, "status.succeeded", 0)
    wanted = at(job, "spec.completions")
    if wanted is not None:
        return f"{done}/{wanted}"
    parallelism = at(job, "spec.parallelism", 0)
    return f"{done}/1 of {parallelism}" if parallelism > 1 else f"{done}/1"


def _job_duration(job: Obj, now: datetime) -> str:
    started = at(job, "status.startTime")
    if not started:
        return ""
    ended = at(job, "status.completionTime")
    until = parse_time(ended) if ended else now
    begun = parse_time(started)
    return "<invalid>" if until is None or begun is None else duration((until - begun).total_seconds())


def _last_schedule(job: Obj, now: datetime) -> str:
    last = at(job, "status.lastScheduleTime")
    return age_of(last, now) if last else NONE


def _active(job: Obj, now: datetime) -> int:
    return len(at(job, "status.active", []))


_REPLICAS = (
    NAME,
    _count("Desired", "spec.replicas"),
    _count("Current", "status.replicas"),
    _count("Ready", "status.readyReplicas"),
    AGE,
    *_WIDE,
    _SELECTOR,
)
COLUMNS: dict[tuple[str, str], tuple[Column, ...]] = {
    ("", "Pod"): (
        NAME,
        Column("Ready", _ready),
        Column("Status", lambda pod, now: pod_status(pod)),
        Column("Restarts", _restarts),
        AGE,
        field("IP", "status.podIP", NONE, priority=1),
        field("Node", "spec.nodeName", NONE, priority=1),
        field("Nominated Node", "status.nominatedNodeName", NONE, priority=1),
        Column("Readiness Gates", _gates, priority=1),
    ),
    ("apps", "Deployment"): (
        NAME,
        Column("Ready", _of("status.readyReplicas", "spec.replicas")),
        field("Up-to-date", "status.updatedReplicas", 0),
        field("Available", "status.availableReplicas", 0),
        AGE,
        *_WIDE,
        _SELECTOR,
    ),
    ("apps", "ReplicaSet"): _REPLICAS,
    ("", "ReplicationController"): _REPLICAS,
    ("", "PodTemplate"): (
        NAME,
        Column("Containers", _template(0, "template.spec")),
        Column("Images", _template(1, "template.spec")),
        Column("Pod Labels", lambda obj, now: selector_text(at(obj, "template.metadata.labels"))),
    ),
    ("apps", "StatefulSet"): (
        NAME,
        Column("Ready", _of("status.readyReplicas", "spec.replicas")),
        AGE,
        *_WIDE,
    ),
    ("apps", "DaemonSet"): (
        NAME,
        _count("Desired", "status.desiredNumberScheduled"),
        _count("Current", "status.currentNumberScheduled"),
        _count("Ready", "status.numberReady"),
        _count("Up-to-date", "status.updatedNumberScheduled"),
        _count("Available", "status.numberAvailable"),
        Column("Node Selector", lambda obj, now: selector_text(at(obj, "spec.template.spec.nodeSelector"))),
        AGE,
        *_WIDE,
        _SELECTOR,
    ),
    ("batch", "Job"): (
        NAME,
        Column("Status", _job_status),
        Column("Completions", _job_completions),
        Column("Duration", _job_duration),
        AGE,
        *_WIDE,
        _SELECTOR,
    ),
    ("batch", "CronJob"): (
        NAME,
        field("Schedule", "spec.schedule"),
        field("Timezone", "spec.timeZone", NONE),
        Column("Suspend", lambda obj, now: str(at(obj, "spec.suspend", False)), "boolean"),
        Column("Active", _active, "integer"),
        Column("Last Schedule", _last_schedule),
        AGE,
        Column("Containers", _template(0, "spec.jobTemplate.spec.template.spec"), priority=1),
        Column("Images", _template(1, "spec.jobTemplate.spec.template.spec"), priority=1),
        Column(
            "Selector", lambda obj, now: selector_text(at(obj, "spec.jobTemplate.spec.selector")), priority=1
        ),
    ),
}
