"""Containers as local processes: the adapter of ``ContainerRuntime`` to the plain shim and the fork servers.

Called by runtimes. Fork servers are started in the background, started again when they die, and passed over for the
plain shim while they are not ready. Limits come from cgroups where they are writable; else memory is watched by
memory_watch. Invariant: an id lives in exactly one shim, found again in its list after a restart of the node.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
import sys
import time
from collections.abc import Iterable, Mapping
from pathlib import Path

from standalone.node.limits import Cgroups
from standalone.node.memory_watch import MemoryWatch
from standalone.node.ports import Exit, Launch, Started, StartError
from standalone.node.shim_client import ShimClient, ShimError
from wakeful.kit import logs

PLAIN = ""
START_S = 10.0
PRELOAD_S = 120.0
RETRY_MAX_S = 60.0
LOG_MAX_BYTES = 10 << 20
NICE_INSTEAD_OF_QUOTA = 5


class ProcessRuntime:
    """The shims of one data directory."""

    def __init__(self, run: Path, log_dir: Path, preloads: Iterable[str], cgroups: Cgroups) -> None:
        self._run = run
        self._log_dir = log_dir
        self._preloads = tuple(preloads)
        self._cgroups = cgroups
        self._shims: dict[str, ShimClient] = {}
        self._retired: list[ShimClient] = []
        self._log = logs.get("node.shims")
        self.memory = MemoryWatch(self._kill_now)

    async def open(self) -> None:
        """Connect to the plain shim, and to fork servers an earlier node left running. Raises ``ShimError``."""
        for name in (PLAIN, *self._preloads):
            if name == PLAIN or self._socket(name).exists():
                with contextlib.suppress(*(() if name == PLAIN else (ShimError,))):
                    await self._connect(name, START_S)

    async def keep(self) -> None:
        """Keep the plain shim and every fork server running, for ever."""
        async with asyncio.TaskGroup() as group:
            for name in (PLAIN, *self._preloads):
                group.create_task(self._keep_one(name))
            group.create_task(self.memory.run())

    async def close(self, is_ending: bool) -> None:
        """Leave the shims, or end them and what they hold."""
        shims = [*self._shims.values(), *self._retired]
        await asyncio.gather(*(shim.shutdown() if is_ending else shim.close() for shim in shims))

    def describe(self) -> dict[str, bool]:
        """Which shims are ready, by name (``plain`` for the one without preload)."""
        names = (PLAIN, *self._preloads)
        return {name or "plain": name in self._shims and self._shims[name].is_ready for name in names}

    def running(self) -> dict[str, int]:
        """The process that leads each container's session, by container id; ended ones are left out."""
        shims = [*self._retired, *self._shims.values()]
        return {
            container_id: started.pid
            for shim in shims
            for container_id, started in shim.started.items()
            if container_id in shim.exits and not shim.exits[container_id].done()
        }

    # --- the port ---

    async def run(self, launch: Launch) -> Started:
        if (holder := self._holder(launch.id)) is not None:
            return holder.started[launch.id]  # a worker that failed meanwhile had started it
        shim = self._choose(launch)
        limits = launch.limits
        in_force = self._cgroups.create(launch.id, limits)
        is_cpu_soft = limits.cpu_cores is not None and not in_force.has_cpu
        request = {
            "id": launch.id,
            "argv": list(launch.argv),
            "env": dict(launch.env),
            "cwd": str(launch.cwd),
            "log": str(launch.log),
            "log_max_bytes": LOG_MAX_BYTES,
            "module": launch.argv[2] if shim.name else "",
            "cgroups": [str(path) for path in in_force.procs],
            "nice": NICE_INSTEAD_OF_QUOTA if is_cpu_soft else 0,
            "meta": dict(launch.meta),
        }
        if shim.name:
            request["argv"] = list(launch.argv[2:])
        try:
            started = await shim.start(request)
        except ShimError as error:
            raise StartError("RunContainerError", str(error)) from error
        if limits.memory_bytes is not None and not in_force.has_memory:
            self.memory.add(launch.id, started.pid, limits.memory_bytes)
        return started

    async def wait(self, container_id: str) -> Exit:
        shim = self._holder(container_id)
        if shim is None:
            return Exit(
                137,
                time.time(),
                "ContainerStatusUnknown",
                "The container could not be located when the node started",
            )
        ended = await asyncio.shield(shim.exits[container_id])
        is_oom = self.memory.remove(container_id) or self._cgroups.was_oom_killed(container_id)
        if is_oom and ended.code != 0:
            return Exit(137, ended.at, "OOMKilled", ended.message)
        return ended

    async def kill(self, container_id: str, number: int) -> None:
        shim = self._holder(container_id)
        if shim is None or shim.exits[container_id].done():
            return
        with contextlib.suppress(ShimError):
            await shim.call("signal", id=container_id, signal=int(number))

    async def known(self) -> Mapping[str, Started]:
        shims = [*self._retired, *self._shims.values()]
        return {id_: started for shim in shims for id_, started in shim.started.items()}

    async def forget(self, container_id: str) -> None:
        self.memory.remove(container_id)
        if (shim := self._holder(container_id)) is not None:
            shim.forget(container_id)
        self._cgroups.remove(container_id)

    # --- shims ---

    def _choose(self, launch: Launch) -> ShimClient:
        is_module = len(launch.argv) > 2 and launch.argv[0] == sys.executable and launch.argv[1] == "-m"
        preloaded = self._shims.get(launch.preload or PLAIN) if is_module else None
        if preloaded is not None and preloaded.is_ready:
            return preloaded
        plain = self._shims.get(PLAIN)
        if plain is None or not plain.is_ready:
            raise StartError("RunContainerError", "the shim is being started again")
        return plain

    def _holder(self, container_id: str) -> ShimClient | None:
        shims = (*self._shims.values(), *self._retired)
        return next((shim for shim in shims if container_id in shim.exits), None)

    def _socket(self, name: str) -> Path:
        return self._run / (f"fork-{name}.sock" if name else "shim.sock")

    async def _connect(self, name: str, deadline_s: float) -> ShimClient:
        log_path = self._log_dir / (f"fork-{name}.log" if name else "shim.log")
        shim = ShimClient(self._socket(name), name, log_path)
        try:
            await shim.connect(deadline_s)
        except BaseException:
            await shim.abandon()  # `wakeful down` may come while a fork server still imports
            raise
        self._retire(name)
        self._shims[name] = shim
        return shim

    def _retire(self, name: str) -> None:
        """Keep a lost shim while somebody still has to learn how its containers ended."""
        self._retired = [shim for shim in self._retired if shim.exits]
        if (old := self._shims.pop(name, None)) is not None and old.exits:
            self._retired.append(old)

    async def _keep_one(self, name: str) -> None:
        failures = 0
        while True:
            try:
                current = self._shims.get(name)
                if current is None or not current.is_ready:
                    began = time.monotonic()
                    current = await self._connect(name, PRELOAD_S if name else START_S)
                    ready_s = round(time.monotonic() - began, 3)
                    self._log.info("shim ready", shim=name or "plain", seconds=ready_s)
                failures = 0
                await current.lost.wait()
                await current.reap()
                self._log.warning("shim lost, starting it again", shim=name or "plain")
            except Exception as error:  # whatever a shim may answer: without this one no pod starts any more
                failures += 1
                self._log.warning("shim did not start", shim=name or "plain", error=str(error) or repr(error))
            await asyncio.sleep(min(2.0**failures - 1 + 0.05, RETRY_MAX_S))

    def _kill_now(self, pid: int) -> None:
        with contextlib.suppress(ProcessLookupError, PermissionError):
            os.killpg(pid, signal.SIGKILL)
