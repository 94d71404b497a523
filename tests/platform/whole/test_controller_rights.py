"""The controller's own process against a real API server, with no more rights than ``config/rbac`` gives it.

Knative is played by hand: its status is written where the controller waits for it.
"""

from __future__ import annotations

import asyncio
import json
import sys
from collections.abc import AsyncIterator
from pathlib import Path

import aiohttp
import pytest
from aiohttp import web
from guarded_api import Access, Guard, Rules
from waiting_rig import until
from whole_platform import free_port

from controller.cache import CLUSTER_RUNTIMES, INFERENCE_SERVICES, KNATIVE_INGRESSES, KNATIVE_SERVICES
from standalone import install
from standalone.processes import Options
from wakeful.kit.kube import EVENTS, NAMESPACES, ApiError, KubeClient, Obj, Resource, read_kubeconfig

pytestmark = [pytest.mark.platform, pytest.mark.timeout(90)]

ROLE = Path(__file__).resolve().parents[3] / "config" / "rbac" / "role.yaml"
TRUE = [{"type": item, "status": "True"} for item in ("Ready", "RoutesReady", "ConfigurationsReady")]


async def spawn(*command: str) -> asyncio.subprocess.Process:
    return await asyncio.create_subprocess_exec(
        sys.executable, "-m", *command, stderr=asyncio.subprocess.DEVNULL
    )


@pytest.fixture
async def client(tmp_path: Path) -> AsyncIterator[KubeClient]:
    process = await spawn("standalone.apiserver", "--data-dir", str(tmp_path), "--port", str(free_port()))

    async def answers() -> bool:
        try:
            async with KubeClient(read_kubeconfig(tmp_path / "kubeconfig"), "test") as probe:
                await probe.request("GET", "/version")
            return True
        except (OSError, ValueError, aiohttp.ClientError):
            return False

    await until(answers, 30.0, "the API server does not answer")
    async with KubeClient(read_kubeconfig(tmp_path / "kubeconfig"), "test") as found:
        yield found
    process.terminate()
    await process.wait()


async def settled(client: KubeClient, resource: Resource, name: str, status: Obj) -> None:
    """Play Knative: the object exists and is acted on."""
    obj = await until(lambda: client.find(resource, "ns", name), 30.0, f"no {resource.plural} {name}")
    obj["status"] = {"observedGeneration": obj["metadata"]["generation"], "conditions": TRUE} | status
    await client.replace(resource, "ns", obj, "status")


async def guarded(
    client: KubeClient, tmp_path: Path, rules: Rules
) -> tuple[Guard, web.AppRunner, asyncio.subprocess.Process]:
    """The installation, and a controller on it with no more rights than ``rules``; its admin socket is c.sock."""
    port = free_port()
    await install.install(client, Options(webhook_port=port))
    guard = Guard(rules, read_kubeconfig(tmp_path / "kubeconfig"))
    runner, proxy = await guard.start()
    config = {
        "current-context": "c",
        "clusters": [{"name": "c", "cluster": {"server": f"http://127.0.0.1:{proxy}"}}],
        "users": [{"name": "c", "user": {"token": "own"}}],
        "contexts": [{"name": "c", "context": {"cluster": "c", "user": "c"}}],
    }
    (tmp_path / "guarded").write_text(json.dumps(config))
    webhooks, admin = f"tcp:127.0.0.1:{port}", f"unix:{tmp_path}/c.sock"
    flags = ["--kubeconfig", str(tmp_path / "guarded"), "--webhook-listen", webhooks, "--admin", admin]
    return guard, runner, await spawn("controller", *flags)


