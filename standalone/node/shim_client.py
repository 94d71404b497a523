"""One connection to a shim or fork server: start it, speak to it, notice its end.

Called by process_runtime. ``connect`` finds a shim left by an earlier node or starts one (in its own session) and
waits until it answers. A start whose answer came too late was reported as failed: its process is ended and forgotten.
Invariant: every other process the shim ever reported has a future in ``exits`` that is resolved exactly once: by the
shim's report, or with ContainerStatusUnknown when the shim itself is gone.
"""

from __future__ import annotations

import asyncio
import contextlib
import itertools
import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

from standalone.node.ports import Exit, Started
from standalone.node.shim import PROTOCOL

LINE_LIMIT_BYTES = 64 << 20
ANSWER_S = 30.0
LOST = Exit(137, 0.0, "ContainerStatusUnknown", "The process that watched over the container was lost")


class ShimError(Exception):
    """The shim cannot be reached or refused a request; the text says which."""


class ShimClient:
    """A connected shim. ``name`` is the preload, empty for the plain shim."""

    def __init__(self, path: Path, name: str, log_path: Path, answer_s: float = ANSWER_S) -> None:
        self._path = path
        self.name = name
        self._log_path = log_path
        self._answer_s = answer_s
        self._tags = itertools.count()
        self._answers: dict[int, asyncio.Future[dict[str, Any]]] = {}
        self._late: dict[int, str] = {}
        """Ids of starts that were given up, by tag, until their answer comes."""
        self._undone: set[str] = set()
        """Ids that were started after they had been given up, until their end is reported."""
        self._writer: asyncio.StreamWriter | None = None
        self._reading: asyncio.Task[None] | None = None
        self._child: subprocess.Popen[bytes] | None = None
        self.exits: dict[str, asyncio.Future[Exit]] = {}
        self.started: dict[str, Started] = {}
        self.lost = asyncio.Event()

    @property
    def is_ready(self) -> bool:
        return self._writer is not None and not self.lost.is_set()

    async def connect(self, deadline_s: float) -> None:
        """Find or start the shim and learn what it holds. Raises ``ShimError`` after ``deadline_s`` seconds."""
        until = time.monotonic() + deadline_s
        while not await self._try_connect():
            if self._child is not None and (code := self._child.poll()) is not None:
                self._child = None
                raise ShimError(f"shim {self.name or 'plain'} ended with code {code}; see {self._log_path}")
            if time.monotonic() > until:
                raise ShimError(f"shim {self.name or 'plain'} did not answer on {self._path}")
            if self._child is None:
                self._spawn()
            await asyncio.sleep(0.01)
        hello = await self.call("hello")
        if hello.get("protocol") != PROTOCOL:
            raise ShimError(f"{self._path} is a shim of another version; stop it with `wakeful down`")
        for process in (await self.call("list"))["processes"]:
            self._learn(process)

    async def call(self, operation: str, **keys: Any) -> dict[str, Any]:
        """One request and its answer. Raises ``ShimError``."""
        if self._writer is None or self.lost.is_set():
            raise ShimError(f"shim {self.name or 'plain'} is gone")
        tag = next(self._tags)
        future = asyncio.get_running_loop().create_future()
        self._answers[tag] = future
        try:
            self._writer.write(json.dumps({"op": operation, "tag": tag, **keys}).encode() + b"\n")
            async with asyncio.timeout(self._answer_s):
                answer: dict[str, Any] = await future
        except (TimeoutError, OSError) as error:
            if operation == "start":
                self._late[tag] = keys["id"]
            raise ShimError(f"shim {self.name or 'plain'} does not answer {operation}") from error
        finally:
            self._answers.pop(tag, None)
        if "error" in answer:
            raise ShimError(str(answer["error"]))
        return answer

    async def start(self, request: dict[str, Any]) -> Started:
        """Start a process. Raises ``ShimError``."""
        answer = await self.call("start", **request)
        started = Started(answer["pid"], answer["at"], request.get("meta", {}), self._via)
        self.started[request["id"]] = started
        self._exit_of(request["id"])
        return started

    def forget(self, container_id: str) -> None:
        """Drop an id here and, without waiting, in the shim."""
        self.exits.pop(container_id, None)
        self.started.pop(container_id, None)
        self._tell("forget", container_id)

    def _tell(self, operation: str, container_id: str, **keys: Any) -> None:
        """A request whose answer nobody waits for."""
        if self._writer is not None and not self.lost.is_set():
            message = {"op": operation, "tag": None, "id": container_id, **keys}
            self._writer.write(json.dumps(message).encode() + b"\n")

    async def shutdown(self, deadline_s: float = 5.0) -> None:
        """End the shim and all it holds."""
        if self.is_ready:
            with contextlib.suppress(ShimError, TimeoutError):
                await self.call("shutdown")
                async with asyncio.timeout(deadline_s):
                    await self.lost.wait()
        await self.reap()
        await self.close()

    async def abandon(self) -> None:
        """End a shim that this object started and that has not answered yet: it holds nothing, and nobody would end it."""
        if self._child is not None and self._child.poll() is None:
            self._child.kill()
            await asyncio.shield(asyncio.to_thread(self._child.wait))
        await self.close()

    async def close(self) -> None:
        """Leave the shim running and end the connection."""
        if self._reading is not None:
            self._reading.cancel()
            await asyncio.gather(self._reading, return_exceptions=True)
        if self._writer is not None:
            self._writer.close()
        if self._child is not None and self._child.poll() is None:
            # It is meant to outlive this object: say so to Popen, which would warn of a process nobody waits for.
            self._child.returncode = 0

    async def reap(self) -> None:
        """Collect the shim's own exit status once it is gone, so that no zombie stays."""
        if self._child is not None and self.lost.is_set():
            with contextlib.suppress(subprocess.TimeoutExpired):
                await asyncio.to_thread(self._child.wait, 1.0)

    @property
    def _via(self) -> str:
        return f"fork server {self.name}" if self.name else "process"

    def _spawn(self) -> None:
        command = [sys.executable, "-m", "standalone.node.shim", "--socket", str(self._path)]
        command += ["--preload", self.name] if self.name else []
        kept = ("PATH", "HOME", "LANG", "PYTHONPATH", "VIRTUAL_ENV", "LD_LIBRARY_PATH", "TMPDIR")
        env = {key: os.environ[key] for key in kept if key in os.environ}
        with open(self._log_path, "ab") as log:
            self._child = subprocess.Popen(
                command, stdin=subprocess.DEVNULL, stdout=log, stderr=log, env=env, start_new_session=True
            )

    async def _try_connect(self) -> bool:
        try:
            reader, self._writer = await asyncio.open_unix_connection(self._path, limit=LINE_LIMIT_BYTES)
        except OSError:
            return False
        self._reading = asyncio.create_task(self._read(reader))
        return True

    async def _read(self, reader: asyncio.StreamReader) -> None:
        try:
            while line := await reader.readline():
                message = json.loads(line)
                if message.get("event") == "exit":
                    self._learn(message)
                elif (future := self._answers.get(message.get("tag"))) is not None and not future.done():
                    future.set_result(message)
                elif (container_id := self._late.pop(message.get("tag"), None)) and "pid" in message:
                    self._undone.add(container_id)
                    self._tell("signal", container_id, signal=int(signal.SIGKILL))
        except (OSError, ValueError):
            pass
        finally:
            self._lose()
            if self._writer is not None:
                self._writer.close()

    def _lose(self) -> None:
        self.lost.set()
        for future in self._answers.values():
            if not future.done():
                future.set_result({"error": f"shim {self.name or 'plain'} is gone"})
        for exit_future in self.exits.values():
            if not exit_future.done():
                exit_future.set_result(Exit(LOST.code, time.time(), LOST.reason, LOST.message))

    def _learn(self, process: dict[str, Any]) -> None:
        if process["id"] in self._undone:
            self._undone.discard(process["id"])
            self._tell("forget", process["id"])
            return
        started = Started(process["pid"], process["at"], process["meta"], self._via)
        self.started.setdefault(process["id"], started)
        future = self._exit_of(process["id"])
        if "code" in process and not future.done():
            future.set_result(Exit(process["code"], process["ended_at"]))

    def _exit_of(self, container_id: str) -> asyncio.Future[Exit]:
        if container_id not in self.exits:
            self.exits[container_id] = asyncio.get_running_loop().create_future()
        return self.exits[container_id]
