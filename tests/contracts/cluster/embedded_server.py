"""The embedded API server as a process of its own, for fixtures and for ``hack/api-diff``."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

from cluster_api import eventually


def start_server(folder: Path) -> subprocess.Popen[bytes]:
    """Start the embedded server and wait until it serves."""
    command = [sys.executable, "-m", "standalone.apiserver", "--data-dir", str(folder), "--port", "0"]
    path = folder / "stderr.log"
    with path.open("wb") as log:
        process = subprocess.Popen(command, stderr=log)

    def serves() -> bool:
        assert process.poll() is None, path.read_text()
        return '"serving"' in path.read_text()

    eventually(serves, "the API server did not start")
    return process


def stop_server(process: subprocess.Popen[bytes], folder: Path) -> None:
    """End it properly."""
    process.terminate()
    assert process.wait(15) == 0, (folder / "stderr.log").read_text()[-2000:]