async def test_it_works_with_the_rights_it_is_given(client: KubeClient, tmp_path: Path) -> None:
    guard, runner, controller = await guarded(client, tmp_path, Rules.read(ROLE, "wakeful-controller"))
    try:
        await client.apply(
            NAMESPACES, None, {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": "ns"}}
        )
        await life_of_one(client)
        controller.terminate()
        async with asyncio.timeout(4):
            assert await controller.wait() == 0, "it ends at once when it is asked to"
    finally:
        if controller.returncode is None:
            controller.kill()
            await controller.wait()
        await runner.cleanup()
    assert guard.denied == set()
    assert {("patch", "services"), ("update", "inferenceservices/status"), ("create", "events")} <= guard.seen
    assert {("delete", "services"), ("delete", "ingresses"), ("watch", "pods")} <= guard.seen


async def test_it_starts_where_it_may_not_read_knatives_configuration(
    client: KubeClient, tmp_path: Path
) -> None:
    """Knative was installed after us: its namespace, and our Role in it, did not exist. Defaults hold meanwhile."""
    rules = Rules.read(ROLE, "wakeful-controller")
    rules.rules = [item for item in rules.rules if item[0] != "knative-serving"]
    guard, runner, controller = await guarded(client, tmp_path, rules)
    try:
        connector = aiohttp.UnixConnector(f"{tmp_path}/c.sock")
        async with aiohttp.ClientSession(connector=connector) as session:

            async def is_ready() -> bool:
                try:
                    async with session.get("http://c/healthz") as answer:
                        return await answer.text() == "ok"
                except aiohttp.ClientError:
                    return False

            await until(is_ready, 30.0, "it does not start")
    finally:
        controller.kill()
        await controller.wait()
        await runner.cleanup()
    assert {item.name for item in guard.denied} == {"config-network", "config-autoscaler"}


async def life_of_one(client: KubeClient) -> None:
    """Applied, ready, stopped."""
    isvc: Obj = {
        "apiVersion": "serving.kserve.io/v1beta1",
        "kind": "InferenceService",
        "metadata": {"name": "iris", "namespace": "ns"},
        "spec": {"predictor": {"sklearn": {"storageUri": "pvc://models/iris"}}},
    }

    async def applied() -> bool:
        try:
            await client.apply(INFERENCE_SERVICES, "ns", isvc)
        except Exception:  # the webhook is not there yet
            return False
        return True

    await until(applied, 30.0, "the webhooks do not answer")
    await ambiguous_runtime(client)
    revision = "iris-predictor-00001"
    traffic = [{"revisionName": revision, "latestRevision": True, "percent": 100}]
    status = {"latestCreatedRevisionName": revision, "latestReadyRevisionName": revision, "traffic": traffic}
    await settled(
        client, KNATIVE_SERVICES, "iris-predictor", status | {"url": "http://iris-predictor.ns.localhost"}
    )
    await settled(
        client, KNATIVE_INGRESSES, "iris", {"privateLoadBalancer": {"ingress": [{"domainInternal": "gw"}]}}
    )

    async def is_ready() -> bool:
        status = (await client.get(INFERENCE_SERVICES, "ns", "iris")).get("status") or {}
        return any(
            item["type"] == "Ready" and item["status"] == "True" for item in status.get("conditions", [])
        )

    await until(is_ready, 30.0, "not Ready")

    async def is_told() -> bool:
        events = (await client.list(EVENTS, "ns"))["items"]
        return any(item["reason"] == "InferenceServiceReady" for item in events)

    await until(is_told, 30.0, "no Event")
    isvc["metadata"]["annotations"] = {"serving.kserve.io/stop": "true"}
    await client.apply(INFERENCE_SERVICES, "ns", isvc)

    async def is_gone() -> bool:
        left = [
            await client.find(KNATIVE_SERVICES, "ns", "iris-predictor"),
            await client.find(KNATIVE_INGRESSES, "ns", "iris"),
        ]
        return left == [None, None]

    await until(is_gone, 30.0, "children are left")


async def ambiguous_runtime(client: KubeClient) -> None:
    """The webhook knows the other runtimes from its first answer on."""
    shipped = await client.get(CLUSTER_RUNTIMES, None, "kserve-sklearnserver")
    twin = {key: shipped[key] for key in ("apiVersion", "kind", "spec")} | {"metadata": {"name": "twin"}}
    with pytest.raises(ApiError, match="kserve-sklearnserver has the same priority 1"):
        await client.create(CLUSTER_RUNTIMES, None, twin)


@pytest.mark.parametrize(
    ("access", "is_allowed"),
    [
        (Access("get", "", "secrets", "wakeful-system", "wakeful-webhook-cert"), False),
        (Access("get", "", "secrets", "wakeful-system", "other"), False),
        (Access("get", "", "secrets", "ns", "wakeful-webhook-cert"), False),
        (Access("list", "", "secrets", "wakeful-system", ""), False),
        (Access("list", "", "namespaces", "", ""), False),
        (Access("update", "serving.kserve.io", "inferenceservices", "ns", "iris"), False),
        (Access("delete", "", "pods", "ns", "p"), False),
    ],
)
def test_rights_it_has_and_has_not(access: Access, is_allowed: bool) -> None:
    assert Rules.read(ROLE, "wakeful-controller").allow(access) is is_allowed
