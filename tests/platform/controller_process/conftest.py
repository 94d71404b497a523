"""A real API server (the embedded one) with config/default in it, and controllers of a test's own on it."""

from __future__ import annotations

import subprocess
import sys
import time
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest
from controller_rig import ADDED, ROOT, SYSTEM, Rig, default_manifests, free_port

from controller.leader import LEASES
from standalone import install
from standalone.processes import Options
from wakeful.kit.discovery import Discovery
from wakeful.kit.kube import KubeClient, read_kubeconfig


@pytest.fixture(scope="module")
def kubeconfig(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """Of a real API server of this module's own."""
    folder = tmp_path_factory.mktemp("api")
    argv = [sys.executable, "-m", "standalone.apiserver", "--data-dir", str(folder), "--port", "0"]
    with (folder / "apiserver.log").open("w") as log:
        process = subprocess.Popen(argv, cwd=ROOT, stdout=log, stderr=log)
    deadline = time.monotonic() + 30
    while '"serving"' not in (folder / "apiserver.log").read_text():
        assert time.monotonic() < deadline, (folder / "apiserver.log").read_text()
        time.sleep(0.05)
    yield folder / "kubeconfig"
    process.terminate()
    process.wait(10)


@pytest.fixture(scope="module")
def webhook_port() -> int:
    """Where the webhook Service of the module's API server leads."""
    return free_port()


@pytest.fixture
async def rig(kubeconfig: Path, webhook_port: int, tmp_path: Path) -> AsyncIterator[Rig]:
    async with KubeClient(read_kubeconfig(kubeconfig), "test") as client:
        await install.install(client, Options(webhook_port=webhook_port))
        await client.delete(LEASES, SYSTEM, "wakeful-controller")  # held by a replica of an earlier test
        discovery = Discovery(client)
        for doc in default_manifests():
            if doc["kind"] in ADDED:
                await client.apply(await discovery.resource_of(doc), SYSTEM, doc)
        found = Rig(client, kubeconfig, tmp_path, webhook_port)
        yield found
        for item in found.replicas:
            if item.process.poll() is None:
                item.process.kill()
                item.process.wait()
