"""Starts the processes of ``standalone.processes``, restarts those that die, and stops them in order.

Called by ``wakeful up``. Processes are forked by the launcher (``standalone.launcher``). The supervisor holds no state
of the platform: killing it with -9 kills the launcher and all of them too (the kernel's parent-death signal on
Linux), and the next ``up`` goes on from the data directory. Restarts are unlimited, with a
pause that grows to 5 s for a process that keeps dying. The way in (``Process.port``) is listened on here and handed
down as ``--listen-fd``: while the process starts again, the kernel keeps new connections waiting instead of refusing.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import shutil
import signal
import socket
import time
from typing import IO

from standalone import forked, health, instance
from standalone.launcher_client import LauncherClient, Running
from standalone.layout import Layout
from standalone.processes import Process
from wakeful.kit import logs

LOG_KEEP_BYTES = 8 * 1024 * 1024
RESTART_PAUSE_S = (0.05, 0.2, 0.5, 1.0, 2.0, 5.0)
HEALTH_S = 0.03
LOG_CHECK_S = 10.0
STEADY_S = 10.0
"""A process that lived this long starts again with the shortest pause."""
BACKLOG = 2048
"""Connections that the kernel keeps waiting for a process that starts again."""


class Supervisor:
    """The processes of one data directory."""

    def __init__(self, layout: Layout, record: instance.Record, processes: tuple[Process, ...]) -> None:
        self._layout = layout
        self._record = record
        self._processes = processes
        self._launcher = LauncherClient()
        self._running: dict[str, Running] = {}
        self._keepers: dict[str, asyncio.Task[None]] = {}
        self._listeners: dict[str, list[socket.socket]] = {}
        self._log = logs.get("supervisor")

    def start(self) -> None:
        """Start every process and keep it running; returns at once. ``InstanceError`` when a port is taken."""
        for process in self._processes:
            if process.port:
                self._listeners[process.name] = listen(process.port)
        for process in self._processes:
            self._keepers[process.name] = asyncio.create_task(self._keep(process))
        self._keepers["logs"] = asyncio.create_task(self._bound_logs())

    async def ready(self, name: str, deadline: float) -> None:
        """Wait until a process answers its health check. ``InstanceError`` with its last words at ``deadline``."""
        process = next(process for process in self._processes if process.name == name)
        answer = "it has not started"
        while time.monotonic() < deadline:
            answer = await health.ask(process.admin)
            if answer == health.OK:
                return
            await asyncio.sleep(HEALTH_S)
        words = self._last_words(name)
        raise instance.InstanceError(f"{name} did not get ready: {answer}. Its last line: {words}")

    async def run_once(self, process: Process) -> None:
        """Run a process to its end. ``InstanceError`` with its last words when it fails."""
        running = await self._spawn(process)
        if await running.ended:
            raise instance.InstanceError(f"{process.name} failed: {self._last_words(process.name)}")

    async def stop(self) -> None:
        """Stop all, stage by stage: SIGTERM, then SIGKILL after each process's own time."""
        for task in self._keepers.values():
            task.cancel()
        await asyncio.gather(*self._keepers.values(), return_exceptions=True)
        for stage in sorted({process.stop_stage for process in self._processes}):
            members = [process for process in self._processes if process.stop_stage == stage]
            await asyncio.gather(*(self._stop_one(process) for process in members))
        await self._launcher.close()
        for listener in (each for listeners in self._listeners.values() for each in listeners):
            listener.close()

    async def _stop_one(self, process: Process) -> None:
        running = self._running.get(process.name)
        if running is None:
            return
        running.send(signal.SIGTERM)
        _, is_late = await asyncio.wait((running.ended,), timeout=process.stop_s)
        if is_late:
            self._log.warning("process killed", process=process.name, after_s=process.stop_s)
            running.send(signal.SIGKILL)
            await running.ended

    async def _keep(self, process: Process) -> None:
        deaths = 0
        while True:
            started = time.monotonic()
            code = await self._live(process)
            deaths = 0 if time.monotonic() - started > STEADY_S else deaths + 1
            pause_s = RESTART_PAUSE_S[min(deaths, len(RESTART_PAUSE_S) - 1)]
            self._log.warning("process ended", process=process.name, code=code, restart_in_s=pause_s)
            self._record.restarts[process.name] = self._record.restarts.get(process.name, 0) + 1
            await asyncio.sleep(pause_s)

    async def _live(self, process: Process) -> int | str:
        """Run it once: its exit status, or why it could not be started (no memory, no process or file left: try again)."""
        try:
            running = await self._spawn(process)
        except OSError as error:
            return f"not started: {error}"
        self._running[process.name] = running
        self._record.processes[process.name] = running.id
        with contextlib.suppress(OSError):  # a full disk must not stop the restart of a process
            instance.write(self._layout, self._record)
        return await asyncio.shield(running.ended)

    async def _spawn(self, process: Process) -> Running:
        listeners = [listener.fileno() for listener in self._listeners.get(process.name, [])]
        kept = range(forked.FIRST_KEPT, forked.FIRST_KEPT + len(listeners))
        argv = [*process.argv, *(word for number in kept for word in ("--listen-fd", str(number)))]
        with self._open_log(process.name) as log:
            return await self._launcher.start(
                process.name, argv, process.module, [log.fileno(), *listeners], shared=process.shared
            )

    async def _bound_logs(self) -> None:
        """Keep each process's log below twice ``LOG_KEEP_BYTES``. They are open for appending, so they can be cut."""
        while True:
            await asyncio.sleep(LOG_CHECK_S)
            for process in self._processes:
                path = self._layout.logs / f"{process.name}.log"
                with contextlib.suppress(OSError):  # a full disk: cut at least
                    if path.stat().st_size > LOG_KEEP_BYTES:
                        with contextlib.suppress(OSError):
                            await asyncio.to_thread(shutil.copyfile, path, path.with_suffix(".previous.log"))
                        os.truncate(path, 0)

    def _open_log(self, name: str) -> IO[bytes]:
        path = self._layout.logs / f"{name}.log"
        try:
            if path.exists() and path.stat().st_size > LOG_KEEP_BYTES:
                path.replace(path.with_suffix(".previous.log"))
            return path.open("ab", buffering=0)
        except OSError:
            return open(os.devnull, "ab", buffering=0)

    def _last_words(self, name: str) -> str:
        try:
            lines = (self._layout.logs / f"{name}.log").read_text(errors="replace").splitlines()
        except OSError:
            return "(no log)"
        return lines[-1][:500] if lines else "(nothing)"


def listen(port: int) -> list[socket.socket]:
    """Sockets that listen on 127.0.0.1 and, where the machine has it, on [::1]. Raises ``InstanceError``."""
    try:
        listeners = [socket.create_server(("127.0.0.1", port), backlog=BACKLOG)]
    except OSError as error:
        raise instance.InstanceError(
            f"port {port} on 127.0.0.1 cannot be used ({error.strerror}): choose another with --port"
        ) from error
    with contextlib.suppress(OSError):  # no IPv6 here, or the port is taken there: IPv4 serves
        listeners.append(socket.create_server(("::1", port), family=socket.AF_INET6, backlog=BACKLOG))
    return listeners
