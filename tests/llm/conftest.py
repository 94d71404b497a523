"""The suite of real language models: ``hack/test llm``. Not part of ``pytest tests``: it needs .venv-llm (2.5 GiB).

Servers are started as a pod would start them, one at a time (two engines do not fit two cores), once a module. Nothing
here is collected unless the folder is named on the command line, so that a run without it counts nothing as skipped.
"""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

import openai
import pytest

ROOT = Path(__file__).resolve().parents[2]
MODELS = ROOT / ".venv-llm" / "models"
START_S = 900.0
STOP_S = 60.0
VLLM_FLAGS = ("--max-num-seqs", "16", "--enforce-eager")


def pytest_ignore_collect(collection_path: Path, config: pytest.Config) -> bool | None:
    """Only where this folder was asked for."""
    asked = [
        Path(word.partition("::")[0]).resolve() for word in config.invocation_params.args if word[:1] != "-"
    ]
    here = Path(__file__).parent
    return None if any(path == here or here in path.parents for path in asked) else True


def pytest_sessionstart(session: pytest.Session) -> None:
    """Fail at once, and not test by test, where the environment is missing."""
    if not MODELS.is_dir():
        raise pytest.UsageError("there is no .venv-llm/models: run hack/test llm, or hack/env llm first")


@dataclass
class Running:
    """One server."""

    process: subprocess.Popen[bytes]
    port: int
    log: Path
    start_s: float
    client: openai.OpenAI = field(init=False)

    def __post_init__(self) -> None:
        self.client = openai.OpenAI(
            base_url=f"{self.url}/openai/v1", api_key="none", max_retries=0, timeout=300
        )

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    def status(self, path: str) -> int:
        """The HTTP status of a GET; 0 where nobody answers."""
        try:
            with urllib.request.urlopen(self.url + path, timeout=10) as answer:
                return int(answer.status)
        except urllib.error.HTTPError as error:
            return error.code
        except OSError:
            return 0

    def metrics(self) -> str:
        with urllib.request.urlopen(self.url + "/metrics", timeout=30) as answer:
            return str(answer.read().decode())


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


@contextmanager
def serving(module: str, folder: Path, *flags: str, python: str = sys.executable) -> Iterator[Running]:
    """``module`` as a process, ready; ended afterwards with everything below it."""
    port = free_port()
    log = folder / "server.log"
    environ = {
        **os.environ,
        "VLLM_CPU_KVCACHE_SPACE": "1",
        "WAKEFUL_TERMINATION_LOG": str(folder / "termination"),
    }
    with log.open("wb") as sink:
        began = time.monotonic()
        process = subprocess.Popen(
            [python, "-m", module, "--http_address=127.0.0.1", f"--http_port={port}", *flags],
            cwd=ROOT,
            env=environ,
            stdout=sink,
            stderr=sink,
        )
        running = Running(process, port, log, 0.0)
        try:
            while running.status("/v2/health/ready") != 200:
                assert process.poll() is None, log.read_text(errors="replace")[-3000:]
                assert time.monotonic() - began < START_S, log.read_text(errors="replace")[-3000:]
                time.sleep(0.25)
            running.start_s = time.monotonic() - began
            print(f"{module} {' '.join(flags)}: ready after {running.start_s:.1f} s")
            yield running
        finally:
            running.client.close()
            if process.poll() is None:
                process.send_signal(signal.SIGTERM)
            process.wait(STOP_S)
