"""``python -m standalone.knative``: Serving and Eventing control planes and the autoscaler, in one process.

Composition root: settings, the API client, Serving, Eventing (``standalone.knative.eventing``), ``autoscaler.sock``.
It waits for the kubeconfig and for Knative's kinds, so it may be started before everything else.

Invariant: no request passes this process; killed at any moment, the next one goes on from the API server's state.
"""

from __future__ import annotations

import argparse
import asyncio
import sys
from dataclasses import dataclass
from pathlib import Path

import aiohttp
from prometheus_client import CollectorRegistry

from standalone.knative import eventing
from standalone.knative.autoscaler_http import build_app
from standalone.knative.metrics import ScalerCollector
from standalone.knative.pod_usage import NodeUsage
from standalone.knative.resources import (
    AUTOSCALERS,
    CONFIGURATIONS,
    DOMAIN_MAPPINGS,
    INGRESSES,
    KSERVICES,
    REVISIONS,
    ROUTES,
)
from standalone.knative.serving import Serving
from standalone.layout import Layout
from wakeful.kit import httpserver, lifecycle, logs
from wakeful.kit.kube import CRDS, ApiError, Credentials, KubeClient, read_kubeconfig

POLL_S = 0.1
NEEDED = frozenset(
    f"{r.plural}.{r.group}"
    for r in (KSERVICES, CONFIGURATIONS, REVISIONS, ROUTES, DOMAIN_MAPPINGS, AUTOSCALERS, INGRESSES)
)


@dataclass(frozen=True, slots=True)
class Settings:
    """The command line."""

    layout: Layout
    """Where kubeconfig and sockets are."""
    gateway_port: int
    """The gateway's port, shown in URLs when it is not 80."""


def parse_settings(arguments: list[str]) -> Settings:
    parser = argparse.ArgumentParser(prog="python -m standalone.knative", allow_abbrev=False)
    parser.add_argument("--data-dir", type=Path, required=True, help="the platform's data directory")
    parser.add_argument("--gateway-port", type=int, default=8080, help="the gateway's port (1-65535)")
    found = parser.parse_args(arguments)
    if not 1 <= found.gateway_port <= 65535:
        parser.error(f"--gateway-port is {found.gateway_port}, want 1 to 65535")
    return Settings(Layout(found.data_dir.resolve()), found.gateway_port)


async def wait_for_credentials(path: Path) -> Credentials:
    """The API server writes the kubeconfig at its first start."""
    while True:
        try:
            return read_kubeconfig(path)
        except ValueError:
            await asyncio.sleep(POLL_S)


async def wait_for_kinds(client: KubeClient) -> None:
    """``wakeful up`` installs Knative's kinds once the API server answers."""
    while True:
        try:
            found = await client.list(CRDS)
            if {item["metadata"]["name"] for item in found["items"]} >= NEEDED:
                return
        except (ApiError, aiohttp.ClientError, OSError):
            pass
        await asyncio.sleep(POLL_S)


async def main(settings: Settings) -> int:
    log = logs.get("knative")
    stop = lifecycle.stop_event()
    state: dict[str, Serving] = {}

    def wrong() -> str | None:
        serving = state.get("serving")
        return None if serving and serving.is_synced else "waiting for the API server and Knative's kinds"

    async def run() -> None:
        credentials = await wait_for_credentials(settings.layout.kubeconfig)
        async with KubeClient(credentials, "knative") as client:
            await wait_for_kinds(client)
            serving = state["serving"] = Serving(
                client, settings.gateway_port, NodeUsage(settings.layout.socket("node"))
            )
            registry = CollectorRegistry()
            registry.register(ScalerCollector(serving.autoscaler))
            listen = f"unix:{settings.layout.socket('autoscaler')}"
            runner = await httpserver.start(build_app(serving.autoscaler, wrong, registry), listen)
            log.info("listening", address=listen)
            try:
                await asyncio.gather(serving.run(), eventing.run(client, settings))
            finally:
                await runner.cleanup()

    status = 0
    try:
        await lifecycle.run_until(stop, run())
    except* httpserver.ListenError as group:
        log.error("cannot start", error=str(group.exceptions[0]))
        status = 1
    return status


if __name__ == "__main__":
    sys.exit(lifecycle.run(main(parse_settings(sys.argv[1:]))))
