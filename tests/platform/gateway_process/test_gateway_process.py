"""The gateway's process as the supervisor runs it: sockets handed down, kill -9, a busy port, SIGTERM."""

from __future__ import annotations

import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from standalone import supervisor

ASK = b"POST / HTTP/1.1\r\nHost: broker-ingress.knative-eventing.localhost\r\nContent-Length: 0\r\n\r\n"
"""Answered without routes: the event ingress is a socket that does not exist here."""


@pytest.fixture
def run(tmp_path: Path) -> Iterator[Callable[..., subprocess.Popen[bytes]]]:
    started: list[subprocess.Popen[bytes]] = []

    def start(*flags: str, descriptors: tuple[int, ...] = ()) -> subprocess.Popen[bytes]:
        command = [sys.executable, "-m", "standalone.gateway", "--data-dir", str(tmp_path / "d"), *flags]
        process = subprocess.Popen(command, pass_fds=descriptors, stderr=subprocess.PIPE)
        started.append(process)
        return process

    yield start
    for process in started:
        if process.poll() is None:
            process.kill()
        process.communicate()


def connect(listener: socket.socket) -> socket.socket:
    client = socket.create_connection(listener.getsockname()[:2], timeout=20)
    client.sendall(ASK)
    return client


def test_who_connects_while_no_process_runs_is_answered_by_the_next(
    run: Callable[..., subprocess.Popen[bytes]],
) -> None:
    listeners = supervisor.listen(0)
    numbers = tuple(listener.fileno() for listener in listeners)
    flags = [word for number in numbers for word in ("--listen-fd", str(number))]
    with connect(listeners[0]) as early:
        process = run(*flags, descriptors=numbers)
        assert early.recv(1000).startswith(b"HTTP/1.1 503 ")
        process.kill()
        process.wait(10)
        with connect(listeners[-1]) as late:
            run(*flags, descriptors=numbers)
            assert late.recv(1000).startswith(b"HTTP/1.1 503 ")
    for listener in listeners:
        listener.close()


def test_a_busy_port_is_one_sentence(run: Callable[..., subprocess.Popen[bytes]]) -> None:
    with socket.create_server(("127.0.0.1", 0)) as other:
        process = run("--port", str(other.getsockname()[1]))
        _, told = process.communicate(timeout=20)
    assert process.returncode == 1
    assert b"cannot listen on 127.0.0.1:" in told and told.count(b"\n") == 1


def test_a_descriptor_that_is_no_socket_is_one_sentence(run: Callable[..., subprocess.Popen[bytes]]) -> None:
    process = run("--listen-fd", "0")
    _, told = process.communicate(timeout=20)
    assert process.returncode == 1
    assert b"--listen-fd 0" in told


def test_sigterm_ends_it_cleanly(run: Callable[..., subprocess.Popen[bytes]], tmp_path: Path) -> None:
    process = run("--port", "0")
    deadline = time.monotonic() + 20
    while not (tmp_path / "d" / "run" / "gateway.sock").exists():
        assert process.poll() is None and time.monotonic() < deadline
        time.sleep(0.01)
    process.send_signal(signal.SIGTERM)
    assert process.wait(10) == 0
