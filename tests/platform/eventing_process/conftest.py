"""A real API server and `python -m eventing` a session, the Eventing controller a test; no node, no gateway."""

from __future__ import annotations

import asyncio
import subprocess
import sys
import time
import uuid
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import aiohttp
import pytest
import yaml
from eventing_world import EventProcess, Subscriber, World, subscribing

from standalone.knative.eventing import Eventing
from wakeful.kit.kube import CRDS, NAMESPACES, ApiError, Credentials, KubeClient, read_kubeconfig

ROOT = Path(__file__).resolve().parents[3]
MANIFESTS = ROOT / "standalone" / "knative" / "manifests"
LOADER = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
CRD_FILES = (
    MANIFESTS / "eventing-crds.yaml",
    MANIFESTS / "serving-crds.yaml",
    ROOT / "config" / "crd" / "inferenceservices.yaml",
)


@pytest.fixture(scope="session")
def data_dir(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    folder = tmp_path_factory.mktemp("events")
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
    """The kinds, once a session."""
    if await client.find(CRDS, None, "inferenceservices.serving.kserve.io") is not None:
        return
    for path in CRD_FILES:
        for document in yaml.load_all(path.read_text(), Loader=LOADER):
            if document["kind"] == "CustomResourceDefinition":
                await client.create(CRDS, None, document)


@pytest.fixture
async def client(data_dir: Path) -> AsyncIterator[KubeClient]:
    async with KubeClient(await connect(data_dir), "test") as made:
        await install(made)
        yield made


@pytest.fixture
async def world(client: KubeClient) -> AsyncIterator[World]:
    """A namespace, and the controller that keeps Brokers and Triggers right."""
    namespace = f"t{uuid.uuid4().hex[:8]}"
    await client.create(
        NAMESPACES, None, {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": namespace}}
    )
    running = asyncio.create_task(Eventing(client, 8080).run())
    try:
        yield World(client, namespace)
    finally:
        assert not running.done(), running
        running.cancel()
        await asyncio.gather(running, return_exceptions=True)
        try:
            await client.delete(NAMESPACES, None, namespace)
        except ApiError as error:
            assert error.code in (404, 409)


@pytest.fixture
async def process(data_dir: Path, tmp_path: Path) -> AsyncIterator[EventProcess]:
    """`python -m eventing`, with a database of this test's own."""
    async with aiohttp.ClientSession() as session:
        made = EventProcess(tmp_path, data_dir / "kubeconfig", session)
        await made.start()
        try:
            yield made
        finally:
            made.kill()


@pytest.fixture
async def subscriber() -> AsyncIterator[Subscriber]:
    async with subscribing() as made:
        yield made
