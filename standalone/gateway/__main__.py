"""``python -m standalone.gateway --data-dir D --port 8080``: the composition root of the gateway's process."""

from __future__ import annotations

import argparse
import asyncio
import os
import sys
from dataclasses import replace
from pathlib import Path

from standalone.gateway import admin, reporter
from standalone.gateway.autoscaler import AutoscalerClient
from standalone.gateway.engine import Engine
from standalone.gateway.fleet import Fleet
from standalone.gateway.front import Front
from standalone.gateway.measures import Measures
from standalone.gateway.pods_pool import Address, Pool
from standalone.gateway.settings import Limits
from standalone.layout import Layout
from wakeful.kit import httpserver, lifecycle, logs, tracing
from wakeful.kit.kube import KubeClient, read_kubeconfig

KUBECONFIG_POLL_S = 0.1


def parse(arguments: list[str]) -> argparse.Namespace:
    """The command line."""
    parser = argparse.ArgumentParser(prog="python -m standalone.gateway", description=__doc__)
    parser.add_argument("--data-dir", type=Path, required=True)
    parser.add_argument("--port", type=int, default=8080, help="the one port in, on 127.0.0.1 and [::1]")
    parser.add_argument(
        "--listen-fd", type=int, action="append", help="a listening socket handed down, in place of --port"
    )
    parser.add_argument("--max-body-bytes", type=int, default=0, help="413 above it; 0 (default): no limit")
    parser.add_argument("--log-level", choices=sorted(logs.LEVELS), default="info")
    return parser.parse_args(arguments)


async def main(options: argparse.Namespace) -> int:
    """Run until SIGTERM."""
    stop = lifecycle.stop_event()
    log = logs.get("gateway")
    layout = Layout(options.data_dir.resolve())
    layout.make()
    limits = replace(Limits(), body_bytes=options.max_body_bytes)
    measures = Measures()
    async with AutoscalerClient(layout.socket("autoscaler")) as autoscaler:
        fleet = Fleet(limits, autoscaler)
        events = Pool(Address(path=str(layout.socket("eventing"))), limits)
        tracer = tracing.from_environ(os.environ, "wakeful-gateway")
        engine = Engine(fleet, limits, events, measures, tracer)
        front = Front(limits, engine.serve)
        try:
            port = await front.listen(options.port, options.listen_fd or ())
            runner = await httpserver.start(
                admin.build(fleet, engine, measures), f"unix:{layout.socket('gateway')}"
            )
        except httpserver.ListenError as error:
            print(error, file=sys.stderr)  # noqa: T201 - one sentence for a person, before any log
            return 1
        log.info("gateway listens", port=port)
        try:
            await lifecycle.run_until(
                stop,
                follow(fleet, layout),
                fleet.run_ticks(),
                front.run_sweep(),
                reporter.run_reports(fleet, autoscaler),
            )
        finally:
            await front.stop()
            await fleet.close()
            events.close()
            await runner.cleanup()
            if tracer is not None:
                await asyncio.to_thread(tracer.close)
    return 0


async def follow(fleet: Fleet, layout: Layout) -> None:
    """Read the cluster as soon as there is a kubeconfig."""
    while not layout.kubeconfig.exists():  # noqa: ASYNC110 - another process writes it
        await asyncio.sleep(KUBECONFIG_POLL_S)
    async with KubeClient(read_kubeconfig(layout.kubeconfig), "wakeful-gateway") as client:
        await fleet.run(client)


if __name__ == "__main__":
    options = parse(sys.argv[1:])
    logs.set_level(options.log_level)
    sys.exit(lifecycle.run(main(options)))
