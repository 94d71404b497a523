"""The ports of the node: to whatever runs containers, and to the cluster; and the values they speak in.

Adapters of ``ContainerRuntime``: process_runtime (shims and fork servers on this machine) and engine (podman, docker
or nerdctl), chosen by launch. Adapter of ``Cluster``: api. Invariant of every adapter: an id that was started is reported by ``known`` until
``forget``, also to another node process after this one was killed, and ``wait`` answers exactly once it has ended.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol


@dataclass(frozen=True, slots=True)
class Mount:
    """A folder or file given to a container."""

    path: str
    """Absolute path in the container."""
    source: Path
    is_read_only: bool = False


@dataclass(frozen=True, slots=True)
class Limits:
    """What a container may use at most; None where the pod does not say."""

    memory_bytes: int | None = None
    cpu_cores: float | None = None


@dataclass(frozen=True, slots=True)
class Launch:
    """Everything needed to start one container once."""

    id: str
    """``POD_UID/CONTAINER/RESTARTS``: unique for ever."""
    image: str
    argv: tuple[str, ...]
    env: Mapping[str, str]
    cwd: Path
    log: Path
    entrypoint: tuple[str, ...] = ()
    """The container's own command, for an engine (``argv`` is then its args); empty for a process."""
    preload: str | None = None
    limits: Limits = Limits()
    mounts: tuple[Mount, ...] = ()
    ports: Mapping[int, int] = field(default_factory=dict)
    meta: Mapping[str, Any] = field(default_factory=dict)
    """Kept beside the running process, for the node that adopts it."""


@dataclass(frozen=True, slots=True)
class Started:
    """A container that was started. ``at`` is Unix seconds; ``pid`` 0 where a container engine holds it."""

    pid: int
    at: float
    meta: Mapping[str, Any] = field(default_factory=dict)
    via: str = "process"
    """``process``, ``fork server NAME``, or the engine's name."""


@dataclass(frozen=True, slots=True)
class Exit:
    """How a container ended. ``code`` is 128 + signal for a signal; ``reason`` overrides Completed and Error."""

    code: int
    at: float
    reason: str = ""
    message: str = ""


class StartError(Exception):
    """A container could not be started: ``reason`` and message as a kubelet's waiting state."""

    def __init__(self, reason: str, message: str) -> None:
        super().__init__(message)
        self.reason = reason


class ContainerRuntime(Protocol):
    """Runs containers whose lives are longer than this process."""

    async def run(self, launch: Launch) -> Started:
        """Start it. Raises ``StartError``."""

    async def wait(self, container_id: str) -> Exit:
        """How it ended, as soon as it has; at once for one that already has or is not known."""

    async def kill(self, container_id: str, number: int) -> None:
        """Send a signal to all its processes; nothing happens where it has ended."""

    async def known(self) -> Mapping[str, Started]:
        """Every id started and not forgotten, ended ones included."""

    async def forget(self, container_id: str) -> None:
        """Drop what is kept about an ended container."""


Obj = dict[str, Any]


class Cluster(Protocol):
    """What a pod's worker needs of the Kubernetes API. Every method may raise ``ClusterError``."""

    async def get(self, kind: str, namespace: str, name: str) -> Obj | None:
        """A ``Secret``, ``ConfigMap`` or ``PersistentVolumeClaim``; None where it does not exist."""

    async def token(self, namespace: str, account: str, audience: str, expires_s: int) -> str:
        """A token of a ServiceAccount."""

    async def patch_status(self, pod: Obj, body: Obj) -> None:
        """Merge ``body`` (annotations and status) into the pod; nothing happens where it is gone or another one."""

    async def delete_pod(self, pod: Obj) -> None:
        """Remove the pod object for good (no grace, this uid only)."""

    def emit(self, pod: Obj, event_type: str, reason: str, message: str, container: str = "") -> None:
        """Record an Event about the pod or one container of it; never waits."""


class ClusterError(Exception):
    """The API cannot be reached or refused; the text says why. ``is_final``: trying again would not help."""

    def __init__(self, message: str, is_final: bool = False) -> None:
        super().__init__(message)
        self.is_final = is_final
