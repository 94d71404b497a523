"""Memory and processor time of the controller in either home.

Called by ``cluster``. On one machine from /proc; on a cluster from the kubelet's summary, for every replica. Invariant:
a reading names each replica, so that two readings are of the same processes or are not compared.
"""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path

from standalone import instance
from standalone.layout import Layout
from wakeful.kit.kube import NODES, KubeClient

CONTROLLER = "wakeful-controller"
SYSTEM = "wakeful-system"
TICKS = os.sysconf("SC_CLK_TCK")


@dataclass(frozen=True, slots=True)
class Usage:
    """One replica: resident memory now, processor seconds so far."""

    rss_mib: float
    cpu_s: float


async def controllers(client: KubeClient, home: str, kubeconfig: Path) -> dict[str, Usage]:
    """By name of the replica."""
    if home == "standalone":
        record = instance.read(Layout(kubeconfig.parent))
        if record is None:
            raise SystemExit(f"{kubeconfig.parent} has no record of a running platform")
        pid = record.processes["controller"].pid
        return {f"process {pid}": _of_process(pid)}
    found: dict[str, Usage] = {}
    for node in (await client.list(NODES))["items"]:
        summary = await client.request("GET", f"/api/v1/nodes/{node['metadata']['name']}/proxy/stats/summary")
        for pod in summary.get("pods") or []:
            if pod["podRef"]["namespace"] == SYSTEM and pod["podRef"]["name"].startswith(CONTROLLER):
                for container in pod.get("containers") or []:
                    memory, cpu = container.get("memory") or {}, container.get("cpu") or {}
                    found[pod["podRef"]["name"]] = Usage(
                        memory.get("rssBytes", 0) / 2**20, cpu.get("usageCoreNanoSeconds", 0) / 1e9
                    )
    return found


def _of_process(pid: int) -> Usage:
    folder = Path("/proc") / str(pid)
    fields = (folder / "stat").read_text().rpartition(")")[2].split()
    resident = next(
        line for line in (folder / "status").read_text().splitlines() if line.startswith("VmRSS:")
    )
    return Usage(int(resident.split()[1]) / 1024, (int(fields[11]) + int(fields[12])) / TICKS)


def idle_percent(before: dict[str, Usage], after: dict[str, Usage], seconds: float) -> dict[str, float]:
    """Processor use of each replica that is in both readings, in per cent of one core."""
    return {
        name: (after[name].cpu_s - before[name].cpu_s) / seconds * 100
        for name in sorted(before.keys() & after.keys())
    }
