"""What `hack/cluster` prints: one line a step, with the seconds since the start and the seconds that the step took.

Called by every module that works for seconds; output of the programs called goes to a log file, and only its end is
shown when one of them fails. Invariant: nothing here raises away from a step's own error.
"""

from __future__ import annotations

import contextlib
import os
import subprocess
import time
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

from realnode.node import ClusterError

TAIL_LINES = 15


class Progress:
    """Prints steps as they end; `quiet` prints nothing (status and scripts)."""

    def __init__(self, *, quiet: bool = False) -> None:
        self._begin = time.monotonic()
        self._quiet = quiet

    def line(self, text: str) -> None:
        if not self._quiet:
            print(f"{time.monotonic() - self._begin:7.1f} s  {text}", flush=True)

    @contextlib.contextmanager
    def step(self, text: str) -> Iterator[None]:
        """Times the block and prints `text` when it ends well."""
        begin = time.monotonic()
        yield
        self.line(f"{text} ({time.monotonic() - begin:.1f} s)")


def run(
    command: Sequence[str | Path], *, log: Path, cwd: Path | None = None, env: Mapping[str, str] | None = None
) -> None:
    """Runs a program with its output appended to `log`; a failure raises ClusterError with the end of that output."""
    log.parent.mkdir(parents=True, exist_ok=True)
    with log.open("ab") as output:
        begin = output.tell()
        result = subprocess.run(
            [str(part) for part in command], cwd=cwd, stdin=subprocess.DEVNULL, stdout=output, stderr=output,
            env={**os.environ, **(env or {})}, check=False,
        )  # fmt: skip
    if result.returncode != 0:
        with log.open("rb") as written:
            written.seek(begin)
            tail = written.read().decode(errors="replace").splitlines()[-TAIL_LINES:]
        text = "\n  ".join(tail)
        raise ClusterError(
            f"{' '.join(map(str, command[:4]))} failed (exit {result.returncode}); {log} ends with:\n  {text}"
        )


def read(command: Sequence[str | Path]) -> str:
    """The output of a program that must succeed, or ClusterError."""
    result = subprocess.run([str(part) for part in command], capture_output=True, text=True, check=False)
    if result.returncode != 0:
        raise ClusterError(
            f"{' '.join(map(str, command))}: {result.stderr.strip() or f'exit {result.returncode}'}"
        )
    return result.stdout
