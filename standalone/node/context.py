"""What every pod of a node shares: adapters, settings, folders. Made by ``__main__``, passed to workers.

``Node.find`` chooses how an image is run: the table first, then a container engine, else the pod is told what to add.
Invariant: everything here lives as long as the node; nothing in it belongs to one pod.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from standalone.layout import Layout
from standalone.node import launch
from standalone.node.addresses import PortAllocator
from standalone.node.images import Image, ImageTable
from standalone.node.launch import Host
from standalone.node.ports import Cluster, ContainerRuntime, Started
from standalone.node.probing import Prober
from standalone.node.restart import BackOff


@dataclass(frozen=True, slots=True)
class Settings:
    """How the node treats pods; the defaults are a kubelet's."""

    restart_base_s: float = 10.0
    """First wait of CrashLoopBackOff; doubles up to ``restart_max_s``."""
    restart_max_s: float = 300.0
    """Longest wait of CrashLoopBackOff."""
    recheck_s: float = 2.0
    """How often a missing image, Secret, ConfigMap or volume is looked for again; quick, since it costs no download."""
    refresh_s: float = 30.0
    """How often mounted Secrets and ConfigMaps are brought up to date."""
    default_grace_s: float = 30.0
    """terminationGracePeriodSeconds where the pod names none."""
    shutdown_grace_s: float = 10.0
    """Longest grace of a pod when the node itself ends."""

    @property
    def back_off(self) -> BackOff:
        return BackOff(self.restart_base_s, self.restart_max_s)


@dataclass(frozen=True, slots=True)
class Node:
    """The parts a pod's worker uses."""

    layout: Layout
    cluster: Cluster
    processes: ContainerRuntime
    engine: ContainerRuntime | None
    table: ImageTable
    prober: Prober
    host: Host
    addresses: PortAllocator
    settings: Settings = Settings()
    clock: Callable[[], float] = time.time
    """Unix seconds."""
    known: Mapping[str, Started] = field(default_factory=dict)
    """What earlier node processes left running, by container id."""

    def find(self, image: str) -> tuple[ContainerRuntime, Image | None]:
        """Who runs ``image``. Raises ``StartError`` ErrImagePull with what to add to the table."""
        entry = self.table.find(image) if image.strip() else None
        if entry is not None:
            return self.processes, entry
        if self.engine is not None and image.strip():
            return self.engine, None
        raise launch.unknown_image(image, self.table)

    def holder(self, container_id: str) -> ContainerRuntime:
        """Who holds a container of an earlier node process."""
        started = self.known.get(container_id)
        if started is not None and self.engine is not None and started.via == "engine":
            return self.engine
        return self.processes

    def grace_s(self, pod: Mapping[str, Any]) -> float:
        """The time between SIGTERM and SIGKILL for a pod that is being deleted."""
        asked = pod["metadata"].get("deletionGracePeriodSeconds")
        if asked is None:
            asked = pod["spec"].get("terminationGracePeriodSeconds")
        return self.settings.default_grace_s if asked is None else max(0.0, float(asked))
