"""What ``/proc`` says of the processes of containers: who belongs to a session, its memory and its processor time.

Called by memory_watch and by the admin page's ``/usage``. A container is all processes of its session. Resident size
counts shared pages once for each process; the proportional size (PSS) shares them out, so that pages a fork server
shares with its children are not charged to each of them, and costs more to read.

Invariant: a process that ends meanwhile counts as nothing; only a ``/proc`` that cannot be listed raises ``OSError``.
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path

_PAGE_BYTES = os.sysconf("SC_PAGE_SIZE")
_TICKS_S = os.sysconf("SC_CLK_TCK")
SESSION, TIMES = 3, slice(11, 15)
"""Places in ``stat`` after the program's name: session; user and system time, its own and its reaped children's."""


@dataclass(frozen=True, slots=True)
class Usage:
    """Processor seconds since the start, and memory now."""

    cpu_s: float
    memory_bytes: int


class Proc:
    """One ``/proc``."""

    def __init__(self, root: Path = Path("/proc")) -> None:
        self._root = root

    def sessions(self, wanted: set[int]) -> dict[int, list[int]]:
        """The processes of each wanted session."""
        found: dict[int, list[int]] = {}
        for entry in self._root.iterdir():
            if entry.name.isdigit() and (fields := self._stat(entry)) and int(fields[SESSION]) in wanted:
                found.setdefault(int(fields[SESSION]), []).append(int(entry.name))
        return found

    def usage(self, leaders: Mapping[str, int]) -> dict[str, Usage]:
        """By container id, from the process that leads its session."""
        sessions = self.sessions(set(leaders.values()))
        return {
            container_id: Usage(self.cpu_s(pids), sum(map(self.proportional, pids)))
            for container_id, leader in leaders.items()
            if (pids := sessions.get(leader))
        }

    def cpu_s(self, pids: Iterable[int]) -> float:
        """What they and their ended children took."""
        ticks = (sum(map(int, self._stat(self._root / str(pid))[TIMES])) for pid in pids)
        return sum(ticks) / _TICKS_S

    def resident(self, pid: int) -> int:
        try:
            return int((self._root / str(pid) / "statm").read_text().split()[1]) * _PAGE_BYTES
        except (OSError, ValueError, IndexError):
            return 0

    def proportional(self, pid: int) -> int:
        try:
            for line in (self._root / str(pid) / "smaps_rollup").read_text().splitlines():
                if line.startswith("Pss:"):
                    return int(line.split()[1]) * 1024
        except (OSError, ValueError, IndexError):
            pass
        return self.resident(pid)

    def _stat(self, entry: Path) -> list[str]:
        """The fields after the name, which may hold anything; none for a process that is gone."""
        try:
            fields = (entry / "stat").read_text().rpartition(")")[2].split()
        except (OSError, ValueError):
            return []
        return fields if len(fields) > SESSION and fields[SESSION].isdigit() else []
