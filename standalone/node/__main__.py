"""The node's process: settings, adapters, run. See docs/explanation/standalone.md for its command line.

    python -m standalone.node --data-dir D --gateway-port P [--images FILE] [--keep-pods]

SIGTERM ends the pods in order and then the shims, unless ``--keep-pods``. ``--end-pods`` only does that: for what a
killed node left running. Invariant: the pods' processes outlive this one only by ``kill -9`` or ``--keep-pods``.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import os
import sys
from importlib import metadata
from pathlib import Path

from aiohttp import web

from standalone.layout import Layout
from standalone.node import launch, node_object, preload
from standalone.node import engine as engines
from standalone.node.addresses import PortAllocator
from standalone.node.api import ApiCluster
from standalone.node.claims import Claims
from standalone.node.context import Node, Settings
from standalone.node.events import Recorder
from standalone.node.images import ImageTable, ImageTableError
from standalone.node.limits import Cgroups
from standalone.node.pods import Pods
from standalone.node.probing import Prober
from standalone.node.process_runtime import ProcessRuntime
from standalone.node.shim_client import ShimError
from wakeful.kit import httpserver, lifecycle, logs
from wakeful.kit.kube import Credentials, KubeClient, read_kubeconfig

log = logs.get("node")


def parse(argv: list[str]) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="standalone.node", description="Runs pods as local processes.")
    parser.add_argument("--data-dir", type=Path, required=True)
    parser.add_argument("--gateway-port", type=int, default=8080)
    parser.add_argument(
        "--images", type=Path, help="image table asked before D/images.yaml and the shipped one"
    )
    parser.add_argument("--restart-base-s", type=float, default=Settings.restart_base_s)
    parser.add_argument("--keep-pods", action="store_true", help="leave pods running on SIGTERM")
    parser.add_argument(
        "--end-pods", action="store_true", help="end what an earlier node left running, and exit"
    )
    parser.add_argument("--no-preload", action="store_true", help="start no fork servers")
    return parser.parse_args(argv)


async def main(options: argparse.Namespace) -> int:
    stop = lifecycle.stop_event()
    layout = Layout(options.data_dir.absolute())
    layout.make()
    files = [*([options.images.absolute()] if options.images else []), layout.data_dir / "images.yaml"]
    table = ImageTable(files, logs.get("node.images"))
    if options.images and not options.images.is_file():
        raise ImageTableError(f"{options.images}: no such file (--images)")
    table.load()
    cgroups = Cgroups(str(layout.data_dir))
    names = () if options.no_preload else tuple(preload.PRELOADS)
    processes = ProcessRuntime(layout.run, layout.logs, names, cgroups)
    if options.end_pods:
        return await _end_pods(processes, cgroups)
    await processes.open()
    keeping = asyncio.create_task(processes.keep())
    try:
        credentials = await _wait_for_kubeconfig(layout, stop)
        if credentials is not None:
            async with KubeClient(credentials, "wakeful-node") as client, Prober() as prober:
                await _serve(options, layout, (table, cgroups, processes), client, prober, stop)
    finally:
        keeping.cancel()
        await asyncio.gather(keeping, return_exceptions=True)
        await processes.close(is_ending=not options.keep_pods)
        cgroups.close()
    return 0


async def _serve(
    options: argparse.Namespace,
    layout: Layout,
    parts: tuple[ImageTable, Cgroups, ProcessRuntime],
    client: KubeClient,
    prober: Prober,
    stop: asyncio.Event,
) -> None:
    table, cgroups, processes = parts
    engine = await engines.find()
    capacity = launch.default_capacity(os.cpu_count() or 1, node_object.memory_bytes(), layout.data_dir)
    facts = node_object.Facts(
        capacity, cgroups.describe(), engine.name if engine else "none", metadata.version("wakeful")
    )
    recorder = Recorder(client)
    known = {**await processes.known(), **(await engine.known() if engine else {})}
    node = Node(
        layout=layout,
        cluster=ApiCluster(client, recorder),
        processes=processes,
        engine=engine,
        table=table,
        prober=prober,
        host=launch.Host(f"http://127.0.0.1:{options.gateway_port}", capacity),
        addresses=PortAllocator(),
        settings=Settings(restart_base_s=options.restart_base_s),
        known=known,
    )
    pods, claims = Pods(node, client), Claims(client, layout.volumes)
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

    app = httpserver.admin_app(wrong)
    app.router.add_get("/pods", describe)
    return app


async def _wait_for_kubeconfig(layout: Layout, stop: asyncio.Event) -> Credentials | None:
    while not stop.is_set():
        try:
            return read_kubeconfig(layout.kubeconfig)
        except ValueError as error:
            log.debug("waiting for the kubeconfig", error=str(error))
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(0.05):
                await stop.wait()
    return None


async def _end_pods(processes: ProcessRuntime, cgroups: Cgroups) -> int:
    await processes.open()
    ended = len(await processes.known())
    await processes.close(is_ending=True)
    cgroups.close()
    log.info("ended what an earlier node left running", containers=ended)
    return 0


def run() -> int:
    try:
        return lifecycle.run(main(parse(sys.argv[1:])))
    except (ImageTableError, ShimError, httpserver.ListenError, OSError) as error:
        log.error("node cannot start", error=str(error))
        return 1


if __name__ == "__main__":
    sys.exit(run())
