"""PMML under unmodified KServe YAML on one machine, in the old and the new style, and a document that is refused."""

from __future__ import annotations

import pytest
from pmml_documents import IRIS, TREE
from pmml_server import needs_java
from services_rig import Services
from waiting_rig import until_blocking
from whole_platform import Platform

pytestmark = [
    pytest.mark.platform,
    pytest.mark.timeout(180),
    pytest.mark.usefixtures("needs_kubectl"),
    needs_java,
]
PREDICTORS = {
    "loans": '{model: {modelFormat: {name: pmml, version: "4"}, storageUri: "pvc://models/tree"}}',
    "iris": '{pmml: {storageUri: "pvc://models/iris"}}',
    "class": '{pmml: {storageUri: "pvc://models/class"}}',
}


def test_documents_are_served_and_one_that_names_a_class_is_told(platform: Platform) -> None:
    texts = {"tree": TREE, "iris": IRIS, "class": TREE.replace('function="*"', 'function="java.lang.Thread"')}
    services = Services(platform, "documents")
    for name, text in texts.items():
        folder = services.models / name
        folder.mkdir(parents=True)
        (folder / "model.pmml").write_text(text)
    services.apply(PREDICTORS)
    services.wait("loans", "iris")
    answer = services.ask("loans", "/v1/models/loans:predict", {"instances": [[500, 20, "Rome"], {}]})
    assert [row["node"] for row in answer["predictions"]] == ["poor", "old"]
    tensor = {"name": "x", "shape": [1, 4], "datatype": "FP64", "data": [6.7, 3.0, 5.2, 2.3]}
    outputs = services.ask("iris", "/v2/models/iris/infer", {"inputs": [tensor]})["outputs"]
    assert (outputs[0]["name"], outputs[0]["datatype"], outputs[0]["data"]) == ("y", "INT64", [2])

    def told() -> str:
        status = services.read("class").get("status", {}).get("modelStatus", {})
        return str(status.get("lastFailureInfo", {}).get("message", ""))

    until_blocking(lambda: "'java.lang.Thread'" in told(), 60, "the document's fault in the status", 0.5)
    platform.kubectl("delete", "namespace", services.namespace, "--wait=false")
