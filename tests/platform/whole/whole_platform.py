"""A running `wakeful up`, driven as a user drives it."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import time
from dataclasses import dataclass, field

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
