"""Kills containers that pass their memory limit, where no cgroup can do it. Once a second, reads ``/proc``.

Called by process_runtime. A container is all processes of its session. Resident size is read first; only when it is
over the limit is the proportional size (PSS) asked for, so that pages a fork server shares with its children are not
charged to each of them. Invariant: a process that is not over its limit is never killed; one that stays over it is
killed within two rounds.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from standalone.node.proc_reading import Proc
from wakeful.kit import logs

ROUND_S = 1.0


@dataclass(slots=True)
class _Watched:
    pid: int
    limit_bytes: int
    is_killed: bool = False


class MemoryWatch:
    """The containers with a limit. ``kill`` is called with the session's id (the first process)."""

    def __init__(self, kill: Callable[[int], None], proc: Path = Path("/proc")) -> None:
        self._kill = kill
        self._proc = Proc(proc)
        self._watched: dict[str, _Watched] = {}
        self._log = logs.get("node.memory")

    def add(self, container_id: str, pid: int, limit_bytes: int) -> None:
        self._watched[container_id] = _Watched(pid, limit_bytes)

    def remove(self, container_id: str) -> bool:
        """Stop watching. Returns whether it was killed for its memory."""
        watched = self._watched.pop(container_id, None)
        return watched is not None and watched.is_killed

    async def run(self, round_s: float = ROUND_S) -> None:
        """Look once a second, for ever, also where ``/proc`` cannot be read for a while (no descriptor left)."""
        while True:
            await asyncio.sleep(round_s)
            try:
                if self._watched:
                    self.look()
            except OSError as error:
                self._log.warning("memory not looked at", error=str(error))

    def look(self) -> None:
        """One round."""
        sessions = self._proc.sessions({watched.pid for watched in self._watched.values()})
        for watched in self._watched.values():
            pids = sessions.get(watched.pid, [])
            if watched.is_killed or sum(map(self._proc.resident, pids)) <= watched.limit_bytes:
                continue
            if sum(map(self._proc.proportional, pids)) > watched.limit_bytes:
                watched.is_killed = True
                self._kill(watched.pid)
