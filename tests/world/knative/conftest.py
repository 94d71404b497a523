"""One embedded API server a session, Serving and a stand-in node a test."""

import asyncio
import subprocess
import sys
import time
import uuid
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest
import yaml
from knative_world import Node, Platform, make_namespace

from standalone.knative.serving import Serving
from wakeful.kit.kube import CONFIGMAPS, CRDS, NAMESPACES, ApiError, Credentials, KubeClient, read_kubeconfig

ROOT = Path(__file__).resolve().parents[3]
MANIFESTS = ROOT / "standalone" / "knative" / "manifests"
RESOURCES = {"Namespace": NAMESPACES, "CustomResourceDefinition": CRDS, "ConfigMap": CONFIGMAPS}


@pytest.fixture(scope="session")
def data_dir(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    folder = tmp_path_factory.mktemp("knative")
    argv = [sys.executable, "-m", "standalone.apiserver", "--data-dir", str(folder), "--port", "0"]
    with (folder / "apiserver.log").open("w") as log:
        process = subprocess.Popen(argv, cwd=ROOT, stdout=log, stderr=log)
    try:
        yield folder
    finally:
        process.terminate()
        process.wait(10)


async def connect(folder: Path) -> Credentials:
    """Wait until the API server answers."""
    deadline = time.monotonic() + 15
    while True:
        try:
            credentials = read_kubeconfig(folder / "kubeconfig")
            async with KubeClient(credentials, "test") as client:
                await client.list(NAMESPACES)
            return credentials
        except (ValueError, OSError):
            assert time.monotonic() < deadline, (folder / "apiserver.log").read_text()
            await asyncio.sleep(0.05)


async def install(client: KubeClient) -> None:
    for path in sorted(MANIFESTS.glob("serving-*.yaml")):
        for doc in yaml.safe_load_all(path.read_text()):
            namespace = doc["metadata"].get("namespace")
            if await client.find(RESOURCES[doc["kind"]], namespace, doc["metadata"]["name"]) is None:
                await client.apply(RESOURCES[doc["kind"]], namespace, doc)


@pytest.fixture
async def platform(data_dir: Path) -> AsyncIterator[Platform]:
    async with KubeClient(await connect(data_dir), "knative") as client:
        if await client.find(NAMESPACES, None, "knative-serving") is None:
            await client.create(
                NAMESPACES,
                None,
                {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": "knative-serving"}},
            )
        await install(client)
        namespace = f"t{uuid.uuid4().hex[:8]}"
        await make_namespace(client, namespace)
        serving, node = Serving(client, 8080), Node(client)
        tasks = [asyncio.create_task(serving.run()), asyncio.create_task(node.informer.run())]
        while not serving.is_synced:
            await asyncio.sleep(0.01)
            for task in tasks:
                assert not task.done(), task
        try:
            yield Platform(client, serving, node, namespace)
        finally:
            for task in tasks:
                assert not task.done(), task
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)
            try:
                await client.delete(NAMESPACES, None, namespace)
            except ApiError as error:
                assert error.code in (404, 409)
