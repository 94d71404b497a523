"""One real platform for the tests of this folder: `wakeful up` on free ports and a data directory of its own.

Slow to start (seconds), so it is shared by the session; each test uses a namespace of its own.
"""

from __future__ import annotations

import os
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from standalone.layout import Layout


@dataclass
class Platform:
    """A running `wakeful up`."""

    layout: Layout
    ports: tuple[int, int, int]
    process: subprocess.Popen[bytes] | None = None
    environment: dict[str, str] = field(default_factory=dict)

    def start(self) -> None:
        """Start and wait until it says that it is ready."""
        self.layout.make()
        path = self.layout.data_dir / "up.log"
        flags = ("--port", "--api-port", "--webhook-port")
        command = [sys.executable, "-m", "wakeful.cli", "up", "--data-dir", str(self.layout.data_dir)]
        command += [text for flag, port in zip(flags, self.ports, strict=True) for text in (flag, str(port))]
        with path.open("wb") as log:
            self.process = subprocess.Popen(command, stdout=log, stderr=log, start_new_session=True)
        deadline = time.monotonic() + 60
        while "is ready" not in path.read_text():
            assert self.process.poll() is None, path.read_text()
            assert time.monotonic() < deadline, path.read_text()
            time.sleep(0.02)
        self.environment = {**os.environ, "KUBECONFIG": str(self.layout.kubeconfig)}

    def stop(self, number: signal.Signals = signal.SIGTERM) -> None:
        assert self.process is not None
        self.process.send_signal(number)
        self.process.wait(60)

    def kubectl(self, *arguments: str, text: str | None = None, check: bool = True) -> str:
        """Run kubectl as a user would; its output, both streams."""
        done = subprocess.run(
            ["kubectl", *arguments],
            env=self.environment,
            input=text,
            text=True,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            timeout=90,
            check=False,
        )
        assert not check or done.returncode == 0, done.stdout
        return done.stdout


def free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as free:
        return int(free.getsockname()[1])


@pytest.fixture(scope="session")
def platform() -> Iterator[Platform]:
    folder = Path(tempfile.mkdtemp(prefix="wk-"))
    running = Platform(Layout(folder), (free_port(), free_port(), free_port()))
    running.start()
    yield running
    running.stop()
    shutil.rmtree(folder, ignore_errors=True)


@pytest.fixture
def needs_kubectl() -> None:
    if shutil.which("kubectl") is None:
        pytest.skip("kubectl is not installed on this machine")
