"""Installing again is quick where nothing changed, and repairs what was deleted."""

from __future__ import annotations

import asyncio
from pathlib import Path

import apiserver_rig

from standalone.install import install
from standalone.processes import Options
from wakeful.kit.kube import CONFIGMAPS, CRDS, KubeClient, Resource

WEBHOOKS = [
    Resource("admissionregistration.k8s.io", "v1", f"{kind}webhookconfigurations", namespaced=False)
    for kind in ("mutating", "validating")
]
DEFINITION = "revisions.serving.knative.dev"


async def remove_webhooks(client: KubeClient) -> None:
    """Nobody serves them here."""
    for resource in WEBHOOKS:
        for found in (await client.list(resource))["items"]:
            await client.delete(resource, None, found["metadata"]["name"])


async def test_what_was_deleted_is_installed_again(tmp_path: Path) -> None:
    """``kubectl delete crd``, and ``wakeful up`` never started again: the set of manifests had not changed."""
    options = Options(webhook_port=9443)
    with apiserver_rig.running(tmp_path) as folder:
        async with KubeClient(await apiserver_rig.connect(folder), "test") as client:
            assert await install(client, options)
            assert not await install(client, options)
            await client.delete(CRDS, None, DEFINITION)
            await remove_webhooks(client)
            await client.delete(CONFIGMAPS, "knative-serving", "config-autoscaler")
            assert await install(client, options)
            assert await client.find(CRDS, None, DEFINITION) is not None
            assert await client.find(CONFIGMAPS, "knative-serving", "config-autoscaler") is not None
            assert not await install(client, options)


async def test_an_installation_waits_for_the_webhooks_of_the_one_before(tmp_path: Path) -> None:
    """After an upgrade with other manifests: the controller, which they need, starts at the same time."""
    with apiserver_rig.running(tmp_path) as folder:
        async with KubeClient(await apiserver_rig.connect(folder), "test") as client:
            assert await install(client, Options(webhook_port=9443))
            upgrading = asyncio.create_task(install(client, Options(webhook_port=9444)))
            done, _ = await asyncio.wait([upgrading], timeout=0.5)
            assert not done
            await remove_webhooks(client)
            assert await asyncio.wait_for(upgrading, 20)
