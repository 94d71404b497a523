"""The port of the node to whatever runs containers, and the values it speaks in.

Adapters: process_runtime (shims and fork servers on this machine) and engine (podman, docker or nerdctl).
Chosen per container by runtimes. Invariant of every adapter: an id that was started is reported by ``known`` until
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
    cpu_request_cores: float | None = None


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
