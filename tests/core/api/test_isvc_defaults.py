"""What the defaulter writes, and that it can be applied again (KServe behaviour page section 4.3)."""

from __future__ import annotations

from typing import Any

import pytest

from wakeful.core.api.inferenceservice import FRAMEWORKS
from wakeful.core.api.inferenceservice_defaults import Defaults, default

Obj = dict[str, Any]


def isvc(annotations: dict[str, str] | None = None, **spec: Any) -> Obj:
    return {"metadata": {"name": "iris", "annotations": annotations or {}}, "spec": spec}


def model_of(obj: Obj) -> Obj:
    model: Obj = obj["spec"]["predictor"]["model"]
    return model


@pytest.mark.parametrize("framework", FRAMEWORKS)
def test_a_short_form_becomes_a_model(framework: str) -> None:
    done = default(isvc(predictor={framework: {"storageUri": "s3://a", "env": [{"name": "A"}]}}), Defaults())
    predictor = done["spec"]["predictor"]
    assert framework not in predictor
    assert predictor["model"]["modelFormat"] == {"name": framework}
    assert predictor["model"]["storageUri"] == "s3://a" and predictor["model"]["env"] == [{"name": "A"}]
    wants_v2 = framework in ("triton", "onnx", "huggingface")
    assert predictor["model"].get("protocolVersion") == ("v2" if wants_v2 else None)
    assert done["metadata"]["annotations"]["modelFormat"] == framework
    assert default(done, Defaults()) == done


@pytest.mark.parametrize(("name", "protocol"), [("triton", "v2"), ("vLLM", "v2"), ("onnx", None)])
def test_protocol_of_a_model(name: str, protocol: str | None) -> None:
    done = default(isvc(predictor={"model": {"modelFormat": {"name": name}}}), Defaults())
    assert model_of(done).get("protocolVersion") == protocol


def test_a_short_form_applied_again_replaces_what_it_was_turned_into() -> None:
    stored = default(
        isvc(predictor={"sklearn": {"storageUri": "pvc://m/1", "runtimeVersion": "1"}}), Defaults()
    )
    merged = {**stored["spec"]["predictor"], "sklearn": {"storageUri": "pvc://m/2"}}
    done = default(isvc(stored["metadata"]["annotations"], predictor=merged), Defaults(), stored)
    assert model_of(done) == {"modelFormat": {"name": "sklearn"}, "storageUri": "pvc://m/2"}


def test_another_short_form_takes_the_derived_annotation_along() -> None:
    stored = default(isvc(predictor={"sklearn": {"storageUri": "pvc://m/1"}}), Defaults())
    merged = {**stored["spec"]["predictor"], "xgboost": {"storageUri": "pvc://m/1"}}
    done = default(isvc(stored["metadata"]["annotations"], predictor=merged), Defaults(), stored)
    assert done["metadata"]["annotations"]["modelFormat"] == "xgboost"
    users = default(isvc({"modelFormat": "mine"}, predictor=merged), Defaults(), stored)
    assert users["metadata"]["annotations"]["modelFormat"] == "mine"


def test_a_short_form_beside_a_changed_model_is_left_for_validation() -> None:
    stored = default(isvc(predictor={"sklearn": {"storageUri": "pvc://m/1"}}), Defaults())
    both = {"sklearn": {"storageUri": "pvc://m/2"}, "model": {"modelFormat": {"name": "sklearn"}}}
    done = default(isvc(predictor=both), Defaults(), stored)
    assert set(done["spec"]["predictor"]) == {"sklearn", "model"}


@pytest.mark.parametrize(
    ("given", "configured", "wanted"),
    [
        ("Serverless", "Knative", "Knative"),
        ("RawDeployment", "Knative", "Standard"),
        (None, "Knative", None),
        (None, "Standard", "Standard"),
        ("Knative", "Standard", "Knative"),
    ],
)
def test_deployment_mode(given: str | None, configured: str, wanted: str | None) -> None:
    key = "serving.kserve.io/deploymentMode"
    annotations = {} if given is None else {key: given}
    done = default(isvc(annotations, predictor={}), Defaults(deployment_mode=configured))
    assert done["metadata"]["annotations"].get(key) == wanted


@pytest.mark.parametrize("component", ["predictor", "transformer", "explainer"])
def test_the_first_custom_container_gets_name_and_resources(component: str) -> None:
    containers = [{"name": "mine", "image": "x", "resources": {"limits": {"memory": "4Gi"}}}, {"name": "b"}]
    done = default(isvc(**{component: {"containers": containers}}), Defaults())
    first, second = done["spec"][component]["containers"]
    assert first["name"] == "kserve-container" and second == {"name": "b"}
    assert first["resources"]["limits"] == {"cpu": "1", "memory": "4Gi"}
    assert first["resources"]["requests"] == {"cpu": "1", "memory": "4Gi"}, (
        "a request may not exceed the limit"
    )


def test_a_model_keeps_its_runtimes_resources() -> None:
    done = default(isvc(predictor={"model": {}, "containers": [{"name": "side"}]}), Defaults())
    assert done["spec"]["predictor"]["containers"] == [{"name": "side"}]
    assert "resources" not in model_of(done)


def test_the_token_is_kept_away_unless_the_user_wants_it() -> None:
    off = Defaults(automount_token=False)
    done = default(isvc(predictor={"model": {}}, transformer={"automountServiceAccountToken": True}), off)
    assert done["spec"]["predictor"]["automountServiceAccountToken"] is False
    assert done["spec"]["transformer"]["automountServiceAccountToken"] is True


@pytest.mark.parametrize("broken", [{}, {"spec": None}, {"metadata": {}, "spec": {"predictor": []}}])
def test_a_broken_object_passes_unharmed(broken: Obj) -> None:
    assert default(broken, Defaults()) == broken
