"""Clients that no one here wrote: KServe's SDK, the Python ``kubernetes`` client, and kubectl's own verbs."""

from __future__ import annotations

import json
import subprocess
from pathlib import Path
from typing import Any

import pytest
from kubernetes import client, dynamic, watch

from e2e import iris, manifests
from e2e.homes.port import Access, Home
from e2e.kube import Kube
from e2e.waiting import until

ROOT = Path(__file__).resolve().parents[1]
SERVICES = ("serving.knative.dev", "v1")
ISVCS = ("serving.kserve.io", "v1beta1")


@pytest.fixture(scope="module")
def claim(kube: Kube, home: tuple[Home, Access], namespace: str, trained: iris.Trained) -> str:
    iris.fill_claim(kube, home, namespace, trained)
    return "pvc://models/iris-v1"


def test_kserves_own_sdk(kube: Kube, namespace: str, claim: str) -> None:
    subprocess.run([ROOT / "hack" / "env", "kserve"], check=True, timeout=600)
    script = Path(__file__).with_name("programs") / "kserve_sdk.py"
    done = subprocess.run(
        [ROOT / "hack" / "env", "kserve", script, namespace, claim],
        env=kube.environment,
        text=True,
        capture_output=True,
        timeout=220,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    said = json.loads(done.stdout.splitlines()[-1])
    assert said["ready"] is True
    assert (said["created"], said["maxReplicas"]) == ("from-sdk", 2)
    assert f"//from-sdk.{namespace}." in said["url"]


def test_knative_services_by_the_python_client(kube: Kube, namespace: str, claim: str) -> None:
    """What `kn service list` shows: name, URL, latest revision, age, conditions, Ready."""
    isvc = manifests.inference_service(
        namespace,
        "listed",
        {"minReplicas": 1, "sklearn": {"storageUri": claim, "resources": manifests.SMALL}},
    )
    api = client.CustomObjectsApi(kube.api)
    api.create_namespaced_custom_object(*ISVCS, namespace, "inferenceservices", isvc)
    until_ready_by_watch(api, namespace, "listed")
    listed: Any = api.list_namespaced_custom_object(*SERVICES, namespace, "services")
    (service,) = [item for item in listed["items"] if item["metadata"]["name"] == "listed-predictor"]
    status = service["status"]
    assert status["url"].startswith(f"http://listed-predictor.{namespace}.")
    assert status["latestReadyRevisionName"] == "listed-predictor-00001"
    assert [entry["status"] for entry in status["conditions"]] == ["True"] * 3

    kinds = dynamic.DynamicClient(kube.api).resources  # type: ignore[no-untyped-call]
    found = kinds.get(api_version="serving.kserve.io/v1beta1", kind="InferenceService")
    assert found.get(name="listed", namespace=namespace).status.url.startswith(f"http://listed.{namespace}.")
    api.delete_namespaced_custom_object(*ISVCS, namespace, "inferenceservices", "listed")
    until(
        lambda: kube.items("KnativeService", namespace),
        60,
        "the Knative Service to go with its owner",
        lambda left: left == [],
    )


def until_ready_by_watch(api: client.CustomObjectsApi, namespace: str, name: str) -> None:
    """Follow the object by the client's own watch until Ready is True."""
    stream = watch.Watch().stream(  # type: ignore[no-untyped-call]
        api.list_namespaced_custom_object,
        *ISVCS,
        namespace,
        "inferenceservices",
        field_selector=f"metadata.name={name}",
        timeout_seconds=90,
    )
    for event in stream:
        conditions = event["object"].get("status", {}).get("conditions", [])
        if any(entry["type"] == "Ready" and entry["status"] == "True" for entry in conditions):
            return
    raise AssertionError(f"{name} was not Ready within the 90 s of the watch")


def test_kubectls_verbs(kube: Kube, namespace: str, claim: str) -> None:
    kube.apply(
        manifests.inference_service(
            namespace,
            "verbs",
            {"minReplicas": 1, "sklearn": {"storageUri": claim, "resources": manifests.SMALL}},
        )
    )
    said = kube.kubectl("wait", "isvc/verbs", "-n", namespace, "--for=condition=Ready", "--timeout=90s")
    assert "condition met" in said
    said = kube.kubectl("describe", "isvc", "verbs", "-n", namespace)
    for word in (
        "Predictor Ready",
        "Cluster Serving Runtime Name:",
        "kserve-sklearnserver",
        "InferenceServiceReady",
    ):
        assert word.replace(" ", "") in said.replace(" ", ""), said
    assert "sklearn" in kube.kubectl("get", "isvc", "verbs", "-n", namespace, "-o", "yaml")
    said = kube.kubectl("get", "inferenceservices", "-A", "-o", "name")
    assert "inferenceservice.serving.kserve.io/verbs" in said
    said = kube.kubectl(
        "logs", "-n", namespace, "-l", "serving.kserve.io/inferenceservice=verbs", "-c", "kserve-container"
    )
    assert said.strip()
    said = kube.kubectl("api-resources", "--api-group=serving.kserve.io")
    assert "isvc" in said and "InferenceService" in said
    kube.kubectl("annotate", "isvc", "verbs", "-n", namespace, "example.com/note=seen")
    kube.kubectl("delete", "isvc", "verbs", "-n", namespace, "--timeout=60s")


@pytest.mark.parametrize(
    ("path", "word"),
    [
        ("isvc", "KIND:"),
        ("isvc.spec.predictor.minReplicas", "<integer>"),
        ("isvc.spec.predictor.canaryTrafficPercent", "<integer>"),
        ("isvc.status.conditions", "<[]Object>"),
        ("clusterservingruntime.spec.supportedModelFormats", "<[]Object>"),
    ],
)
def test_explain(kube: Kube, path: str, word: str) -> None:
    said = kube.kubectl("explain", path)
    assert word in said, said
