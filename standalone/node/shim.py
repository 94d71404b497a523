"""The shim: a small program that is the parent of containers' processes, and the fork server with ``--preload``.

    python -m standalone.node.shim --socket D/run/shim.sock [--preload sklearn]

Started by shim_client in a session of its own, so it and its children survive ``kill -9`` of the node. It speaks JSON
lines on a unix socket (0600): ``hello``, ``start``, ``signal``, ``list``, ``forget``, ``shutdown``; ends are pushed to
every client as ``{"event": "exit", ...}`` and kept until ``forget``. Output of a container goes through pipes to its
log file (log_writer). Children die with the shim (PR_SET_PDEATHSIG): there are never processes nobody can stop.

Single-threaded on ``select`` on purpose: the fork server must hold no thread when it forks, and a shim stays small.
Only the standard library is imported before preloading. Invariant: an exit is reported after the output is written.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import os
import selectors
import signal
import socket
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from standalone import forked
from standalone.node import preload, shim_child
from standalone.node.log_writer import LogWriter

PROTOCOL = 1
MAX_REQUEST_BYTES = 8 << 20
MAX_PENDING_BYTES = 8 << 20
READ_BYTES = 1 << 16
ACCEPT_PAUSE_S = 0.05
DRAIN_S = 0.3
"""How long output is still read after the process ended while a grandchild holds the pipe."""


@dataclass(slots=True)
class Process:
    """A container's process and what is kept about it."""

    id: str
    pid: int
    at: float
    meta: dict[str, Any]
    log: LogWriter
    pipes: dict[int, str] = field(default_factory=dict)
    code: int | None = None
    ended_at: float = 0.0
    drain_until: float = 0.0
    is_reported: bool = False

    def public(self) -> dict[str, Any]:
        keys = ("id", "pid", "at", "meta")
        view = {key: getattr(self, key) for key in keys}
        return view | ({"code": self.code, "ended_at": self.ended_at} if self.is_reported else {})


@dataclass(slots=True)
class Client:
    """One connected node."""

    connection: socket.socket
    incoming: bytearray = field(default_factory=bytearray)
    outgoing: bytearray = field(default_factory=bytearray)


