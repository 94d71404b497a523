"""Containers by an installed engine (podman, docker or nerdctl): the other adapter of ``ContainerRuntime``.

Used for images that are not in the table, and only if the engine answers ``version``. Ports are published on
127.0.0.1, volumes are bind mounts, the engine keeps limits, and the id is a container label so that the next node
finds it. NOT TESTED against a running engine: none answers on the machine this was written on; its command lines are.
Exec probes and hooks are refused (they would run on the host). Variables go by a private file, never by argv; those of
several lines, which such a file cannot hold, by the engine's own environment.
Invariant: every engine command ends within its time limit.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import shutil
import tempfile
import time
from collections.abc import Mapping, Sequence
from pathlib import Path

from standalone.node.log_writer import LogWriter
from standalone.node.ports import Exit, Launch, Started, StartError

ENGINES = ("podman", "docker", "nerdctl")
LABEL = "dev.wakeful.id"
ANSWER_S = 5.0
PULL_S = 1800.0


async def find() -> Engine | None:
    """The first engine that is installed and answers."""
    for name in ENGINES:
        path = shutil.which(name)
        if path is None:
            continue
        with contextlib.suppress(OSError, TimeoutError):
            code, out, _ = await _call([path, "info", "--format", "{{json .}}"], ANSWER_S)
            if code == 0 and b"Cannot connect" not in out:
                return Engine(path)
    return None


def arguments(launch: Launch, env_file: Path, name: str) -> list[str]:
    """The words after the engine's name that start ``launch`` in the background; ``long_variables`` are its environment."""
    words = [
        "run",
        "--detach",
        "--name",
        name,
        "--label",
        f"{LABEL}={launch.id}",
        "--env-file",
        str(env_file),
    ]
    for name_of_variable in long_variables(launch):
        words += ["--env", name_of_variable]
    for container_port, port in launch.ports.items():
        words += ["--publish", f"127.0.0.1:{port}:{container_port}"]
    for mount in launch.mounts:
        words += ["--volume", f"{mount.source}:{mount.path}{':ro' if mount.is_read_only else ''}"]
    if launch.limits.memory_bytes is not None:
        words += ["--memory", str(launch.limits.memory_bytes)]
    if launch.limits.cpu_cores is not None:
        words += ["--cpus", f"{launch.limits.cpu_cores:g}"]
    if launch.entrypoint:
        words += ["--entrypoint", launch.entrypoint[0]]
    return [*words, launch.image, *launch.entrypoint[1:], *launch.argv]


def long_variables(launch: Launch) -> dict[str, str]:
    """The variables of several lines."""
    return {key: value for key, value in launch.env.items() if "\n" in value}


class Engine:
    """One engine's command line."""

    def __init__(self, path: str) -> None:
        self._path = path
        self.name = Path(path).name
        self._followers: dict[str, asyncio.Task[None]] = {}

    async def run(self, launch: Launch) -> Started:
        descriptor, env_file = tempfile.mkstemp(prefix="wakeful-env-")
        try:
            with os.fdopen(descriptor, "w") as file:
                file.writelines(f"{k}={v}\n" for k, v in launch.env.items() if "\n" not in v)
            words = arguments(launch, Path(env_file), _name(launch.id))
            code, _, err = await self._do(words, PULL_S, long_variables(launch))
        finally:
            Path(env_file).unlink(missing_ok=True)
        if code != 0:
            text = err.decode(errors="replace").strip()[-500:]
            reason = "ErrImagePull" if "pull" in text.lower() else "RunContainerError"
            raise StartError(reason, f"{self.name} run {launch.image}: {text}")
        self._followers[launch.id] = asyncio.create_task(self._follow(launch))
        return Started(0, time.time(), launch.meta, "engine")

    async def wait(self, container_id: str) -> Exit:
        code, out, err = await self._do(["wait", _name(container_id)], None)
        text = out.decode(errors="replace").strip()
        if code != 0 or not text.isdigit():
            return Exit(
                137, time.time(), "ContainerStatusUnknown", err.decode(errors="replace").strip()[-300:]
            )
        return Exit(int(text), time.time(), "OOMKilled" if await self._is_oom(container_id) else "")

    async def kill(self, container_id: str, number: int) -> None:
        await self._do(["kill", "--signal", str(int(number)), _name(container_id)], ANSWER_S)

    async def known(self) -> Mapping[str, Started]:
        words = ["ps", "--all", "--filter", f"label={LABEL}", "--format", f'{{{{.Label "{LABEL}"}}}}']
        code, out, _ = await self._do(words, ANSWER_S)
        ids = out.decode(errors="replace").split() if code == 0 else []
        return {container_id: Started(0, time.time(), via="engine") for container_id in ids}

    async def forget(self, container_id: str) -> None:
        if (follower := self._followers.pop(container_id, None)) is not None:
            follower.cancel()
        await self._do(["rm", "--force", _name(container_id)], ANSWER_S)

    async def _is_oom(self, container_id: str) -> bool:
        code, out, _ = await self._do(["inspect", _name(container_id)], ANSWER_S)
        with contextlib.suppress(ValueError, LookupError, TypeError):
            return code == 0 and bool(json.loads(out)[0]["State"]["OOMKilled"])
        return False

    async def _follow(self, launch: Launch) -> None:
        """Copy the engine's log into the pod's log file, as for a process."""
        writer = LogWriter(launch.log, 10 << 20)
        process = await asyncio.create_subprocess_exec(
            self._path,
            "logs",
            "--follow",
            _name(launch.id),
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.PIPE,
        )

        async def copy(stream: asyncio.StreamReader | None, name: str) -> None:
            while stream is not None and (data := await stream.read(1 << 16)):
                writer.write(name, data)

        try:
            await asyncio.gather(copy(process.stdout, "stdout"), copy(process.stderr, "stderr"))
        finally:
            writer.close()
            with contextlib.suppress(ProcessLookupError):
                process.kill()
            await process.wait()

    async def _do(
        self, words: Sequence[str], limit_s: float | None, variables: Mapping[str, str] | None = None
    ) -> tuple[int, bytes, bytes]:
        try:
            return await _call([self._path, *words], limit_s, variables)
        except (OSError, TimeoutError) as error:
            return 1, b"", f"{self.name} {words[0]}: {error!r}".encode()


def _name(container_id: str) -> str:
    return "wakeful-" + container_id.replace("/", "-")


async def _call(
    words: Sequence[str], limit_s: float | None, variables: Mapping[str, str] | None = None
) -> tuple[int, bytes, bytes]:
    pipe, null = asyncio.subprocess.PIPE, asyncio.subprocess.DEVNULL
    env = {**os.environ, **(variables or {})}
    process = await asyncio.create_subprocess_exec(*words, stdin=null, stdout=pipe, stderr=pipe, env=env)
    try:
        async with asyncio.timeout(limit_s):
            out, err = await process.communicate()
    finally:
        if process.returncode is None:
            process.kill()
            await process.wait()
    return process.returncode or 0, out, err
