"""`hack/e2e`: run the scenarios in one home or both, then compare what the homes showed.

One pytest run a home, one after the other, because two platforms at once would only slow each other down. The observations are
in build/e2e/HOME.json. Exit status 0 only when every scenario passed and every difference between the homes is one that
accepted.yaml explains.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path

import yaml

from e2e import compare
from e2e.homes.choose import HOMES

ROOT = Path(__file__).resolve().parents[1]
DUMPS = ROOT / "build" / "e2e"
ACCEPTED = Path(__file__).with_name("accepted.yaml")


def main(argv: Sequence[str] | None = None) -> int:
    options = parse(argv)
    homes = HOMES if options.home == "both" else (options.home,)
    failed = [home for home in homes if not run(home, options)]
    for home in failed:
        print(f"hack/e2e: scenarios failed in the home `{home}`", file=sys.stderr)
    if options.home != "both":
        return 1 if failed else 0
    is_same = report(bool(options.only), bool(failed))
    return 0 if is_same and not failed else 1


def parse(argv: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="hack/e2e", description="The scenario suite of both homes.")
    parser.add_argument("--home", choices=(*HOMES, "both"), default="both")
    parser.add_argument("-k", dest="only", metavar="NAME", help="only scenarios whose name matches")
    parser.add_argument("--kubeconfig", help="a cluster that is already there, instead of hack/cluster's")
    parser.add_argument("--ingress", help="http://HOST:PORT of that cluster's ingress")
    parser.add_argument("--host-address", help="an address of this machine that its pods can reach")
    parser.add_argument("-x", dest="is_first_enough", action="store_true", help="stop at the first failure")
    options = parser.parse_args(argv)
    if (options.kubeconfig is None) != (options.ingress is None):
        parser.error("--kubeconfig and --ingress go together")
    if options.kubeconfig and options.home == "standalone":
        parser.error("--kubeconfig is for --home cluster or both")
    return options


def run(home: str, options: argparse.Namespace) -> bool:
    """One pytest run; whether all scenarios passed."""
    (DUMPS / f"{home}.json").unlink(missing_ok=True)
    command = [sys.executable, "-m", "pytest", "e2e", "--home", home, "--dumps", str(DUMPS), "--durations=10"]
    if home == "cluster":
        for flag, value in (
            ("--kubeconfig", options.kubeconfig),
            ("--ingress", options.ingress),
            ("--host-address", options.host_address),
        ):
            command += [flag, value] if value else []
    command += ["-k", options.only] if options.only else []
    command += ["-x"] if options.is_first_enough else []
    print(f"== scenarios in the home `{home}`", flush=True)
    begin = time.monotonic()
    status = subprocess.run(command, cwd=ROOT, check=False).returncode
    print(f"== home `{home}`: {time.monotonic() - begin:.0f} s, exit status {status}", flush=True)
    return status == 0


def report(is_partial: bool, has_failed: bool) -> bool:
    """Print how the homes differ; whether every difference is accepted (and, of a whole run, no entry is stale)."""
    paths = {home: DUMPS / f"{home}.json" for home in HOMES}
    missing = [home for home, path in paths.items() if not path.exists()]
    if missing:
        print(f"hack/e2e: nothing to compare: no observations of {', '.join(missing)}", file=sys.stderr)
        return False
    seen = {home: json.loads(path.read_text()) for home, path in paths.items()}
    accepted = compare.read_accepted(yaml.safe_load(ACCEPTED.read_text()))
    verdict = compare.judge(seen["cluster"], seen["standalone"], accepted)
    for difference in verdict.unexplained:
        print(f"different and not explained in e2e/accepted.yaml: {difference}", file=sys.stderr)
    stale = [] if is_partial or has_failed else verdict.stale
    for entry in stale:
        print(
            f"e2e/accepted.yaml explains a difference that is none any more: {entry.pattern}", file=sys.stderr
        )
    count = len(seen["cluster"].keys() & seen["standalone"].keys())
    print(f"== compared {count} observations: {len(verdict.unexplained)} unexplained differences", flush=True)
    return not verdict.unexplained and not stale


if __name__ == "__main__":
    sys.exit(main())
