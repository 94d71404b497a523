"""PMML under unmodified KServe YAML on one machine, in the old and the new style, and a document that is refused."""

from __future__ import annotations

import json
import urllib.request
from typing import Any

import pytest
from pmml_documents import IRIS, TREE
from pmml_server import needs_java
from waiting_rig import until_blocking
from whole_platform import Platform

pytestmark = [
    pytest.mark.platform,
    pytest.mark.timeout(180),
    pytest.mark.usefixtures("needs_kubectl"),
    needs_java,
]
NAMESPACE = "documents"
CLAIM = """
apiVersion: v1
kind: Namespace
metadata: {name: documents}
---
apiVersion: v1
kind: PersistentVolumeClaim
metadata: {name: models, namespace: documents}
spec: {accessModes: [ReadWriteOnce], resources: {requests: {storage: 1Gi}}}
"""
SERVICE = """
---
apiVersion: serving.kserve.io/v1beta1
kind: InferenceService
metadata: {name: NAME, namespace: documents}
spec: {predictor: PREDICTOR}
"""
PREDICTORS = {
    "loans": '{model: {modelFormat: {name: pmml, version: "4"}, storageUri: "pvc://models/tree"}}',
    "iris": '{pmml: {storageUri: "pvc://models/iris"}}',
    "class": '{pmml: {storageUri: "pvc://models/class"}}',
}


def ask(platform: Platform, name: str, path: str, body: Any) -> Any:
    request = urllib.request.Request(
        f"http://127.0.0.1:{platform.ports[0]}{path}",
        data=json.dumps(body).encode(),
        headers={"Host": f"{name}.{NAMESPACE}.localhost", "Content-Type": "application/json"},
    )
    with urllib.request.urlopen(request, timeout=60) as response:
        return json.loads(response.read())


def test_documents_are_served_and_one_that_names_a_class_is_told(platform: Platform) -> None:
    texts = {"tree": TREE, "iris": IRIS, "class": TREE.replace('function="*"', 'function="java.lang.Thread"')}
    for name, text in texts.items():
        folder = platform.layout.volumes / NAMESPACE / "models" / name
        folder.mkdir(parents=True)
        (folder / "model.pmml").write_text(text)
    services = [SERVICE.replace("NAME", name).replace("PREDICTOR", spec) for name, spec in PREDICTORS.items()]
    platform.kubectl("apply", "-f", "-", text=CLAIM + "".join(services))
    platform.kubectl(
        "wait", "isvc/loans", "isvc/iris", "-n", NAMESPACE, "--for=condition=Ready", "--timeout=90s"
    )
    answer = ask(platform, "loans", "/v1/models/loans:predict", {"instances": [[500, 20, "Rome"], {}]})
    assert [row["node"] for row in answer["predictions"]] == ["poor", "old"]
    tensor = {"name": "x", "shape": [1, 4], "datatype": "FP64", "data": [6.7, 3.0, 5.2, 2.3]}
    outputs = ask(platform, "iris", "/v2/models/iris/infer", {"inputs": [tensor]})["outputs"]
    assert (outputs[0]["name"], outputs[0]["datatype"], outputs[0]["data"]) == ("y", "INT64", [2])

    def told() -> str:
        found = json.loads(platform.kubectl("get", "isvc", "class", "-n", NAMESPACE, "-o", "json"))
        status = found.get("status", {}).get("modelStatus", {})
        return str(status.get("lastFailureInfo", {}).get("message", ""))

    until_blocking(lambda: "'java.lang.Thread'" in told(), 60, "the document's fault in the status", 0.5)
    platform.kubectl("delete", "namespace", NAMESPACE, "--wait=false")
