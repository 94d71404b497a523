"""One embedded API server a session, Serving and a stand-in node a test."""

import asyncio
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import apiserver_rig
import pytest
from knative_world import Node, Platform
from waiting_rig import until

from standalone.knative.serving import Serving
from wakeful.kit.kube import NAMESPACES, KubeClient


@pytest.fixture(scope="session")
def data_dir(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    with apiserver_rig.running(tmp_path_factory.mktemp("knative")) as folder:
        yield folder


@pytest.fixture
async def platform(data_dir: Path) -> AsyncIterator[Platform]:
    async with KubeClient(await apiserver_rig.connect(data_dir), "knative") as client:
        if await client.find(NAMESPACES, None, "knative-serving") is None:
            await client.create(NAMESPACES, None, apiserver_rig.namespace_of("knative-serving"))
        await apiserver_rig.install(client, sorted(apiserver_rig.MANIFESTS.glob("serving-*.yaml")))
        async with apiserver_rig.own_namespace(client) as namespace:
            serving, node = Serving(client, 8080), Node(client)
            tasks = [asyncio.create_task(serving.run()), asyncio.create_task(node.informer.run())]
            await until(lambda: serving.is_synced or any(task.done() for task in tasks))
            assert not [task for task in tasks if task.done()]
            try:
                yield Platform(client, serving, node, namespace)
            finally:
                ended = [task for task in tasks if task.done()]
                for task in tasks:
                    task.cancel()
                await asyncio.gather(*tasks, return_exceptions=True)
                assert not ended, ended
