"""A real API server and `python -m eventing` a session, the Eventing controller a test; no node, no gateway."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import aiohttp
import apiserver_rig
import pytest
from eventing_world import EventProcess, Subscriber, World, subscribing

from standalone.knative.eventing import Eventing
from wakeful.kit.kube import CRDS, KubeClient

CRD_FILES = (
    apiserver_rig.MANIFESTS / "eventing-crds.yaml",
    apiserver_rig.MANIFESTS / "serving-crds.yaml",
    apiserver_rig.ROOT / "config" / "crd" / "inferenceservices.yaml",
)


@pytest.fixture(scope="session")
def data_dir(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    with apiserver_rig.running(tmp_path_factory.mktemp("events")) as folder:
        yield folder


@pytest.fixture
async def client(data_dir: Path) -> AsyncIterator[KubeClient]:
    async with KubeClient(await apiserver_rig.connect(data_dir), "test") as made:
        if await made.find(CRDS, None, "inferenceservices.serving.kserve.io") is None:
            await apiserver_rig.install(made, CRD_FILES, ("CustomResourceDefinition",))
        yield made


@pytest.fixture
async def world(client: KubeClient) -> AsyncIterator[World]:
    """A namespace, and the controller that keeps Brokers and Triggers right."""
    async with apiserver_rig.own_namespace(client) as namespace:
        running = asyncio.create_task(Eventing(client, 8080).run())
        try:
            yield World(client, namespace)
        finally:
            assert not running.done(), running
            running.cancel()
            await asyncio.gather(running, return_exceptions=True)


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
