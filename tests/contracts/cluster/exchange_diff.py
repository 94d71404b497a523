"""The command behind ``hack/api-diff``: records the real server's answers, shows where the embedded one differs.

Invariant: ``record`` writes a family's file only after the family ran to its end, atomically.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from cluster_api import read
from embedded_server import start_server, stop_server
from exchange_compare import differences, split
from exchange_run import Run
from exchange_steps import RECORDED, Family, accepted, families, recorded

SHOWN = 24
"""Differences printed of one step."""


def main() -> int:
    """Parse the command line and do it; 1 when anything differs."""
    parser = argparse.ArgumentParser(prog="hack/api-diff", description=__doc__)
    parser.add_argument("what", choices=["show", "record"])
    parser.add_argument("names", nargs="*", help="for record, first the kubeconfig of the real server")
    parser.add_argument("--kubeconfig", type=Path, help="show: another server than a fresh embedded one")
    asked = parser.parse_args()
    if asked.what == "record":
        return record(Path(asked.names[0]), asked.names[1:])
    with server(asked.kubeconfig) as (kubeconfig, data_dir):
        return show(kubeconfig, data_dir, asked.names)


def chosen(names: list[str]) -> list[Family]:
    return [family for family in families() if not names or family.name in names]


def record(kubeconfig: Path, names: list[str]) -> int:
    """Ask the real server."""
    api = read(kubeconfig, None)
    for family in chosen(names):
        found = Run(api, kubeconfig).answers(family)
        rows = [
            f"{json.dumps(key)}: {json.dumps(value, sort_keys=True)}" for key, value in found.items() if value
        ]
        fresh = RECORDED / f".{family.name}.json.new"
        fresh.write_text("{\n" + ",\n".join(rows) + "\n}\n")  # a line a step
        fresh.replace(RECORDED / f"{family.name}.json")
        print(f"{family.name}: {len(found)} answers")
    return 0


@contextlib.contextmanager
def server(kubeconfig: Path | None) -> Iterator[tuple[Path, Path | None]]:
    """The server to look at: a given one, or an embedded one of our own."""
    if kubeconfig:
        yield kubeconfig, None
        return
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        process: subprocess.Popen[bytes] = start_server(folder)
        try:
            yield folder / "kubeconfig", folder
        finally:
            stop_server(process, folder)


def show(kubeconfig: Path, data_dir: Path | None, names: list[str]) -> int:
    """Print what differs."""
    api = read(kubeconfig, data_dir)
    count, meant = 0, accepted()
    for family in chosen(names):
        real, ours = recorded(family.name), Run(api, kubeconfig).answers(family)
        for step in family.steps:
            if step.silent:
                continue
            if step.id not in real:
                print(f"{family.name}/{step.id}: not recorded")
                continue
            found = differences(real[step.id], ours[step.id])
            left, stale = split(found, meant.of(family.name, step.id), meant.everywhere)
            count += bool(left or stale)
            if left or stale:
                print(f"\n== {family.name}/{step.id}: {step.do}")
            if "status" in left:  # one refuses what the other takes: the rest says nothing more
                told = [_told(real[step.id]), _told(ours[step.id])]
                print(f"  real {told[0]}\n  ours {told[1]}")
                continue
            for path, (theirs, own) in list(left.items())[:SHOWN]:
                print(f"  {path}: real {json.dumps(theirs)} ours {json.dumps(own)}")
            if len(left) > SHOWN:
                print(f"  and {len(left) - SHOWN} more")
            for path in sorted(stale):
                print(f"  {path} is accepted and no longer differs")
    print(f"\n{count} steps differ")
    return 1 if count else 0


def _told(answer: dict[str, Any]) -> str:
    body = answer.get("body")
    return f"{answer.get('status')} {body.get('message', '') if isinstance(body, dict) else ''}"


if __name__ == "__main__":
    sys.exit(main())
