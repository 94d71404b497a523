"""The launcher: the parent of the platform's processes, which forks them from one warm interpreter.

    python -m standalone.launcher --socket-fd N

Started by ``standalone.launcher_client`` for the supervisor. Starting six interpreters cost 4.2 s of processor time,
nearly half of it to import the same libraries; forked, they share those (decision 0107). Packets on the socket, one JSON object each:

    in   {"name": "node", "argv": [...], "module": "standalone.node", "shared": true}  with descriptors: log, kept ...
    out  {"name": "node", "pid": 17}  or  {"name": "node", "error": "..."}, and {"pid": 17, "code": 0} when it ended

Single-threaded and without an event loop, since it forks. Children die with it and it dies with the supervisor: there
are never processes nobody can stop. Invariant: what is imported here makes no thread and opens no descriptor.
"""

from __future__ import annotations

import argparse
import array
import contextlib
import gc
import importlib
import json
import os
import select
import signal
import socket
import sys
from dataclasses import dataclass
from typing import Any

from standalone import forked

SHARED = (
    "aiohttp.web",
    "uvloop",
    "orjson",
    "yaml",
    "prometheus_client",
    "wakeful.kit.kube",
    "wakeful.kit.httpserver",
)
"""What at least three of the processes import. Not kopf: the controller is alone with it, and it takes 0.7 s."""
MAX_PACKET_BYTES = 64 * 1024
MAX_KEPT = 8


@dataclass(frozen=True, slots=True)
class Order:
    """What a forked child is to become; ``descriptors`` are its log and those it is handed down."""

    argv: list[str]
    module: str
    descriptors: list[int]
    parent: int


class Launcher:
    """The loop. ``run`` returns None when the supervisor has gone, or in a forked child what it is to become."""

    def __init__(self, connection: socket.socket) -> None:
        self._connection = connection
        self._is_warm = False
        self._wake_read, self._wake_write = os.pipe()
        for descriptor in (self._wake_read, self._wake_write):
            os.set_blocking(descriptor, False)

    def run(self) -> Order | None:
        """Serve until the socket closes. In a forked child: return its order at once."""
        signal.set_wakeup_fd(self._wake_write, warn_on_full_buffer=False)
        signal.signal(signal.SIGCHLD, lambda *_: None)
        for number in (
            signal.SIGINT,
            signal.SIGTERM,
        ):  # the supervisor stops its processes in order, and then this
            signal.signal(number, signal.SIG_IGN)
        while True:
            readable, _, _ = select.select([self._connection.fileno(), self._wake_read], [], [])
            if self._wake_read in readable:
                with contextlib.suppress(BlockingIOError):
                    os.read(self._wake_read, 4096)
                self._reap()
            if self._connection.fileno() in readable:
                packet, descriptors = self._receive()
                if not packet:
                    return None
                order = self._start(json.loads(packet), descriptors)
                if order is not None:
                    return order

    def _receive(self) -> tuple[bytes, list[int]]:
        room = socket.CMSG_LEN(MAX_KEPT * array.array("i").itemsize)
        packet, messages, _, _ = self._connection.recvmsg(MAX_PACKET_BYTES, room)
        numbers = array.array("i")
        for level, kind, data in messages:
            if level == socket.SOL_SOCKET and kind == socket.SCM_RIGHTS:
                numbers.frombytes(data[: len(data) - len(data) % numbers.itemsize])
        return packet, list(numbers)

    def _start(self, request: dict[str, Any], descriptors: list[int]) -> Order | None:
        if request["shared"] and not self._is_warm:
            warm_up()
            self._is_warm = True
        parent = os.getpid()
        try:
            pid = forked.fork()
        except OSError as error:
            self._send({"name": request["name"], "error": error.strerror})
        else:
            if pid == 0:
                return Order(request["argv"], request["module"], descriptors, parent)
            self._send({"name": request["name"], "pid": pid})
        for descriptor in descriptors:
            os.close(descriptor)
        return None

    def _reap(self) -> None:
        while True:
            try:
                pid, status = os.waitpid(-1, os.WNOHANG)
            except ChildProcessError:
                return
            if pid == 0:
                return
            self._send({"pid": pid, "code": os.waitstatus_to_exitcode(status)})

    def _send(self, message: dict[str, Any]) -> None:
        with contextlib.suppress(OSError):  # it has gone: the next read says so
            self._connection.send(json.dumps(message).encode())


def warm_up() -> None:
    """Import ``SHARED``, out of the garbage collector's sight so that children do not copy the pages."""
    for module in SHARED:
        importlib.import_module(module)
    gc.collect()
    gc.freeze()


def main(argv: list[str] | None = None) -> int:
    """Serve; a forked child leaves through ``forked.run``."""
    parser = argparse.ArgumentParser(prog="standalone.launcher")
    parser.add_argument("--socket-fd", type=int, required=True)
    connection = socket.socket(fileno=parser.parse_args(argv).socket_fd)
    launcher = Launcher(connection)  # referenced until the end: see `main` of the shim
    order = launcher.run()
    if order is not None:
        log, *kept = order.descriptors
        forked.detach(order.parent, log, log, kept)
        forked.reset_signals(is_module=bool(order.module))
        forked.run(order.argv, order.module)
    return 0


if __name__ == "__main__":
    sys.exit(main())
