"""A PMML server as a process on a port of its own, with the environment of `hack/env pmml`. For tests/shells/pmml."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from waiting_rig import until_blocking

ROOT = Path(__file__).resolve().parents[2]
ENVIRONMENT = Path(os.environ.get("WAKEFUL_PMML_ENV") or ROOT / ".venv-pmml")
needs_java = pytest.mark.skipif(
    not ENVIRONMENT.is_dir() and "jpype" not in sys.modules, reason="hack/env pmml was not run"
)
START_LIMIT_S = 120


def command(folder: Path, *flags: str) -> list[str]:
    words = ["--model_name=m", f"--model_dir={folder}", "--http_port=0", "--http_address=127.0.0.1"]
    return [sys.executable, "-m", "runtimes.pmml", *words, *flags]


def placed(folder: Path, document: str) -> Path:
    """A model folder with ``document``."""
    folder.mkdir(exist_ok=True)
    (folder / "model.pmml").write_text(document)
    return folder


@contextmanager
def process(folder: Path, log: Path, *flags: str, **variables: str) -> Iterator[subprocess.Popen[bytes]]:
    """The server of ``folder``, killed at the end; what it writes goes to ``log``."""
    environ = {**os.environ, "WAKEFUL_PMML_ENV": str(ENVIRONMENT), **variables}
    with log.open("wb") as out:
        running = subprocess.Popen(command(folder, *flags), cwd=ROOT, env=environ, stdout=out, stderr=out)
    try:
        yield running
    finally:
        running.kill()
        running.wait(10)


@contextmanager
def serving(folder: Path, log: Path, *flags: str) -> Iterator[tuple[str, subprocess.Popen[bytes]]]:
    """The same, once it is ready; its address as well."""
    with process(folder, log, *flags) as running:
        until_blocking(
            lambda: running.poll() is not None or b'"event": "serving"' in log.read_bytes(),
            START_LIMIT_S,
            lambda: f"the PMML server; it wrote {log.read_text()[-500:]}",
        )
        assert running.poll() is None, log.read_text()[-500:]
        port = log.read_text().split('"port": ')[1].split(",")[0]
        yield f"http://127.0.0.1:{port}", running


def last_words(folder: Path, log: Path, *flags: str) -> str:
    """What a server says that cannot load its document."""
    with process(folder, log, *flags) as running:
        assert running.wait(START_LIMIT_S) == 1, log.read_text()[-500:]
    return log.read_text().strip().splitlines()[-1]
