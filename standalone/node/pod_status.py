"""The status of a pod from the states of its containers, as a kubelet reports it. Pure.

Called by worker. Sources: Kubernetes API reference (PodStatus), pod lifecycle (phases, conditions, reasons).
Invariant: the phase never goes back from Succeeded or Failed, ``Ready`` is true only with every container ready, and a
condition's ``lastTransitionTime`` changes only with its status.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from standalone.node.restart import Role
from wakeful.core.api import instants, quantity

Obj = dict[str, Any]
ADDRESS = "127.0.0.1"


@dataclass(slots=True)
class ContainerState:
    """What is known about one container. ``state`` and ``last`` are Kubernetes' ContainerState objects."""

    name: str
    image: str
    role: Role = Role.MAIN
    state: Obj = field(default_factory=lambda: {"waiting": {"reason": "ContainerCreating"}})
    last: Obj = field(default_factory=dict)
    restarts: int = 0
    is_ready: bool = False
    is_started: bool = False
    id: str = ""
    via: str = ""

    def render(self) -> Obj:
        """The containerStatuses entry."""
        return {
            "name": self.name,
            "image": self.image,
            "imageID": f"{self.via.replace(' ', '-')}://{self.image}" if self.via else "",
            "containerID": f"process://{self.id}" if self.id else "",
            "ready": self.is_ready,
            "started": self.is_started,
            "restartCount": self.restarts,
            "state": self.state,
            "lastState": self.last,
        }

    @property
    def exit_code(self) -> int | None:
        """The code of a container that ended and is not to be started again."""
        ended = self.state.get("terminated")
        return None if ended is None else int(ended["exitCode"])


@dataclass(frozen=True, slots=True)
class PodView:
    """Everything the status is made of."""

    pod: Obj
    containers: Sequence[ContainerState]
    is_initialized: bool
    is_done: bool
    """No container will be started again."""
    admitted_at: float
    failure: tuple[str, str] | None = None
    """A pod-level reason and message (DeadlineExceeded ...): the pod has failed."""


def build(view: PodView, now: float) -> Obj:
    """The pod's status at Unix second ``now``."""
    mains = [c for c in view.containers if c.role is Role.MAIN]
    inits = [c for c in view.containers if c.role is not Role.MAIN]
    phase = _phase(view, mains, inits)
    status: Obj = {
        "phase": phase,
        "conditions": _conditions(view, mains, inits, phase, now),
        "hostIP": ADDRESS,
        "hostIPs": [{"ip": ADDRESS}],
        "podIP": ADDRESS,
        "podIPs": [{"ip": ADDRESS}],
        "startTime": stamp(view.admitted_at),
        "qosClass": qos_class(view.pod["spec"]),
        "containerStatuses": [c.render() for c in mains],
        "reason": view.failure[0] if view.failure else None,
        "message": view.failure[1] if view.failure else None,
    }
    if inits:
        status["initContainerStatuses"] = [c.render() for c in inits]
    return status


def stamp(at: float) -> str:
    """RFC 3339 in whole seconds, as metav1.Time is written."""
    return instants.render(instants.of_unix(at))


def qos_class(spec: Obj) -> str:
    """Guaranteed, Burstable or BestEffort."""
    every = [*(spec.get("containers") or []), *(spec.get("initContainers") or [])]
    amounts = [c.get("resources") or {} for c in every]
    if not any(a.get("limits") or a.get("requests") for a in amounts):
        return "BestEffort"
    for amount in amounts:
        limits = amount.get("limits") or {}
        requests = {**limits, **(amount.get("requests") or {})}
        if not {"cpu", "memory"} <= set(limits):
            return "Burstable"
        if any(_differ(limits[key], requests[key]) for key in ("cpu", "memory")):
            return "Burstable"
    return "Guaranteed"


def _differ(one: Any, other: Any) -> bool:
    try:
        return quantity.parse(one) != quantity.parse(other)
    except ValueError:
        return True


def _phase(view: PodView, mains: Sequence[ContainerState], inits: Sequence[ContainerState]) -> str:
    if view.failure:
        return "Failed"
    if view.is_done:
        codes = [c.exit_code for c in mains]
        init_failed = any(c.exit_code for c in inits if c.role is Role.INIT)
        return "Failed" if init_failed or any(code != 0 for code in codes) else "Succeeded"
    if not view.is_initialized:
        return "Pending"
    has_run = [bool("running" in c.state or "terminated" in c.state or c.last) for c in mains]
    return "Running" if any(has_run) and all(_is_past_creation(c) for c in mains) else "Pending"


def _is_past_creation(container: ContainerState) -> bool:
    return "waiting" not in container.state or bool(container.last) or container.restarts > 0


def _conditions(
    view: PodView,
    mains: Sequence[ContainerState],
    inits: Sequence[ContainerState],
    phase: str,
    now: float,
) -> list[Obj]:
    is_over = phase in ("Succeeded", "Failed")
    unready = [c.name for c in mains if not c.is_ready]
    pending = [c.name for c in inits if not (c.exit_code == 0 or (c.role is Role.SIDECAR and c.is_started))]
    done = ("PodCompleted", "") if phase == "Succeeded" else ("PodFailed", "")
    not_ready = ("ContainersNotReady", f"containers with unready status: [{' '.join(unready)}]")
    not_initialized = (
        "ContainersNotInitialized",
        f"containers with incomplete status: [{' '.join(pending)}]",
    )
    existing = {c["type"]: c for c in (view.pod.get("status") or {}).get("conditions") or []}
    gates = [gate["conditionType"] for gate in view.pod["spec"].get("readinessGates") or []]
    closed = [gate for gate in gates if (existing.get(gate) or {}).get("status") != "True"]
    containers_ready = not unready and not is_over
    why_not = done if is_over else not_ready
    gate_reason = ("ReadinessGatesNotReady", f"readiness gates not ready: [{' '.join(closed)}]")
    wanted: list[tuple[str, bool, tuple[str, str]]] = [
        ("PodScheduled", True, ("", "")),
        ("PodReadyToStartContainers", not is_over, ("", "")),
        ("Initialized", view.is_initialized, done if phase == "Succeeded" else not_initialized),
        ("ContainersReady", containers_ready, why_not),
        ("Ready", containers_ready and not closed, gate_reason if containers_ready and closed else why_not),
    ]
    ours = [_condition(existing, name, is_true, why, now) for name, is_true, why in wanted]
    names = {name for name, _, _ in wanted}
    return ours + [condition for name, condition in existing.items() if name not in names]


def _condition(
    existing: Mapping[str, Obj], name: str, is_true: bool, why: tuple[str, str], now: float
) -> Obj:
    status = "True" if is_true else "False"
    old = existing.get(name) or {}
    same = old.get("status") == status and old.get("lastTransitionTime")
    condition: Obj = {
        "type": name,
        "status": status,
        "lastTransitionTime": old["lastTransitionTime"] if same else stamp(now),
    }
    if not is_true and why[0]:
        condition["reason"] = why[0]
        if why[1]:
            condition["message"] = why[1]
    return condition
