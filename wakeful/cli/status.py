"""``wakeful status``: is it running, on which ports, how each process does, and which InferenceServices it serves.

Asks the processes' own health sockets and the API server; reads nothing else. Exit status 0 only if all is well, so
that scripts can use it.
"""

from __future__ import annotations

import argparse
import asyncio

import aiohttp

from standalone import health, instance
from standalone.layout import Layout
from standalone.processes import Options, build_processes
from wakeful.kit.kube import ApiError, KubeClient, Obj, Resource, read_kubeconfig

ISVC = Resource("serving.kserve.io", "v1beta1", "inferenceservices")


def run(options: argparse.Namespace) -> int:
    """Print the tables; 0 when every process is healthy."""
    layout = Layout(options.data_dir)
    record = instance.read(layout)
    if record is None or not instance.is_locked(layout):
        print(f"not running (data directory {layout.data_dir}); start it with `wakeful up`")
        return 1
    return asyncio.run(_show(layout, record))


async def _show(layout: Layout, record: instance.Record) -> int:
    print(f"models  http://NAME.NAMESPACE.localhost:{record.port}")
    print(f"api     https://127.0.0.1:{record.api_port}  (export KUBECONFIG={layout.kubeconfig})\n")
    all_well = True
    print(f"{'PROCESS':<12}{'PID':<9}{'RESTARTS':<10}STATE")
    for process in build_processes(layout, Options(record.port, record.api_port)):
        state = await health.ask(process.admin)
        all_well = all_well and state == health.OK
        pid = record.processes[process.name].pid if process.name in record.processes else "-"
        print(f"{process.name:<12}{pid!s:<9}{record.restarts.get(process.name, 0)!s:<10}{state}")
    await _show_services(layout)
    return 0 if all_well else 1


async def _show_services(layout: Layout) -> None:
    try:
        async with KubeClient(read_kubeconfig(layout.kubeconfig), "wakeful-status", timeout_s=5) as client:
            items = (await client.list(ISVC)).get("items") or []
    except (ApiError, aiohttp.ClientError, OSError, ValueError, TimeoutError) as error:
        print(f"\nInferenceServices cannot be listed: {error}")
        return
    print(
        f"\n{'INFERENCESERVICE':<32}{'READY':<9}{'URL':<44}REASON" if items else "\nno InferenceServices yet"
    )
    for item in items:
        ready = _ready(item)
        name = f"{item['metadata']['namespace']}/{item['metadata']['name']}"
        url = (item.get("status") or {}).get("url", "-")
        print(
            f"{name:<32}{ready.get('status', 'Unknown'):<9}{url:<44}{ready.get('message') or ready.get('reason') or ''}"
        )


def _ready(item: Obj) -> Obj:
    conditions = (item.get("status") or {}).get("conditions") or []
    return next((condition for condition in conditions if condition["type"] == "Ready"), {})
