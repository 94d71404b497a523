"""Starts the program of an unpacked image and asks it over HTTP; used by the tests that run images."""

from __future__ import annotations

import json
import signal
import socket
import subprocess
import urllib.request
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from image_box import Unpacked
from waiting_rig import until_blocking


@contextmanager
def serving(
    image: Unpacked, folder: Path, *flags: str, writable: Sequence[str] = (), within_s: float = 120
) -> Iterator[str]:
    """The address of the image's model server with ``folder`` as /mnt, once its model ``m`` is ready."""
    port = free_port()
    words = ["--model_name=m", f"--http_port={port}", "--http_address=127.0.0.1", *flags]
    with started(image.command(*words, mnt=folder, writable=writable)) as server:
        url = f"http://127.0.0.1:{port}"
        until_blocking(
            lambda: answers(url + "/v2/health/ready", server), within_s, "the model server to be ready"
        )
        yield url
    assert server.returncode == 0


def run(command: Sequence[str]) -> subprocess.CompletedProcess[str]:
    return subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)


@contextmanager
def started(command: Sequence[str]) -> Iterator[subprocess.Popen[bytes]]:
    """The program, ended by SIGTERM afterwards; what it wrote goes to the test's own output."""
    server = subprocess.Popen(command)
    try:
        yield server
    finally:
        server.send_signal(signal.SIGTERM)
        try:
            server.wait(30)
        finally:
            server.kill()


def answers(url: str, server: subprocess.Popen[bytes]) -> bool:
    assert server.poll() is None, f"it ended with status {server.returncode}"
    try:
        with urllib.request.urlopen(url, timeout=5) as response:
            return bool(response.status == 200)
    except OSError:
        return False


def post(url: str, body: object) -> Any:
    request = urllib.request.Request(url, json.dumps(body).encode(), {"Content-Type": "application/json"})
    with urllib.request.urlopen(request, timeout=60) as response:
        return json.load(response)


def free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        return int(listener.getsockname()[1])
