"""Pods that the API server refuses: told in the same words each time, tried again at a pace, and at once when changed."""

import asyncio

from knative_world import REVISIONS, Platform, condition

from standalone.knative.deployments import REFUSED_AGAIN_S
from wakeful.core.api import conditions
from wakeful.kit.kube import DEPLOYMENTS, PODS, Resource

ACCOUNTS = Resource("", "v1", "serviceaccounts")
DEPLOYMENT = "svc-00001-deployment"


async def test_a_refused_pod_is_tried_again_at_a_pace(platform: Platform) -> None:
    """Seen: its random name changed the status each time, which asked for a pass at once: 20 tries a second, for ever."""
    tries = 0
    create = platform.serving.world.create

    async def counted(resource, obj):  # type: ignore[no-untyped-def]
        nonlocal tries
        tries += resource is PODS
        return await create(resource, obj)

    platform.serving.world.create = counted  # type: ignore[method-assign]
    await platform.apply(spec={"serviceAccountName": "nobody-here"})
    told = await platform.until(
        DEPLOYMENTS, DEPLOYMENT, lambda d: conditions.read(d.get("status"), "ReplicaFailure").is_true
    )
    text = conditions.read(told["status"], "ReplicaFailure").message
    assert text.startswith(f'pods "{DEPLOYMENT}-') and '-" is forbidden: ' in text
    await platform.until(REVISIONS, "svc-00001", lambda r: condition(r, "Ready")[0] == "False")
    version = (await platform.get(DEPLOYMENTS, DEPLOYMENT))["metadata"]["resourceVersion"]
    await asyncio.sleep(1.0)
    assert tries <= 2
    assert (await platform.get(DEPLOYMENTS, DEPLOYMENT))["metadata"]["resourceVersion"] == version
    account = {"apiVersion": "v1", "kind": "ServiceAccount", "metadata": {"name": "nobody-here"}}
    await platform.client.create(ACCOUNTS, platform.namespace, account)
    await platform.client.patch(DEPLOYMENTS, platform.namespace, DEPLOYMENT, {"spec": {"replicas": 2}})
    is_made = lambda d: (d.get("status") or {}).get("readyReplicas") == 2  # noqa: E731
    await platform.until(DEPLOYMENTS, DEPLOYMENT, is_made, within_s=REFUSED_AGAIN_S - 1.5)
    await platform.ready()
