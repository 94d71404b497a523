"""The node at work, once it knows the API server: its loops, its admin page, and the order in which it ends.

Called by ``__main__`` with the adapters made there. Invariant: when this returns without ``--keep-pods``, no process of
a pod is left running.
"""

from __future__ import annotations

import argparse
import asyncio
import os
import time
from dataclasses import dataclass
from importlib import metadata

from aiohttp import web

from standalone.layout import Layout
from standalone.node import engine as engines
from standalone.node import launch, node_object
from standalone.node.addresses import PortAllocator
from standalone.node.api import ApiCluster
from standalone.node.claims import Claims
from standalone.node.context import Node, Settings
from standalone.node.events import Recorder
from standalone.node.images import ImageTable
from standalone.node.limits import Cgroups
from standalone.node.pods import Pods
from standalone.node.probing import Prober
from standalone.node.proc_reading import Proc
from standalone.node.process_runtime import ProcessRuntime
from wakeful.kit import httpserver, lifecycle, logs
from wakeful.kit.kube import KubeClient

log = logs.get("node")


@dataclass(frozen=True, slots=True)
class Parts:
    """The adapters of this process."""

    layout: Layout
    table: ImageTable
    cgroups: Cgroups
    processes: ProcessRuntime
    client: KubeClient
    prober: Prober


async def run(parts: Parts, options: argparse.Namespace, stop: asyncio.Event) -> None:
    """Serve pods until ``stop``; then end them, or leave them with ``--keep-pods``."""
    layout, client, processes = parts.layout, parts.client, parts.processes
    engine = await engines.find()
    capacity = launch.default_capacity(os.cpu_count() or 1, node_object.memory_bytes(), layout.data_dir)
    facts = node_object.Facts(
        capacity, parts.cgroups.describe(), engine.name if engine else "none", metadata.version("wakeful")
    )
    recorder, claims = Recorder(client), Claims(client, layout.volumes)
    known = {**await processes.known(), **(await engine.known() if engine else {})}
    node = Node(
        layout=layout,
        cluster=ApiCluster(client, recorder, claims.informer),
        processes=processes,
        engine=engine,
        table=parts.table,
        prober=parts.prober,
        host=launch.Host(
            f"http://127.0.0.1:{options.gateway_port}", capacity, local_models=tuple(options.local_models)
        ),
        addresses=PortAllocator(),
        settings=Settings(restart_base_s=options.restart_base_s),
        known=known,
    )
    pods = Pods(node, client)
    admin = await httpserver.start(_admin(pods, processes, facts), f"unix:{layout.socket('node')}")
    log.info("node started", limits=facts.limits, engine=facts.engine, adopted=len(known))
    recording = asyncio.create_task(recorder.run())
    try:
        await lifecycle.run_until(
            stop,
            pods.informer.run(),
            pods.clean(),
            claims.informer.run(),
            claims.work(),
            node_object.run(client, facts),
        )
    finally:
        await (pods.leave() if options.keep_pods else pods.shutdown())
        await node_object.say_stopped(client, facts)
        await recorder.flush(0.5)
        recording.cancel()
        await asyncio.gather(recording, return_exceptions=True)
        await admin.cleanup()


def _admin(pods: Pods, processes: ProcessRuntime, facts: node_object.Facts) -> web.Application:
    def wrong() -> str | None:
        return None if processes.describe()["plain"] else "the shim is being started again"

    async def describe(_: web.Request) -> web.Response:
        body = {"pods": pods.describe(), "shims": processes.describe(), "limits": facts.limits}
        return web.json_response({**body, "engine": facts.engine})

    async def usage(_: web.Request) -> web.Response:
        found = await asyncio.to_thread(Proc().usage, processes.running())
        body = {id_: {"cpu_s": used.cpu_s, "memory_bytes": used.memory_bytes} for id_, used in found.items()}
        return web.json_response({"at": time.time(), "containers": body})

    app = httpserver.admin_app(wrong)
    app.router.add_get("/pods", describe)
    app.router.add_get("/usage", usage)
    return app
