"""What the controller does and says where it should not be, and the runtimes that come with an installation."""

from __future__ import annotations

from typing import Any

import pytest
import yaml
from controller_rig import SYSTEM, Rig

from controller.cache import CLUSTER_RUNTIMES, INFERENCE_SERVICES, KNATIVE_SERVICES
from controller.platform_watch import VALIDATING
from controller.webhooks.authority import CONFIGURATIONS
from wakeful.kit.kube import CONFIGMAPS, CRDS, DEPLOYMENTS, EVENTS, Obj

pytestmark = [pytest.mark.platform, pytest.mark.timeout(120)]

KSERVE: Obj = {
    "apiVersion": "admissionregistration.k8s.io/v1",
    "kind": "ValidatingWebhookConfiguration",
    "metadata": {"name": "inferenceservice.serving.kserve.io"},
    "webhooks": [],
}


def isvc(name: str) -> Obj:
    return {
        "apiVersion": "serving.kserve.io/v1beta1",
        "kind": "InferenceService",
        "metadata": {"name": name, "namespace": "default"},
        "spec": {"predictor": {"model": {"modelFormat": {"name": "sklearn"}, "storageUri": "pvc://m/iris"}}},
    }


async def standing(rig: Rig) -> tuple[str, str]:
    found = await rig.condition(DEPLOYMENTS, SYSTEM, "wakeful-controller", "PlatformReady")
    return found.get("status", ""), found.get("reason", "")


async def policies(rig: Rig) -> set[str]:
    found = [await rig.client.get(item, None, "wakeful") for item in CONFIGURATIONS]
    return {hook["failurePolicy"] for item in found for hook in item["webhooks"]}


async def test_beside_kserve_it_stands_aside_and_goes_on_when_that_is_gone(rig: Rig) -> None:
    await rig.client.create(VALIDATING, None, KSERVE)
    one = rig.start("one", "--leader-elect")

    async def is_told() -> bool:
        return await standing(rig) == ("False", "KServeInstalled")

    await rig.until(is_told, "the condition does not say it")
    assert "KServe is installed in this cluster" in await one.page("/healthz")

    async def holds_up_nobody() -> bool:
        return await policies(rig) == {"Ignore"}

    await rig.until(holds_up_nobody, "its webhooks would refuse what KServe serves")
    await rig.client.create(INFERENCE_SERVICES, "default", isvc("of-kserve"))

    async def has_event() -> bool:
        events = (await rig.client.list(EVENTS, SYSTEM))["items"]
        return any(item["reason"] == "KServeInstalled" for item in events)

    await rig.until(has_event, "no Event says it")
    await rig.client.delete(VALIDATING, None, KSERVE["metadata"]["name"])
    await rig.until(one.is_ready, "it does not go on")

    async def is_well() -> bool:
        return await standing(rig) == ("True", "PlatformReady")

    await rig.until(is_well, "the condition does not say it")
    await rig.until(
        lambda: rig.client.find(KNATIVE_SERVICES, "default", "of-kserve-predictor"), "it does not act"
    )

    async def refuses_again() -> bool:
        return await policies(rig) == {"Fail"}

    await rig.until(refuses_again, "its webhooks do not refuse")


async def test_definitions_of_somebody_else_are_not_served(rig: Rig) -> None:
    name = "inferenceservices.serving.kserve.io"
    await rig.client.patch(CRDS, None, name, {"metadata": {"labels": {"app.kubernetes.io/part-of": None}}})
    one = rig.start("one", "--leader-elect")

    async def is_told() -> bool:
        return await standing(rig) == ("False", "ForeignDefinitions")

    await rig.until(is_told, "the condition does not say it")
    ours = {"metadata": {"labels": {"app.kubernetes.io/part-of": "wakeful"}}}
    await rig.client.patch(CRDS, None, name, ours)
    await rig.until(one.is_ready, "it does not go on")


async def test_the_runtimes_of_an_installation(rig: Rig) -> None:
    """They come from the ConfigMap; what somebody has changed stays theirs; nonsense is told."""
    one = rig.start("one", "--leader-elect")
    await rig.until(one.is_ready, "not ready")
    await put(rig, shipped("first:1"), nonsense="{", other="kind: Pod")

    async def is_there() -> Any:
        found = await rig.client.find(CLUSTER_RUNTIMES, None, "shipped")
        return found and found["spec"]["containers"][0]["image"] == "first:1"

    await rig.until(is_there, "not applied", 40)
    assert "key nonsense: not YAML" in one.log.read_text()
    assert "key other: not a ClusterServingRuntime" in one.log.read_text()
    await rig.client.apply(CLUSTER_RUNTIMES, None, shipped("mine:1"))
    one.end()
    await put(rig, shipped("second:1"))
    two = rig.start("two", "--leader-elect")

    async def is_told() -> bool:
        return "shipped runtime left as it is" in two.log.read_text()

    await rig.until(is_told, "a conflict is not told", 40)
    found = await rig.client.get(CLUSTER_RUNTIMES, None, "shipped")
    assert found["spec"]["containers"][0]["image"] == "mine:1"


def shipped(image: str) -> Obj:
    container = {"name": "kserve-container", "image": image}
    return {
        "apiVersion": "serving.kserve.io/v1alpha1",
        "kind": "ClusterServingRuntime",
        "metadata": {"name": "shipped"},
        "spec": {"supportedModelFormats": [{"name": "shipped", "version": "1"}], "containers": [container]},
    }


async def put(rig: Rig, runtime: Obj, **more: str) -> None:
    data = {"shipped.yaml": yaml.safe_dump(runtime), **more}
    body = {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "wakeful-runtimes"}, "data": data}
    await rig.client.apply(CONFIGMAPS, SYSTEM, body)
