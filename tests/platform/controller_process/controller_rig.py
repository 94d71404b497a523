"""A controller process of a test's own, and the cluster it works on."""

from __future__ import annotations

import asyncio
import contextlib
import signal
import socket
import subprocess
import sys
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import aiohttp
import yaml

from wakeful.kit.kube import KubeClient, Resource

ROOT = Path(__file__).resolve().parents[3]
SYSTEM = "wakeful-system"
ADDED = ("Lease", "Deployment", "ConfigMap", "PodDisruptionBudget", "NetworkPolicy")
"""Kinds of config/default that `wakeful up` leaves out."""


@dataclass
class Replica:
    """One controller process."""

    name: str
    process: subprocess.Popen[bytes]
    admin: Path
    log: Path

    async def page(self, path: str) -> str:
        """A page of its admin socket; "" while there is none."""
        connector = aiohttp.UnixConnector(str(self.admin))
        try:
            async with (
                aiohttp.ClientSession(connector=connector) as session,
                session.get(f"http://c{path}") as answer,
            ):
                return await answer.text()
        except (aiohttp.ClientError, OSError):
            return ""

    async def leads(self) -> bool:
        return "wakeful_leader 1.0" in await self.page("/metrics")

    async def is_ready(self) -> bool:
        return await self.page("/healthz") == "ok"

    def end(self, number: signal.Signals = signal.SIGTERM) -> None:
        self.process.send_signal(number)
        self.process.wait(15)


@dataclass
class Rig:
    """The cluster of one test."""

    client: KubeClient
    kubeconfig: Path
    folder: Path
    webhook_port: int
    replicas: list[Replica] = field(default_factory=list)

    def start(self, name: str, *flags: str, port: int | None = None) -> Replica:
        """A controller; ``port`` None is the port that the webhook Service leads to."""
        admin, log = self.folder / f"{name}.sock", self.folder / f"{name}.log"
        listen = f"tcp:127.0.0.1:{self.webhook_port if port is None else port}"
        argv = [sys.executable, "-m", "controller", "--kubeconfig", str(self.kubeconfig), "--identity", name]
        argv += ["--webhook-listen", listen, "--admin", f"unix:{admin}", *flags]
        with log.open("ab") as file:
            process = subprocess.Popen(argv, cwd=ROOT, stdout=file, stderr=file)
        self.replicas.append(Replica(name, process, admin, log))
        return self.replicas[-1]

    async def until(self, ask: Callable[[], Any], what: str, deadline_s: float = 30.0) -> Any:
        """The first true answer of ``ask``; fails with the logs of the controllers."""
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(deadline_s):
                while True:
                    found = await ask()
                    if found:
                        return found
                    await asyncio.sleep(0.05)
        logs = "\n".join(item.log.read_text()[-1500:] for item in self.replicas)
        raise AssertionError(f"{what}\n{logs}")

    async def condition(self, resource: Resource, namespace: str, name: str, type_: str) -> dict[str, Any]:
        """A condition of an object; {} where there is none."""
        found = await self.client.find(resource, namespace, name) or {}
        conditions = (found.get("status") or {}).get("conditions") or []
        return next((item for item in conditions if item["type"] == type_), {})


def free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as free:
        return int(free.getsockname()[1])


def default_manifests() -> list[dict[str, Any]]:
    """What ``kubectl apply -k config/default`` sends."""
    argv = ["kubectl", "kustomize", str(ROOT / "config" / "default")]
    done = subprocess.run(argv, capture_output=True, text=True, check=True, timeout=60)
    return list(yaml.load_all(done.stdout, Loader=getattr(yaml, "CSafeLoader", yaml.SafeLoader)))
