"""What the gateway needs to know of a Revision and of a Pod, read from their objects. Pure.

Sources: standalone.md ("Objects between the processes": the node's annotations), spec 1.9 (which container serves),
3.4 (exec readiness and startup probes leave readiness to the node), 3.6 and 3.7 (limits and timeouts).
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from wakeful.core.api import instants

Obj = Mapping[str, Any]
PORTS = "node.wakeful.dev/ports"
TIMELINE = "node.wakeful.dev/timeline"
BURST = "autoscaling.knative.dev/target-burst-capacity"
DEFAULT_PORT = 8080
EXIT_REASON = "ExitCode"
H2_PORT_NAMES = ("h2c", "http2")
FATAL_WAITING = frozenset(
    {
        "CrashLoopBackOff",
        "ErrImagePull",
        "ImagePullBackOff",
        "InvalidImageName",
        "ErrImageNeverPull",
        "CreateContainerConfigError",
        "CreateContainerError",
        "RunContainerError",
    }
)


@dataclass(frozen=True, slots=True)
class Probe:
    """How to ask a pod whether it takes requests. ``kind``: http, tcp, grpc, or node (it waits for the node's word)."""

    kind: str = "tcp"
    port: int = 0
    """Container port."""
    path: str = "/"
    service: str = ""
    headers: tuple[tuple[bytes, bytes], ...] = ()
    timeout_s: float = 1.0


@dataclass(frozen=True, slots=True)
class RevisionView:
    """A revision's settings on the data path. Times in seconds, 0: off."""

    namespace: str
    name: str
    service: str = ""
    configuration: str = ""
    generation: int = 0
    """Number of the revision within its configuration."""
    slots: int = 0
    timeout_s: float = 300.0
    response_start_s: float = 0.0
    idle_s: float = 0.0
    is_direct_when_ready: bool = False
    port: int = DEFAULT_PORT
    is_h2: bool = False
    probe: Probe = field(default_factory=Probe)
    failure: str = ""
    """Why it cannot serve (reason and message of Ready=False), else empty."""
    failed_at: float = 0.0
    """When that was found (Unix seconds)."""

    @property
    def is_crashed(self) -> bool:
        """The failure is that a container ended: it is started again, and its pod tells how that goes."""
        return self.failure.startswith(EXIT_REASON)


@dataclass(frozen=True, slots=True)
class PodView:
    """A pod at one moment. Ports by container port; instants in Unix seconds."""

    key: str
    name: str
    revision: tuple[str, str]
    host: str
    ports: Mapping[int, int]
    timeline: Mapping[str, float]
    is_ready: bool
    is_terminating: bool
    failure: str = ""
    created_at: float = 0.0


def view_revision(obj: Obj, default_timeout_s: float) -> RevisionView:
    """Read a Revision object."""
    metadata, spec = obj["metadata"], obj.get("spec") or {}
    labels = metadata.get("labels") or {}
    annotations = metadata.get("annotations") or {}
    container = _serving_container(spec)
    port: Obj = next(iter(container.get("ports") or []), {})
    number = int(port.get("containerPort") or DEFAULT_PORT)
    failure, failed_at = _revision_failure(obj)
    return RevisionView(
        namespace=metadata.get("namespace", ""),
        name=metadata["name"],
        service=labels.get("serving.knative.dev/service", ""),
        configuration=labels.get("serving.knative.dev/configuration", ""),
        generation=_number(labels.get("serving.knative.dev/configurationGeneration")),
        slots=int(spec.get("containerConcurrency") or 0),
        timeout_s=float(spec.get("timeoutSeconds") or default_timeout_s),
        response_start_s=float(spec.get("responseStartTimeoutSeconds") or 0),
        idle_s=float(spec.get("idleTimeoutSeconds") or 0),
        is_direct_when_ready=str(annotations.get(BURST, "")) in ("0", "0.0"),
        port=number,
        is_h2=port.get("name") in H2_PORT_NAMES,
        probe=_probe(container, number),
        failure=failure,
        failed_at=failed_at,
    )


def _number(text: object) -> int:
    return int(text) if isinstance(text, str) and text.isdigit() else 0


def _serving_container(spec: Obj) -> Obj:
    containers = spec.get("containers") or [{}]
    chosen: Obj = next((c for c in containers if c.get("ports")), containers[0])
    return chosen


def _probe(container: Obj, port: int) -> Probe:
    if container.get("startupProbe"):
        return Probe(kind="node")
    probe = container.get("readinessProbe") or {}
    timeout_s = float(probe.get("timeoutSeconds") or 1)
    if "exec" in probe:
        return Probe(kind="node")
    if "httpGet" in probe:
        action = probe["httpGet"]
        headers = tuple(
            (h["name"].lower().encode(), str(h.get("value", "")).encode())
            for h in action.get("httpHeaders") or []
        )
        path = action.get("path") or "/"
        number = _port(action.get("port"), container, port)
        return Probe("http", number, path if path.startswith("/") else "/" + path, "", headers, timeout_s)
    if "grpc" in probe:
        action = probe["grpc"]
        number = _port(action.get("port"), container, port)
        return Probe("grpc", number, "", str(action.get("service") or ""), (), timeout_s)
    number = _port((probe.get("tcpSocket") or {}).get("port"), container, port)
    return Probe("tcp", number, timeout_s=timeout_s)


def _port(value: object, container: Obj, default: int) -> int:
    if isinstance(value, str) and not value.isdigit():
        named = {p.get("name"): p.get("containerPort") for p in container.get("ports") or []}
        return int(named.get(value) or default)
    return int(str(value or 0)) or default


def _revision_failure(obj: Obj) -> tuple[str, float]:
    for condition in (obj.get("status") or {}).get("conditions") or []:
        if condition.get("type") == "Ready" and condition.get("status") == "False":
            told = _sentence(condition.get("reason"), condition.get("message"))
            return told, _instant(condition.get("lastTransitionTime"))
    return "", 0.0


def _instant(stamp: object) -> float:
    return instants.parse(stamp).timestamp()


def _sentence(reason: object, message: object) -> str:
    return ": ".join(str(part).strip() for part in (reason, message) if part)


def view_pod(obj: Obj) -> PodView | None:
    """Read a Pod object; None where it belongs to no revision."""
    metadata, status = obj["metadata"], obj.get("status") or {}
    revision = (metadata.get("labels") or {}).get("serving.knative.dev/revision")
    if not revision:
        return None
    annotations = metadata.get("annotations") or {}
    ready: Obj = next((c for c in status.get("conditions") or [] if c.get("type") == "Ready"), {})
    return PodView(
        key=metadata.get("uid") or metadata["name"],
        name=metadata["name"],
        revision=(metadata.get("namespace", ""), revision),
        host=status.get("podIP") or "127.0.0.1",
        ports={int(k): int(v) for k, v in _numbers(annotations.get(PORTS)).items() if k.isdigit()},
        timeline=_numbers(annotations.get(TIMELINE)),
        is_ready=ready.get("status") == "True",
        is_terminating=bool(metadata.get("deletionTimestamp"))
        or status.get("phase") in ("Failed", "Succeeded"),
        failure=_pod_failure(status),
        created_at=_instant(metadata.get("creationTimestamp")),
    )


def _numbers(text: object) -> dict[str, float]:
    if not isinstance(text, str):
        return {}
    try:
        value = json.loads(text)
    except ValueError:
        return {}
    if not isinstance(value, dict):
        return {}
    return {str(k): v for k, v in value.items() if isinstance(v, int | float) and not isinstance(v, bool)}


def _pod_failure(status: Obj) -> str:
    if status.get("phase") == "Failed" and status.get("message"):
        return _sentence(status.get("reason") or "PodFailed", status["message"])
    for kind in ("initContainerStatuses", "containerStatuses"):
        for container in status.get(kind) or []:
            failure = _container_failure(container)
            if failure:
                return f"container {container.get('name')}: {failure}"
    return ""


def _container_failure(container: Obj) -> str:
    state = container.get("state") or {}
    waiting, ended = state.get("waiting") or {}, state.get("terminated") or {}
    if waiting.get("reason") in FATAL_WAITING:
        last = (container.get("lastState") or {}).get("terminated") or {}
        told = [_sentence(waiting["reason"], waiting.get("message")), _ending(last) if last else ""]
        return "; ".join(part for part in told if part)
    if ended and int(ended.get("exitCode") or 0) != 0:
        return _ending(ended)
    return ""


def _ending(ended: Obj) -> str:
    message = str(ended.get("message") or "").strip()
    tail = message.splitlines()[-1][:500] if message else ""
    return f"exited with code {ended.get('exitCode')}" + (f": {tail}" if tail else "")
