"""``wakeful doctor``: what is wrong with this installation, and what to do; for a cluster and for one machine.

Looks only, and sends one InferenceService as a dry run through the webhooks. Which home: the cluster of
``--kubeconfig``, else the platform running in the data directory, else the cluster of $KUBECONFIG or ~/.kube/config.
Exit status 0 when no check failed, 1 otherwise.
"""

from __future__ import annotations

import argparse
import asyncio
import os
from pathlib import Path

from controller import connection
from standalone import instance
from standalone.layout import Layout
from wakeful.cli import doctor_cluster, doctor_machine, doctor_report
from wakeful.cli.doctor_report import Check, wrong
from wakeful.kit import logs

CONNECT_S = 5.0


def run(options: argparse.Namespace) -> int:
    """Look and print; the exit status."""
    logs.set_level("error")
    checks = asyncio.run(_look(options))
    print(doctor_report.render(checks))
    return doctor_report.status_of(checks)


async def _look(options: argparse.Namespace) -> list[Check]:
    layout = Layout(options.data_dir)
    record = instance.read(layout)
    if options.kubeconfig is None and record is not None and instance.is_locked(layout):
        print(f"one machine: the platform in {layout.data_dir}\n")
        machine = await doctor_machine.look(layout, record)
        return machine + await _cluster(layout.kubeconfig, is_one_machine=True)
    kubeconfig = options.kubeconfig or _default_kubeconfig()
    if kubeconfig is None:
        found = f"nothing runs in {layout.data_dir}, and neither --kubeconfig nor $KUBECONFIG nor ~/.kube/config is there"
        todo = "start the platform with `wakeful up`, or name a cluster with --kubeconfig"
        return [wrong("installation", found, todo)]
    print(f"cluster: {kubeconfig}\n")
    return await _cluster(kubeconfig, is_one_machine=False)


def _default_kubeconfig() -> Path | None:
    named = os.environ.get("KUBECONFIG", "").split(":")[0]
    path = Path(named) if named else Path("~/.kube/config").expanduser()
    return path if named or path.exists() else None


async def _cluster(kubeconfig: Path, is_one_machine: bool) -> list[Check]:
    if not kubeconfig.exists():
        return [wrong("kubeconfig", f"{kubeconfig} does not exist", "name another with --kubeconfig")]
    try:
        async with asyncio.timeout(CONNECT_S):
            configuration = await connection.load(kubeconfig)
    except TimeoutError:
        todo = "look at it with `kubectl config view`, or name another with --kubeconfig"
        return [wrong("kubeconfig", f"{kubeconfig} is not a usable kubeconfig", todo)]
    async with connection.Api(configuration) as api:
        return await doctor_cluster.look(api, is_one_machine)
