"""One running platform a data directory: the lock, and the record by which other commands find it.

``wakeful up`` holds ``D/lock`` for as long as it lives and writes ``D/instance.json`` (ports, process ids with their
kernel start times). ``status`` and ``down`` read it. Invariant: a process id is only ever signalled when the
kernel's start time of that id is the recorded one, so a recycled id is never hit.
"""

from __future__ import annotations

import contextlib
import fcntl
import json
import os
import signal
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO

from standalone.layout import Layout
from wakeful.kit import files


class InstanceError(Exception):
    """The platform cannot be started or found here; the text is one sentence for the user."""


@dataclass(frozen=True, slots=True)
class ProcessId:
    """A process by id and start time (clock ticks since boot, field 22 of /proc/PID/stat; 0 when unknown)."""

    pid: int
    started: int

    @classmethod
    def of(cls, pid: int) -> ProcessId:
        return cls(pid, _start_time(pid))

    @property
    def age_s(self) -> float:
        """Seconds since the kernel made it (to 10 ms); 0 when unknown."""
        if not self.started:
            return 0.0
        return time.clock_gettime(time.CLOCK_BOOTTIME) - self.started / os.sysconf("SC_CLK_TCK")

    @property
    def is_alive(self) -> bool:
        try:
            os.kill(self.pid, 0)
        except (ProcessLookupError, PermissionError):
            return False
        return not self.started or _start_time(self.pid) == self.started

    def send(self, number: signal.Signals) -> None:
        """Signal the process if it is still the recorded one."""
        if self.is_alive:
            with contextlib.suppress(ProcessLookupError):  # it ended in between
                os.kill(self.pid, number)


@dataclass(slots=True)
class Record:
    """What ``instance.json`` says."""

    port: int
    api_port: int
    supervisor: ProcessId
    processes: dict[str, ProcessId] = field(default_factory=dict)
    restarts: dict[str, int] = field(default_factory=dict)


def take_lock(layout: Layout) -> IO[str]:
    """Hold the data directory; keep the returned file open. Raises ``InstanceError`` when another ``up`` has it."""
    path = layout.data_dir / "lock"
    try:
        layout.make()
        file = path.open("a+")
    except OSError as error:
        raise InstanceError(
            f"cannot write in the data directory {layout.data_dir}: {error.strerror}"
        ) from error
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError as error:
        record = read(layout)
        who = f" (process {record.supervisor.pid})" if record else ""
        raise InstanceError(
            f"another `wakeful up`{who} is using {layout.data_dir}: stop it with `wakeful down`, or choose another --data-dir"
        ) from error
    return file


def is_locked(layout: Layout) -> bool:
    """Whether a ``wakeful up`` holds the data directory now."""
    try:
        with (layout.data_dir / "lock").open("r") as file:
            fcntl.flock(file, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except FileNotFoundError:
        return False
    except BlockingIOError:
        return True
    return False


def write(layout: Layout, record: Record) -> None:
    """Replace ``instance.json`` atomically."""
    body = {
        "port": record.port,
        "apiPort": record.api_port,
        "supervisor": _plain(record.supervisor),
        "processes": {name: _plain(process) for name, process in record.processes.items()},
        "restarts": record.restarts,
    }
    files.write_atomic(_path(layout), json.dumps(body, indent=1).encode(), 0o600)


def read(layout: Layout) -> Record | None:
    """The record, or None when there is none or it cannot be read."""
    try:
        body = json.loads(_path(layout).read_text())
        processes = {name: ProcessId(**entry) for name, entry in body["processes"].items()}
        supervisor = ProcessId(**body["supervisor"])
        return Record(body["port"], body["apiPort"], supervisor, processes, body["restarts"])
    except (OSError, ValueError, KeyError, TypeError):
        return None


def end_leftovers(layout: Layout) -> list[str]:
    """Kill processes that a killed supervisor left behind; their names are returned. Pods are not among them."""
    record = read(layout)
    if record is None:
        return []
    ended = []
    for name, process in record.processes.items():
        if process.is_alive:
            process.send(signal.SIGKILL)
            ended.append(name)
    return ended


def _path(layout: Layout) -> Path:
    return layout.data_dir / "instance.json"


def _plain(process: ProcessId) -> dict[str, int]:
    return {"pid": process.pid, "started": process.started}


def _start_time(pid: int) -> int:
    try:
        text = Path(f"/proc/{pid}/stat").read_text()
    except OSError:
        return 0
    # the second field is the command in parentheses and may hold spaces and parentheses itself
    return int(text.rpartition(")")[2].split()[19])
