"""``wakeful logs``: the platform's own log lines, of all processes or one; ``-f`` goes on as lines come.

The logs of pods are ``kubectl logs``. Reads files only: it works while the platform is down.
"""

from __future__ import annotations

import argparse
import sys
import time
from pathlib import Path

from standalone.layout import Layout

PAUSE_S = 0.2
TAIL_READ_BYTES = 1024 * 1024


def run(options: argparse.Namespace) -> int:
    """0, or 1 when there is no such log."""
    folder = Layout(options.data_dir).logs
    paths = [folder / f"{options.process}.log"] if options.process else sorted(folder.glob("*.log"))
    paths = [path for path in paths if not path.name.endswith(".previous.log") and path.is_file()]
    if not paths:
        wanted = f"a log of {options.process!r}" if options.process else "any log"
        print(f"wakeful logs: there is not {wanted} in {folder}", file=sys.stderr)
        return 1
    ends = {path: _print_tail(path, options.tail) for path in paths}
    try:
        while options.follow:
            time.sleep(PAUSE_S)
            ends = {path: _print_from(path, end) for path, end in ends.items()}
    except KeyboardInterrupt:
        pass
    return 0


def _print_tail(path: Path, lines: int) -> int:
    with path.open("rb") as file:
        size = file.seek(0, 2)
        file.seek(max(0, size - TAIL_READ_BYTES))
        text = file.read().decode(errors="replace")
    for line in text.splitlines()[-lines:] if lines > 0 else []:
        print(f"{path.stem:>10}  {line}")
    return size


def _print_from(path: Path, start: int) -> int:
    with path.open("rb") as file:
        size = file.seek(0, 2)
        file.seek(start if size >= start else 0)
        chunk = file.read(TAIL_READ_BYTES)
    for line in chunk.decode(errors="replace").splitlines():
        print(f"{path.stem:>10}  {line}", flush=True)
    return (start if size >= start else 0) + len(chunk)