class Shim:
    """The event loop. ``run`` returns None at shutdown, or in a forked child what it is to become."""

    def __init__(self, listener: socket.socket, name: str) -> None:
        self._listener = listener
        self._name = name
        self._selector = selectors.DefaultSelector()
        self._processes: dict[str, Process] = {}
        self._clients: dict[int, Client] = {}
        self._is_stopping = False
        self._wake_read, self._wake_write = os.pipe()
        for descriptor in (self._wake_read, self._wake_write):
            os.set_blocking(descriptor, False)

    def run(self) -> shim_child.Child | None:
        """Serve until shutdown with no process left. In a forked child: return its order at once."""
        signal.set_wakeup_fd(self._wake_write, warn_on_full_buffer=False)
        signal.signal(signal.SIGCHLD, lambda *_: None)
        signal.signal(signal.SIGTERM, lambda *_: self._stop())
        signal.signal(signal.SIGINT, signal.SIG_IGN)
        self._selector.register(self._listener, selectors.EVENT_READ, self._accept)
        self._selector.register(self._wake_read, selectors.EVENT_READ, self._woken)
        while not (self._is_stopping and all(p.is_reported for p in self._processes.values())):
            for key, mask in self._selector.select(self._timeout_s()):
                handler: Callable[[int, int], shim_child.Child | None] = key.data
                child = handler(key.fd, mask)
                if child is not None:
                    return child
            self._reap()
        return None

    def _timeout_s(self) -> float | None:
        waits = [p.drain_until for p in self._processes.values() if p.code is not None and not p.is_reported]
        return max(0.0, min(waits) - time.monotonic()) if waits else None

    def _stop(self) -> None:
        self._is_stopping = True
        for process in self._processes.values():
            _signal_group(process, signal.SIGKILL)

    # --- processes ---

    def _woken(self, descriptor: int, _mask: int) -> None:
        with contextlib.suppress(BlockingIOError):
            os.read(descriptor, 4096)

    def _reap(self) -> None:
        by_pid = {p.pid: p for p in self._processes.values() if p.code is None}
        while True:
            try:
                pid, status = os.waitpid(-1, os.WNOHANG)
            except ChildProcessError:
                break
            if pid == 0:
                break
            if (process := by_pid.get(pid)) is not None:
                process.code = _exit_code(status)
                process.ended_at = time.time()
                process.drain_until = time.monotonic() + DRAIN_S
                _kill_group(process, signal.SIGKILL)  # what it left behind in its session
        now = time.monotonic()
        for process in self._processes.values():
            if process.code is not None and not process.is_reported:
                if process.pipes and now < process.drain_until:
                    continue
                self._report(process)

    def _report(self, process: Process) -> None:
        for descriptor in list(process.pipes):
            self._close_pipe(process, descriptor)
        process.log.close()
        process.is_reported = True
        for client in list(self._clients.values()):
            self._send(client, {"event": "exit", **process.public()})

    def _output(self, process: Process, descriptor: int) -> None:
        try:
            data = os.read(descriptor, READ_BYTES)
        except BlockingIOError:
            return
        if data:
            process.log.write(process.pipes[descriptor], data)
        else:
            self._close_pipe(process, descriptor)

    def _close_pipe(self, process: Process, descriptor: int) -> None:
        process.pipes.pop(descriptor, None)
        self._selector.unregister(descriptor)
        os.close(descriptor)

    def _start(self, request: dict[str, Any]) -> dict[str, Any] | shim_child.Child:
        order = shim_child.parse(request)
        if order.id in self._processes:
            return {"error": f"{order.id} was started before"}
        if self._is_stopping:
            return {"error": "shim is shutting down"}
        at, parent = time.time(), os.getpid()
        with contextlib.ExitStack() as undo:
            writer = LogWriter(Path(order.log), order.log_max_bytes)
            undo.callback(writer.close)
            out_read, out_write = _pipe(undo)
            err_read, err_write = _pipe(undo)
            pid = forked.fork()
            undo.pop_all()
        if pid == 0:
            return shim_child.Child(order, at, parent, out_write, err_write)
        os.close(out_write)
        os.close(err_write)
        process = Process(order.id, pid, at, order.meta, writer, {out_read: "stdout", err_read: "stderr"})
        self._processes[order.id] = process
        for descriptor in (out_read, err_read):
            os.set_blocking(descriptor, False)
            reader = lambda fd, _mask, p=process: self._output(p, fd)  # noqa: E731
            self._selector.register(descriptor, selectors.EVENT_READ, reader)
        return {"pid": pid, "at": at}

    # --- clients ---

    def _accept(self, _descriptor: int, _mask: int) -> None:
        try:
            connection, _ = self._listener.accept()
        except OSError as error:  # no descriptor left, or gone already: containers must not die of it
            sys.stderr.write(f"cannot accept a node: {error}\n")
            time.sleep(ACCEPT_PAUSE_S)
            return
        connection.setblocking(False)
        self._clients[connection.fileno()] = Client(connection)
        self._selector.register(connection, selectors.EVENT_READ, self._client_ready)

    def _client_ready(self, descriptor: int, mask: int) -> shim_child.Child | None:
        client = self._clients.get(descriptor)
        if client is None:
            return None
        if mask & selectors.EVENT_WRITE:
            self._flush(client)
        if not mask & selectors.EVENT_READ:
            return None
        try:
            data = client.connection.recv(READ_BYTES)
        except BlockingIOError:
            return None
        except OSError:
            data = b""
        if not data or len(client.incoming) > MAX_REQUEST_BYTES:
            self._drop(client)
            return None
        client.incoming += data
        while (end := client.incoming.find(b"\n")) >= 0:
            line = bytes(client.incoming[:end])
            del client.incoming[: end + 1]
            answer = self._answer(line)
            if isinstance(answer, shim_child.Child):
                return answer
            self._send(client, answer)
        return None

    def _answer(self, line: bytes) -> dict[str, Any] | shim_child.Child:
        tag: Any = None
        try:
            request = json.loads(line)
            tag = request.get("tag")
            answer = self._operate(request)
        except (ValueError, KeyError, TypeError, AttributeError, OSError) as error:
            answer = {"error": f"{type(error).__name__}: {error}"}
        return answer if isinstance(answer, shim_child.Child) else {"tag": tag, **answer}

    def _operate(self, request: dict[str, Any]) -> dict[str, Any] | shim_child.Child:
        operation = request["op"]
        if operation == "start":
            return self._start(request)
        if operation == "hello":
            return {"protocol": PROTOCOL, "pid": os.getpid(), "preload": self._name}
        if operation == "list":
            return {"processes": [process.public() for process in self._processes.values()]}
        if operation == "shutdown":
            self._stop()
            return {}
        process = self._processes.get(request["id"])
        if process is None:
            return {"error": f"no process {request['id']}"}
        if operation == "signal":
            _signal_group(process, int(request["signal"]))
        elif operation == "forget" and process.is_reported:
            del self._processes[process.id]
        return {}

    def _send(self, client: Client, message: dict[str, Any]) -> None:
        client.outgoing += json.dumps(message).encode() + b"\n"
        self._flush(client)

    def _flush(self, client: Client) -> None:
        try:
            sent = client.connection.send(client.outgoing) if client.outgoing else 0
            del client.outgoing[:sent]
        except BlockingIOError:
            pass
        except OSError:
            self._drop(client)
            return
        if len(client.outgoing) > MAX_PENDING_BYTES:
            self._drop(client)
            return
        wanted = selectors.EVENT_READ | (selectors.EVENT_WRITE if client.outgoing else 0)
        self._selector.modify(client.connection, wanted, self._client_ready)

    def _drop(self, client: Client) -> None:
        if self._clients.pop(client.connection.fileno(), None) is not None:
            self._selector.unregister(client.connection)
            client.connection.close()


