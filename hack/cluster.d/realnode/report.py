"""`hack/cluster status`: what of a node runs, with its memory, and whether Knative is available.

Called by __main__.py; changes nothing. Memory of a process is its proportional share (PSS), so that shared pages are
counted once.
"""

from __future__ import annotations

import contextlib
import json
import os
import time
from pathlib import Path
from typing import Any

from realnode import api, box, components, knative
from realnode.node import HERE, KUBERNETES_VERSION, NODE_NAME, Node

TICKS_A_SECOND = os.sysconf("SC_CLK_TCK")
SHOWN_MODULES = (
    "go.etcd.io/etcd/server/v3",
    "knative.dev/serving",
    "knative.dev/net-kourier",
    "knative.dev/eventing",
)


def gather(node: Node) -> dict[str, Any]:
    """Everything that `status` shows, as JSON; `problems` is empty when the node can be used."""
    problems: list[str] = []
    programs = {name: describe(box.pid_of(node, name)) for name in components.COMPONENTS}
    problems += [f"{name} does not run" for name, found in programs.items() if not found]
    if not node.ready_mark.exists():
        problems = (
            ["it is not up (hack/cluster up)"] if not node.run.exists() else ["its start was interrupted"]
        )
    pods = box.pod_processes(node)
    others = set(box.processes(node)) - {found["pid"] for found in programs.values() if found} - set(pods)
    report: dict[str, Any] = {
        "index": node.index,
        "versions": versions(),
        "kubeconfig": str(node.kubeconfig()),
        "api": node.api_url,
        "ingress": node.ingress_url,
        "host_ip": node.host_ip,
        "components": programs,
        "pods": {"processes": len(pods), "memory_bytes": sum(map(memory_bytes, pods))},
        "shims": {"processes": len(others), "memory_bytes": sum(map(memory_bytes, others))},
    }
    if programs["apiserver"]:
        report["deployments"] = deployments(node, problems)
    return {**report, "problems": problems}


def deployments(node: Node, problems: list[str]) -> dict[str, str]:
    """Available of all Deployments, a namespace of Knative; adds what is wrong to `problems`."""
    client = api.Api(node, timeout_s=5)
    shown = {}
    try:
        if message := api.lacks("Ready")(client.get(f"/api/v1/nodes/{NODE_NAME}") or {"metadata": {}}):
            problems.append(f"the node {message}")
        for namespace in knative.NAMESPACES:
            found = client.get(f"/apis/apps/v1/namespaces/{namespace}/deployments") or {"items": []}
            good = sum(api.condition(item, "Available") == "True" for item in found["items"])
            shown[namespace] = f"{good}/{len(found['items'])}"
            if message := api.all_lack("Available")(found):
                problems.append(f"{namespace} {message}")
    except OSError as error:
        problems.append(f"the API server does not answer: {error}")
    return shown


def describe(pid: int) -> dict[str, Any] | None:
    if not pid:
        return None
    up_s = time.clock_gettime(time.CLOCK_BOOTTIME) - int(box.started(pid) or 0) / TICKS_A_SECOND
    return {"pid": pid, "memory_bytes": memory_bytes(pid), "up_s": round(up_s, 1)}


def memory_bytes(pid: int) -> int:
    with contextlib.suppress(OSError):
        for line in Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines():
            if line.startswith("Pss:"):
                return int(line.split()[1]) << 10
    return 0


def versions() -> dict[str, str]:
    found = {"kubernetes": KUBERNETES_VERSION}
    for line in (HERE / "go.mod").read_text().splitlines():
        words = line.removeprefix("require ").split()
        if len(words) >= 2 and words[0] in SHOWN_MODULES:
            found[words[0]] = words[1]
    return found


def render(report: dict[str, Any]) -> str:
    """The report as people read it."""

    def mib(count: int) -> str:
        return f"{count / (1 << 20):6.0f} MiB"

    lines = [f"node {report['index']}: " + ("; ".join(report["problems"]) or "ready")]
    lines.append("  " + ", ".join(f"{name} {version}" for name, version in report["versions"].items()))
    if not any(report["components"].values()):
        return "\n".join(lines)
    total = 0
    for name, found in report["components"].items():
        total += found["memory_bytes"] if found else 0
        state = (
            f"{mib(found['memory_bytes'])}  pid {found['pid']}, up {found['up_s']:.0f} s"
            if found
            else "    down"
        )
        lines.append(f"  {name:20}{state}")
    for name in ("shims", "pods"):
        total += report[name]["memory_bytes"]
        lines.append(f"  {name:20}{mib(report[name]['memory_bytes'])}  {report[name]['processes']} processes")
    lines.append(f"  {'all':20}{mib(total)}")
    lines += [
        f"  {name:20}{count} Deployments available" for name, count in report.get("deployments", {}).items()
    ]
    lines.append(
        f"  ingress {report['ingress']}, API {report['api']}, this machine as pods see it {report['host_ip']}"
    )
    return "\n".join(lines)


def as_json(report: dict[str, Any]) -> str:
    return json.dumps(report, indent=1)
