"""The controller waits for its kinds: kopf never sees a definition that appears between its first look and its watch."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

import pytest

from controller import connection
from wakeful.kit.kube import CRDS, ApiError, KubeClient, Resource, read_kubeconfig

KINDS = (Resource("example.com", "v1", "apples"), Resource("example.com", "v1", "pears"))

pytestmark = pytest.mark.platform


def definition(kind: Resource) -> dict[str, Any]:
    singular = kind.plural.removesuffix("s")
    schema = {"openAPIV3Schema": {"type": "object", "x-kubernetes-preserve-unknown-fields": True}}
    version = {"name": kind.version, "served": True, "storage": True, "schema": schema}
    names = {"plural": kind.plural, "singular": singular, "kind": singular.capitalize()}
    return {
        "apiVersion": "apiextensions.k8s.io/v1",
        "kind": "CustomResourceDefinition",
        "metadata": {"name": f"{kind.plural}.{kind.group}"},
        "spec": {"group": kind.group, "scope": "Namespaced", "names": names, "versions": [version]},
    }


async def test_it_waits_until_every_kind_is_served(kubeconfig: Path) -> None:
    configuration = await connection.load(kubeconfig)
    async with (
        connection.Api(configuration) as api,
        KubeClient(read_kubeconfig(kubeconfig), "test") as client,
    ):
        waiting = asyncio.create_task(connection.wait_for_kinds(api, KINDS))
        for kind in KINDS:
            with pytest.raises(ApiError):
                await client.list(kind)
            done, _ = await asyncio.wait({waiting}, timeout=0.3)
            assert not done, "it did not wait"
            await client.create(CRDS, None, definition(kind))
        await asyncio.wait_for(waiting, 5)
        await client.list(KINDS[-1])
        never = [Resource("example.com", "v1", "plums")]
        await asyncio.wait_for(connection.wait_for_kinds(api, never, limit_s=0.3), 5)
