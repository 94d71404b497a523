"""The node's process: settings, adapters, run. See docs/explanation/standalone.md for its command line.

    python -m standalone.node --data-dir D --gateway-port P [--images FILE] [--local-models FOLDER] [--keep-pods]

SIGTERM ends the pods in order and then the shims, unless ``--keep-pods``. ``--end-pods`` only does that: for what a
killed node left running. Invariant: the pods' processes outlive this one only by ``kill -9`` or ``--keep-pods``.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import sys
from pathlib import Path

from standalone.layout import Layout
from standalone.node import preload, service
from standalone.node.context import Settings
from standalone.node.images import ImageTable, ImageTableError
from standalone.node.limits import Cgroups
from standalone.node.probing import Prober
from standalone.node.process_runtime import ProcessRuntime
from standalone.node.shim_client import ShimError
from wakeful.kit import httpserver, lifecycle, logs
from wakeful.kit.kube import Credentials, KubeClient, read_kubeconfig

PRELOAD_WAIT_S = 5.0

log = logs.get("node")


def parse(argv: list[str]) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="standalone.node", description="Runs pods as local processes.")
    parser.add_argument("--data-dir", type=Path, required=True)
    parser.add_argument("--gateway-port", type=int, default=8080)
    parser.add_argument(
        "--images", type=Path, help="image table asked before D/images.yaml and the shipped one"
    )
    parser.add_argument("--local-models", type=Path, action="append", default=[], metavar="FOLDER")
    parser.add_argument("--restart-base-s", type=float, default=Settings().restart_base_s)
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
    keeping = asyncio.create_task(_keep_shims(layout, processes))
    try:
        credentials = await _wait_for_kubeconfig(layout, stop)
        if credentials is not None:
            async with KubeClient(credentials, "wakeful-node") as client, Prober() as prober:
                parts = service.Parts(layout, table, cgroups, processes, client, prober)
                await service.run(parts, options, stop)
    finally:
        keeping.cancel()
        await asyncio.gather(keeping, return_exceptions=True)
        await processes.close(is_ending=not options.keep_pods)
        cgroups.close()
    return 0


async def _keep_shims(layout: Layout, processes: ProcessRuntime) -> None:
    """Fork servers import for seconds: they begin when the platform is ready, or after ``PRELOAD_WAIT_S``."""
    end = asyncio.get_running_loop().time() + PRELOAD_WAIT_S
    # Another process makes the file, so there is no event to wait for.
    while not layout.ready.exists() and asyncio.get_running_loop().time() < end:  # noqa: ASYNC110
        await asyncio.sleep(0.05)
    await processes.keep()


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
