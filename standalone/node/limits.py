"""Memory and CPU limits by cgroups, version 1 or 2, where this user may write them; else what stands in for them.

Called by process_runtime and, for the sentence that says what is in force, by node_object. RLIMIT_AS is not used: the
frameworks reserve far more addresses than memory. Without cgroups, memory is watched (memory_watch: OOMKilled within
a second of passing the limit) and a CPU limit only lowers the priority.
Invariant: a cgroup that cannot be made or written is reported and never keeps a container from starting.
"""

from __future__ import annotations

import contextlib
import hashlib
import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from standalone.node.ports import Limits
from wakeful.core.api import quantity

ROOT = Path("/sys/fs/cgroup")
PERIOD_US = 100_000
FALLBACK = "memory: watched once a second (no writable cgroup); cpu: priority only (no writable cgroup)"


@dataclass(frozen=True, slots=True)
class InForce:
    """What a container got: the files to enter, and which limits they hold."""

    procs: Sequence[Path] = ()
    has_memory: bool = False
    has_cpu: bool = False


def parse(container: dict[str, object]) -> Limits:
    """The limits of a container spec. Raises ``ValueError`` for a bad quantity."""
    resources = container.get("resources")
    spec = resources if isinstance(resources, dict) else {}
    limits = spec.get("limits") or {}
    memory, cpu = limits.get("memory"), limits.get("cpu")
    return Limits(
        memory_bytes=None if memory is None else int(quantity.parse(memory)),
        cpu_cores=None if cpu is None else float(quantity.parse(cpu)),
    )


class Cgroups:
    """The control groups of one node: ``wakeful-HASH/CONTAINER`` below each controller's root."""

    def __init__(self, node_key: str, root: Path = ROOT) -> None:
        parent = "wakeful-" + hashlib.sha256(node_key.encode()).hexdigest()[:10]
        self._memory: Path | None = None
        self._cpu: Path | None = None
        self.version = 0
        if (root / "cgroup.controllers").exists():
            self._open_v2(root / parent)
        else:
            self._memory = _made(root / "memory" / parent, "memory.limit_in_bytes")
            self._cpu = _made(root / "cpu" / parent, "cpu.cfs_quota_us")
            self.version = 1 if self._memory or self._cpu else 0

    def describe(self) -> str:
        """One sentence: what limits are enforced by on this machine."""
        if not self.version:
            return FALLBACK
        memory = f"cgroup v{self.version}" if self._memory else "watched once a second"
        cpu = f"cgroup v{self.version}" if self._cpu else "priority only"
        return f"memory: {memory}; cpu: {cpu}"

    def create(self, container_id: str, limits: Limits) -> InForce:
        """Make the groups a container needs; none for a container without limits."""
        procs: list[Path] = []
        has_memory = has_cpu = False
        if self._memory is not None and limits.memory_bytes is not None:
            group = self._memory / _name(container_id)
            file = "memory.max" if self.version == 2 else "memory.limit_in_bytes"
            has_memory = _write(group, {file: str(limits.memory_bytes)})
            procs += [group / "cgroup.procs"] if has_memory else []
        if self._cpu is not None and limits.cpu_cores is not None:
            group = self._cpu / _name(container_id)
            quota = max(1000, int(limits.cpu_cores * PERIOD_US))
            has_cpu = _write(group, self._cpu_files(quota))
            procs += [group / "cgroup.procs"] if has_cpu and group / "cgroup.procs" not in procs else []
        return InForce(tuple(procs), has_memory, has_cpu)

    def was_oom_killed(self, container_id: str) -> bool:
        """Whether the kernel killed a process of this container for memory."""
        if self._memory is None:
            return False
        file = "memory.events" if self.version == 2 else "memory.oom_control"
        try:
            lines = (self._memory / _name(container_id) / file).read_text().split("\n")
        except OSError:
            return False
        return any(line.startswith("oom_kill ") and line.split()[1] != "0" for line in lines)

    def remove(self, container_id: str) -> None:
        """Remove the groups of an ended container."""
        for parent in {self._memory, self._cpu} - {None}:
            with contextlib.suppress(OSError):
                os.rmdir(parent / _name(container_id))  # type: ignore[operator]  # noqa: PTH106

    def close(self) -> None:
        """Remove the node's own groups where they are empty, and those of containers that a killed node left."""
        for parent in {self._memory, self._cpu} - {None}:
            for group in [entry for entry in parent.iterdir() if entry.is_dir()]:  # type: ignore[union-attr]
                with contextlib.suppress(OSError):  # one that still has processes is not empty
                    group.rmdir()
            with contextlib.suppress(OSError):
                os.rmdir(parent)  # type: ignore[arg-type]  # noqa: PTH106

    def _open_v2(self, parent: Path) -> None:
        try:
            parent.mkdir(exist_ok=True)
            (parent / "cgroup.subtree_control").write_text("+memory +cpu")
        except OSError:
            with contextlib.suppress(OSError):
                parent.rmdir()
            return
        self._memory = self._cpu = parent
        self.version = 2

    def _cpu_files(self, quota_us: int) -> dict[str, str]:
        if self.version == 2:
            return {"cpu.max": f"{quota_us} {PERIOD_US}"}
        return {"cpu.cfs_period_us": str(PERIOD_US), "cpu.cfs_quota_us": str(quota_us)}


def _made(folder: Path, wanted: str) -> Path | None:
    try:
        folder.mkdir(exist_ok=True)
    except OSError:
        return None
    return folder if (folder / wanted).exists() and os.access(folder / wanted, os.W_OK) else None


def _write(group: Path, files: dict[str, str]) -> bool:
    try:
        group.mkdir(exist_ok=True)
        for name, value in files.items():
            (group / name).write_text(value)
    except OSError:
        return False
    return True


def _name(container_id: str) -> str:
    return container_id.replace("/", "_")
