"""The supervisor's side of the launcher: start a process, wait for its end, signal it.

Owned by the supervisor. Starts the launcher when the first process is wanted, and again after it has died: its
children die with it, and each reports its end here, so the supervisor starts them again like any other.
"""

from __future__ import annotations

import asyncio
import json
import os
import signal
import socket
import subprocess
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from standalone import forked, instance
from standalone.launcher import MAX_PACKET_BYTES

KILLED = -signal.SIGKILL
"""The exit status of a process whose launcher died: the kernel killed it then."""


@dataclass(slots=True)
class Running:
    """A process that was started. ``ended`` becomes its exit status, negative for a signal."""

    id: instance.ProcessId
    ended: asyncio.Future[int]

    def send(self, number: signal.Signals) -> None:
        """Signal it, unless it has ended."""
        if not self.ended.done():
            self.id.send(number)


class LauncherClient:
    """One launcher at a time."""

    def __init__(self) -> None:
        self._process: subprocess.Popen[bytes] | None = None
        self._connection: socket.socket | None = None
        self._starting: dict[str, asyncio.Future[Running]] = {}
        self._running: dict[int, Running] = {}

    def open(self) -> None:
        """Start the launcher if there is none. ``OSError`` when the machine has no process left."""
        if self._connection is not None:
            return
        if self._process is not None:
            self._process.wait()  # it has closed its socket, which is the last thing that it does
        ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        with theirs:
            try:
                self._process = subprocess.Popen(
                    [sys.executable, "-m", "standalone.launcher", "--socket-fd", str(theirs.fileno())],
                    stdin=subprocess.DEVNULL,
                    pass_fds=[theirs.fileno()],
                    start_new_session=True,
                    preexec_fn=_tied_to(os.getpid()),
                )
            except BaseException:
                ours.close()
                raise
        ours.setblocking(False)
        self._connection = ours
        asyncio.get_running_loop().add_reader(ours, self._read)

    async def start(
        self, name: str, argv: Sequence[str], module: str, descriptors: Sequence[int], *, shared: bool
    ) -> Running:
        """Start ``argv`` (as ``module`` in a forked interpreter, or by exec). ``OSError`` when that is not possible.

        ``descriptors``: its log, then those handed down as 3 and up. ``shared``: with the libraries imported.
        """
        self.open()
        assert self._connection is not None
        order = {"name": name, "argv": list(argv), "module": module, "shared": shared}
        answer: asyncio.Future[Running] = asyncio.get_running_loop().create_future()
        self._starting[name] = answer
        socket.send_fds(self._connection, [json.dumps(order).encode()], list(descriptors))
        return await answer

    async def close(self) -> None:
        """End the launcher, and with it whatever still runs."""
        if self._connection is not None:
            self._lost()
        if self._process is not None:
            await asyncio.to_thread(self._process.wait)

    def _read(self) -> None:
        assert self._connection is not None
        while self._connection is not None:
            try:
                packet = self._connection.recv(MAX_PACKET_BYTES)
            except BlockingIOError:
                return
            except OSError:
                packet = b""
            if not packet:
                self._lost()
                return
            self._take(json.loads(packet))

    def _take(self, message: dict[str, Any]) -> None:
        if "code" in message:
            running = self._running.pop(message["pid"], None)
            if running is not None and not running.ended.done():
                running.ended.set_result(message["code"])
            return
        answer = self._starting.pop(message["name"])
        if answer.done():  # nobody waits for it any more: it ends with the launcher
            return
        if "error" in message:
            answer.set_exception(OSError(message["error"]))
            return
        ended: asyncio.Future[int] = asyncio.get_running_loop().create_future()
        running = Running(instance.ProcessId.of(message["pid"]), ended)
        self._running[message["pid"]] = running
        answer.set_result(running)

    def _lost(self) -> None:
        assert self._connection is not None
        asyncio.get_running_loop().remove_reader(self._connection)
        self._connection.close()
        self._connection = None
        for answer in self._starting.values():
            if not answer.done():
                answer.set_exception(OSError("the launcher ended"))
        for running in self._running.values():
            running.id.send(signal.SIGKILL)  # the kernel does it too, but perhaps after this process goes on
            running.ended.set_result(KILLED)
        self._starting.clear()
        self._running.clear()


def _tied_to(parent: int) -> Callable[[], None]:
    """What the child runs before exec."""

    def prepare() -> None:
        if not forked.die_with(parent):
            os._exit(1)

    return prepare
