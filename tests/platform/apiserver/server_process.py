"""``python -m standalone.apiserver`` under test: start, kill, restart on the same data."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

from cluster_api import Api, eventually, read


class ServerProcess:
    """The process; what it writes to stderr is in ``log``."""

    def __init__(self, data_dir: Path, *arguments: str) -> None:
        self.data_dir = data_dir
        self.arguments = arguments or ("--port", "0")
        self.log = data_dir.with_name(f"{data_dir.name}.log")
        self.process: subprocess.Popen[bytes] | None = None
        self._clients: list[Api] = []

    def spawn(self, before: Callable[[], None] | None = None) -> subprocess.Popen[bytes]:
        command = [sys.executable, "-m", "standalone.apiserver", "--data-dir", str(self.data_dir)]
        with self.log.open("wb") as log:
            self.process = subprocess.Popen([*command, *self.arguments], stderr=log, preexec_fn=before)
        return self.process

    def start(self, before: Callable[[], None] | None = None) -> None:
        """Start and wait until it serves; ``before`` runs in the child."""
        process = self.spawn(before)

        def serves() -> bool:
            assert process.poll() is None, self.log.read_text()
            return '"serving"' in self.log.read_text()

        eventually(serves, "the server did not start")

    def api(self) -> Api:
        """A client of one's own; closed with the server."""
        found = read(self.data_dir / "kubeconfig", self.data_dir)
        self._clients.append(found)
        return found

    @property
    def environment(self) -> dict[str, str]:
        """For kubectl and client libraries."""
        return {**os.environ, "KUBECONFIG": str(self.data_dir / "kubeconfig")}

    def kill(self) -> None:
        """SIGKILL, as a power cut would."""
        assert self.process is not None
        self.process.kill()
        self.process.wait(10)
        self._forget()

    def stop(self) -> int:
        """SIGTERM; the exit status."""
        self._forget()
        assert self.process is not None
        if self.process.poll() is None:
            self.process.send_signal(signal.SIGTERM)
        return self.process.wait(15)

    def _forget(self) -> None:
        for client in self._clients:
            client.close()

    def rss_mib(self) -> float:
        assert self.process is not None
        for line in Path(f"/proc/{self.process.pid}/status").read_text().splitlines():
            if line.startswith("VmRSS:"):
                return int(line.split()[1]) / 1024
        return 0.0
