"""What the installation has brought, as a user checks it before the first model."""

from __future__ import annotations

from e2e import manifests
from e2e.kube import Kube

KINDS = (
    "inferenceservices.serving.kserve.io",
    "servingruntimes.serving.kserve.io",
    "clusterservingruntimes.serving.kserve.io",
)


def test_kinds_are_established(kube: Kube) -> None:
    for name in KINDS:
        definition = kube.get("CustomResourceDefinition", "", name)
        told = {entry["type"]: entry["status"] for entry in definition["status"]["conditions"]}
        assert told["Established"] == told["NamesAccepted"] == "True", name


def test_webhooks_are_trusted_by_the_api_server(kube: Kube) -> None:
    for kind in ("MutatingWebhookConfiguration", "ValidatingWebhookConfiguration"):
        ours = [
            hook
            for configuration in kube.items(kind, "")
            if configuration["metadata"]["name"].startswith("wakeful")
            for hook in configuration["webhooks"]
        ]
        assert ours, kind
        assert all(hook["clientConfig"].get("caBundle") for hook in ours), kind


def test_configuration_and_runtimes_are_there(kube: Kube) -> None:
    config = kube.get("ConfigMap", "wakeful-system", "inferenceservice-config")
    assert {"deploy", "ingress", "storageInitializer"} <= set(config["data"])
    runtime = kube.get("ClusterServingRuntime", "", "kserve-sklearnserver")
    assert runtime["spec"]["supportedModelFormats"][0]["name"] == "sklearn"


def test_a_dry_run_is_defaulted_by_the_webhook(kube: Kube, namespace: str) -> None:
    isvc = manifests.inference_service(namespace, "dry", {"sklearn": {"storageUri": "pvc://models/x"}})
    path = "jsonpath={.spec.predictor.model.modelFormat.name}"
    said = kube.kubectl("apply", "--dry-run=server", "-o", path, "-f", "-", text=manifests.yaml_text(isvc))
    assert said == "sklearn"
    assert kube.find("InferenceService", namespace, "dry") is None