def _pipe(undo: contextlib.ExitStack) -> tuple[int, int]:
    """A pipe whose ends are closed when the start fails."""
    ends = os.pipe()
    for descriptor in ends:
        undo.callback(os.close, descriptor)
    return ends


def _signal_group(process: Process, number: int) -> None:
    """Signal the process's group. Not after its end: it was killed then, and the number may be another group's by now."""
    if process.code is None:
        _kill_group(process, number)


def _kill_group(process: Process, number: int) -> None:
    try:
        os.killpg(process.pid, number)
    except PermissionError:
        return
    except ProcessLookupError:
        if process.code is None:  # forked a moment ago and not yet the leader of its session
            with contextlib.suppress(ProcessLookupError):
                os.kill(process.pid, number)


def _exit_code(status: int) -> int:
    code = os.waitstatus_to_exitcode(status)
    return 128 - code if code < 0 else code


def main(argv: list[str] | None = None) -> int:
    """Listen (before that, preload) and serve; a forked child leaves through ``shim_child.become``."""
    parser = argparse.ArgumentParser(prog="standalone.node.shim")
    parser.add_argument("--socket", required=True)
    parser.add_argument("--preload", default="")
    options = parser.parse_args(argv)
    os.umask(0o077)
    if options.preload:
        preload.load(options.preload)
    path = Path(options.socket)
    path.unlink(missing_ok=True)
    listener = socket.socket(socket.AF_UNIX)
    listener.bind(options.socket)
    listener.listen(16)
    listener.setblocking(False)
    shim = Shim(listener, options.preload)
    child = shim.run()
    if child is not None:
        # `shim` stays referenced: a child closes all descriptors by number, and the sockets of a collected shim would
        # close those numbers again after the program in the child has reused them.
        shim_child.become(child)
    path.unlink(missing_ok=True)
    return 0


if __name__ == "__main__":
    sys.exit(main())
