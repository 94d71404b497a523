"""A controller that starts sends no request for what its predecessor has applied, and one for what differs."""

from __future__ import annotations

import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from controller import connection
from controller.cache import INFERENCE_SERVICES, KNATIVE_INGRESSES, KNATIVE_SERVICES, Cache
from controller.cluster import KubernetesCluster
from controller.desired import ingress
from controller.desired import service as services
from controller.facts import Facts
from standalone.install import install
from standalone.processes import Options
from wakeful.core.api import inferenceservice
from wakeful.kit.kube import SERVICES, KubeClient, Obj, Resource, read_kubeconfig

ROOT = Path(__file__).resolve().parents[3]
ISVC: Obj = {
    "apiVersion": "serving.kserve.io/v1beta1",
    "kind": "InferenceService",
    "metadata": {"name": "m", "namespace": "default"},
    "spec": {"predictor": {"containers": [{"image": "i"}]}},
}
WEBHOOKS = Resource("admissionregistration.k8s.io", "v1", "{}webhookconfigurations", namespaced=False)

KINDS = {
    INFERENCE_SERVICES: "InferenceService",
    KNATIVE_SERVICES: "Service",
    KNATIVE_INGRESSES: "Ingress",
    SERVICES: "Service",
}

pytestmark = pytest.mark.platform


@pytest.fixture
def kubeconfig(tmp_path: Path) -> Iterator[Path]:
    """Of a real API server of this test's own."""
    argv = [sys.executable, "-m", "standalone.apiserver", "--data-dir", str(tmp_path), "--port", "0"]
    log = tmp_path / "apiserver.log"
    with log.open("w") as out:
        process = subprocess.Popen(argv, cwd=ROOT, stdout=out, stderr=out)
    deadline = time.monotonic() + 15
    while '"serving"' not in log.read_text():
        assert time.monotonic() < deadline, log.read_text()
        time.sleep(0.05)
    yield tmp_path / "kubeconfig"
    process.terminate()
    process.wait(10)


async def prepare(kubeconfig: Path) -> Obj:
    """The kinds, and an InferenceService that owns what the test makes; no webhook answers here."""
    async with KubeClient(read_kubeconfig(kubeconfig), "test") as client:
        await install(client, Options())
        for kind in ("mutating", "validating"):
            await client.delete(replace(WEBHOOKS, plural=f"{kind}webhookconfigurations"), None, "wakeful")
        return await client.create(INFERENCE_SERVICES, "default", ISVC)


def children(isvc: Obj) -> list[Obj]:
    """One of each kind, with lists of every sort in them."""
    owner = inferenceservice.parse(isvc)
    container: dict[str, Any] = {
        "name": "kserve-container",
        "image": "i",
        "args": ["--a", "--b"],
        "env": [{"name": "A", "value": "1"}, {"name": "B", "value": "2"}],
        "ports": [{"containerPort": 8080}],
        "resources": {"limits": {"cpu": "1"}},
        "volumeMounts": [{"name": "v", "mountPath": "/v"}],
    }
    template = {
        "metadata": {"labels": {"l": "1"}, "annotations": {"autoscaling.knative.dev/min-scale": "0"}},
        "spec": {"containers": [container], "volumes": [{"name": "v", "emptyDir": {}}]},
    }
    metadata = {
        "namespace": "default",
        "labels": {"x": "y"},
        "ownerReferences": [services.owner_reference(owner)],
    }
    service = {
        "apiVersion": "serving.knative.dev/v1",
        "kind": "Service",
        "metadata": {**metadata, "name": "m-predictor", "annotations": {"n": "1"}},
        "spec": {"template": template, "traffic": [{"latestRevision": True, "percent": 100}]},
    }
    splits = [{"serviceName": "s", "serviceNamespace": "default", "servicePort": 80, "percent": 100}]
    rule = {"hosts": ["m.example.com"], "visibility": "ExternalIP", "http": {"paths": [{"splits": splits}]}}
    gate = {
        "apiVersion": "networking.internal.knative.dev/v1alpha1",
        "kind": "Ingress",
        "metadata": {**metadata, "name": "m"},
        "spec": {"httpOption": "Enabled", "rules": [rule]},
    }
    return [service, gate, ingress.build_alias(owner, "gateway.example.svc")]


async def fill(api: connection.Api) -> Cache:
    """What kopf's first lists would tell a controller that starts."""
    cache = Cache()
    for resource in KINDS:
        for item in (await api.request("GET", resource.path()))["items"]:
            cache.put(resource, {"apiVersion": resource.api_version, "kind": KINDS[resource], **item})
    return cache


async def test_a_successor_applies_only_what_differs(kubeconfig: Path) -> None:
    isvc = await prepare(kubeconfig)
    asked: list[str] = []
    configuration = await connection.load(kubeconfig)
    async with connection.Api(configuration, lambda method, path, code: asked.append(method)) as api:
        facts = Facts(api, "wakeful-system")
        first = KubernetesCluster(api, await fill(api), facts)
        for child in children(isvc):
            await first.apply(child)
            await first.apply(child)
        assert asked.count("PATCH") == 3, "a controller applies each child once"

        second = KubernetesCluster(api, await fill(api), facts)
        for child in children(isvc):
            await second.apply(child)
        assert asked.count("PATCH") == 3, "its successor sends nothing"

        service = children(isvc)[0]
        del service["spec"]["template"]["spec"]["containers"][0]["env"][1]
        written = await second.apply(service)
        assert asked.count("PATCH") == 4
        env = written["spec"]["template"]["spec"]["containers"][0]["env"]
        assert env == [{"name": "A", "value": "1"}]
