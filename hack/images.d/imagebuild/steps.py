"""What ``hack/images`` prints, and how it calls other programs.

Called by every module that works for seconds: one line a step, with its seconds and, where there is one, its size.
Output of called programs goes to a log file, whose end is shown when one fails.
"""

from __future__ import annotations

import os
import subprocess
import time
from collections.abc import Mapping, Sequence
from pathlib import Path

TAIL_LINES = 15


class ImageError(Exception):
    """A build cannot go on; the text says what and what to do."""


def size_mb(path: Path) -> float:
    """The size of a file in MB (1,000,000 bytes)."""
    return path.stat().st_size / 1e6


class Steps:
    """Prints ``seconds  MB  what`` as steps end; seconds are the step's own."""

    def __init__(self) -> None:
        self._begin = time.monotonic()

    def done(self, text: str, file: Path | None = None) -> None:
        """Say that the step that began with the last line is over."""
        now = time.monotonic()
        size = f"{size_mb(file):6.1f} MB" if file is not None else " " * 9
        print(f"{now - self._begin:7.1f} s  {size}  {text}", flush=True)
        self._begin = now


def run(command: Sequence[str], log: Path, env: Mapping[str, str] | None = None) -> None:
    """Run a program with its output added to ``log``. Raises ImageError with the end of that output."""
    log.parent.mkdir(parents=True, exist_ok=True)
    with log.open("ab") as output:
        begin = output.tell()
        try:
            code = subprocess.run(
                command,
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=output,
                env={**os.environ, **(env or {})},
                check=False,
            ).returncode
        except OSError as error:
            raise ImageError(f"{command[0]} cannot be run: {error}") from error
    if code == 0:
        return
    with log.open("rb") as written:
        written.seek(begin)
        lines = written.read().decode(errors="replace").splitlines()[-TAIL_LINES:]
    raise ImageError(
        f"{' '.join(command[:3])} failed (exit {code}); {log} ends with:\n  " + "\n  ".join(lines)
    )


def answers(*command: str) -> bool:
    """Whether a program is there and ends well within 20 s."""
    try:
        return subprocess.run(command, capture_output=True, timeout=20, check=False).returncode == 0
    except (OSError, subprocess.TimeoutExpired):
        return False
