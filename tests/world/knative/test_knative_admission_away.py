"""A pod webhook whose server is still starting delays pods by tenths of a second and is no failure of the revision."""

import asyncio
import socket
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from knative_world import REVISIONS, Platform, condition

from standalone.knative import deployments
from standalone.knative.deployments import DeploymentController, Refusal
from standalone.knative.pod_index import PodIndex
from wakeful.core.api import conditions
from wakeful.kit.kube import DEPLOYMENTS, Obj, Resource

WEBHOOKS = Resource("admissionregistration.k8s.io", "v1", "mutatingwebhookconfigurations", namespaced=False)
DEPLOYMENT = "svc-00001-deployment"


@asynccontextmanager
async def dead_webhook(platform: Platform) -> AsyncIterator[None]:
    """Every pod of this test's namespace has to be admitted by a server that nobody started."""
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    name = f"dead-{platform.namespace}"
    rule = {"apiGroups": [""], "apiVersions": ["v1"], "operations": ["CREATE"], "resources": ["pods"]}
    webhook: Obj = {
        "name": "pods.example.com",
        "clientConfig": {"url": f"https://127.0.0.1:{port}/mutate"},
        "rules": [rule],
        "namespaceSelector": {"matchLabels": {"kubernetes.io/metadata.name": platform.namespace}},
        "admissionReviewVersions": ["v1"],
        "sideEffects": "None",
        "failurePolicy": "Fail",
    }
    kind = {"apiVersion": "admissionregistration.k8s.io/v1", "kind": "MutatingWebhookConfiguration"}
    await platform.client.create(WEBHOOKS, None, {**kind, "metadata": {"name": name}, "webhooks": [webhook]})
    try:
        yield
    finally:
        await platform.client.delete(WEBHOOKS, None, name)


async def test_pods_come_as_soon_as_the_webhook_can_be_reached(platform: Platform) -> None:
    async with dead_webhook(platform):
        await platform.apply()
        seen = await platform.until(DEPLOYMENTS, DEPLOYMENT, lambda d: "conditions" in d.get("status", {}))
        deadline = time.monotonic() + 1.0
        while time.monotonic() < deadline:
            assert not conditions.read(seen["status"], "ReplicaFailure").is_true, seen["status"]
            await asyncio.sleep(0.1)
            seen = await platform.get(DEPLOYMENTS, DEPLOYMENT)
        revision = await platform.get(REVISIONS, "svc-00001")
        assert condition(revision, "Ready")[0] == "Unknown"
        assert not await platform.pods()
    await platform.until(REVISIONS, "svc-00001", lambda r: condition(r, "Ready")[0] == "True", within_s=3)


async def test_it_is_told_when_it_lasts(platform: Platform) -> None:
    controller = DeploymentController(platform.serving.world, PodIndex(platform.serving.world))
    key = (platform.namespace, "some")
    refusal = Refusal('failed calling webhook "x"', is_passing=True)
    told, retry_s = controller._judge(key, refusal)
    assert (told, retry_s) == ("", deployments.FIRST_TRY_AGAIN_S)
    controller._troubles[key].since -= deployments.PATIENCE_S + 1
    waits = [controller._judge(key, refusal) for _ in range(10)]
    assert {text for text, _ in waits} == {refusal.text}
    assert [w for _, w in waits][:3] == [0.2, 0.4, 0.8]
    assert waits[-1][1] == deployments.REFUSED_AGAIN_S
    assert controller._judge(key, None) == ("", None)
    assert controller._judge(key, Refusal("quota", is_passing=False)) == ("quota", 5.0)
