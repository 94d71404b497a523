"""What the webhooks refuse and warn about, word for word the same in both homes."""

from __future__ import annotations

from typing import Any

import pytest

from e2e import manifests
from e2e.dumps import Dumps
from e2e.kube import Kube
from e2e.normal import Names

REFUSED: dict[str, tuple[dict[str, Any], str]] = {
    "unknown field": ({"minReplica": 1, "sklearn": {}}, 'unknown field "spec.predictor.minReplica"'),
    "wrong type": ({"minReplicas": "one", "sklearn": {}}, "spec.predictor.minReplicas"),
    "no implementation": ({}, "predictor"),
    "two implementations": ({"sklearn": {}, "xgboost": {}}, "there are 2 (sklearn, xgboost)"),
    "not built yet": (
        {"sklearn": {}, "storageContainerName": "mine"},
        "choosing a ClusterStorageContainer is not supported yet",
    ),
    "bounds": ({"sklearn": {}, "minReplicas": 3, "maxReplicas": 2}, "MinReplicas 3 cannot be greater"),
    "percentage": ({"sklearn": {}, "canaryTrafficPercent": 101}, "canaryTrafficPercent"),
}
WARNED: dict[str, tuple[dict[str, Any], str]] = {
    "no runtime": ({"model": {"modelFormat": {"name": "nosuch"}}}, "NoSupportingRuntime"),
    "scheme": ({"sklearn": {"storageUri": "ftp://x/y"}}, "StorageURI not supported"),
}


def dry_run(kube: Kube, namespace: str, name: str, predictor: dict[str, Any]) -> str:
    text = manifests.yaml_text(manifests.inference_service(namespace, name, predictor))
    return kube.kubectl("apply", "--dry-run=server", "-f", "-", text=text, check=False)


@pytest.mark.parametrize("case", REFUSED)
def test_refused(kube: Kube, namespace: str, dumps: Dumps, case: str) -> None:
    predictor, word = REFUSED[case]
    said = dry_run(kube, namespace, "bad", predictor)
    assert word in said, said
    assert "created (server dry run)" not in said
    dumps.add(f"refused: {case}", said.strip(), Names(namespace, "\0"))


@pytest.mark.parametrize("case", WARNED)
def test_warned(kube: Kube, namespace: str, dumps: Dumps, case: str) -> None:
    predictor, word = WARNED[case]
    said = dry_run(kube, namespace, "odd", predictor)
    assert word in said and "Warning:" in said, said
    assert "created (server dry run)" in said
    dumps.add(f"warned: {case}", said.strip(), Names(namespace, "\0"))


@pytest.mark.parametrize("name", ["Upper", "under_score", "1digit", "x" * 64])
def test_names_that_cannot_be_hosts(kube: Kube, namespace: str, dumps: Dumps, name: str) -> None:
    said = dry_run(kube, namespace, name, {"sklearn": {}})
    assert "created" not in said, said
    dumps.add(f"refused name: {name}", said.strip(), Names(namespace, "\0"))


def test_knative_refuses_what_the_webhook_lets_pass(kube: Kube, namespace: str) -> None:
    """A Knative Service that is wrong is refused by Knative itself in both homes."""
    container = {
        "name": "user-container",
        "image": "x",
        "ports": [{"containerPort": 1}, {"containerPort": 2}],
    }
    service = manifests.knative_service(namespace, "bad", container)
    said = kube.apply(service, check=False)
    assert "more than one container port is set" in said.lower(), said
