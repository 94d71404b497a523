"""What is wrong is in a condition with a reason and a sentence, at once, and what serves goes on serving."""

from __future__ import annotations

from typing import Any

import pytest
import yaml
from controller_world import SKLEARN, World, isvc, world

from controller.observed import Platform
from controller.ports import ClusterUnavailableError


def with_model(**model: Any) -> World:
    base = {"modelFormat": {"name": "sklearn"}, "storageUri": "pvc://models/iris-v1"}
    return world(predictor={"model": base | model})


def runtime(**spec: Any) -> dict[str, Any]:
    obj: dict[str, Any] = yaml.safe_load(SKLEARN)
    obj["spec"] |= spec
    return obj


CASES = [
    (
        "no runtime",
        {"modelFormat": {"name": "nosuch"}},
        {},
        "NoSupportingRuntime",
        "the runtimes here support sklearn",
    ),
    (
        "version",
        {"modelFormat": {"name": "sklearn", "version": "7"}},
        {},
        "NoSupportingRuntime",
        "only version 1",
    ),
    ("protocol", {"protocolVersion": "grpc-v2"}, {}, "NoSupportingRuntime", "speaks only v1, v2"),
    ("named", {"runtime": "absent"}, {}, "RuntimeNotRecognized", "Waiting for runtime to become available"),
    ("disabled", {"runtime": "kserve-sklearnserver"}, {"disabled": True}, "RuntimeDisabled", "is disabled"),
    ("scheme", {"storageUri": "ftp://host/x"}, {}, "StorageNotSupported", "StorageURI not supported"),
    ("oci", {"storageUri": "oci://reg/x"}, {}, "StorageNotSupported", "not supported yet"),
    (
        "both",
        {"storageUri": "s3://b/x", "storage": {"path": "y"}},
        {},
        "InvalidPredictorSpec",
        "only one of them",
    ),
    (
        "placeholder",
        {},
        {"containers": [{"name": "kserve-container", "image": "i:1", "args": ["{{.Nmae}}"]}]},
        "InvalidPredictorSpec",
        "{{.Nmae}}",
    ),
    (
        "container",
        {},
        {"containers": [{"name": "other", "image": "i:1"}]},
        "InvalidPredictorSpec",
        "kserve-container",
    ),
]


@pytest.mark.parametrize(
    ("model", "spec", "reason", "words"), [case[1:] for case in CASES], ids=[c[0] for c in CASES]
)
async def test_an_unusable_model_is_a_condition(
    model: dict[str, Any], spec: dict[str, Any], reason: str, words: str
) -> None:
    state = with_model(**model)
    state.runtimes = [runtime(**spec)]
    await state.settle()
    status, found, message = state.condition("PredictorReady")
    assert (status, found) == ("False", reason)
    assert words in message
    assert state.condition("Ready")[:2] == ("False", reason)
    assert state.condition("IngressReady")[1] == "Predictor ingress not created"
    assert state.status["modelStatus"]["transitionStatus"] == "InvalidSpec"
    assert [note.reason for note in state.events] == ["InternalError"]
    assert state.objects == {}


async def test_the_failure_goes_when_the_runtime_appears() -> None:
    state = with_model(runtime="kserve-sklearnserver")
    found, state.runtimes = state.runtimes, []
    await state.settle()
    assert state.condition("PredictorReady")[1] == "RuntimeNotRecognized"
    state.runtimes = found
    await state.serving()
    assert "lastFailureInfo" not in state.status["modelStatus"]
    assert state.status["modelStatus"]["transitionStatus"] == "UpToDate"


async def test_a_broken_edit_keeps_the_running_service() -> None:
    state = await world().serving()
    before = state.service()
    state.change(model={"modelFormat": {"name": "nosuch"}, "storageUri": "pvc://models/x"})
    await state.settle()
    assert state.condition("PredictorReady")[1] == "NoSupportingRuntime"
    assert state.service() == before
    assert state.status["url"] == "http://iris.ns.localhost:8080"
    assert state.status["modelStatus"]["states"]["activeModelState"] == "Standby"


async def test_knatives_refusal_is_shown_and_tried_again_later() -> None:
    state = world()
    state.refuse["iris-predictor"] = "admission webhook denied the request: bad scale"
    assert await state.reconcile() == 30.0
    assert state.condition("PredictorReady") == ("False", "ReconcileFailed", state.refuse["iris-predictor"])
    before = len(state.writes)
    await state.reconcile()
    assert len(state.writes) == before
    state.refuse.clear()
    await state.settle()
    assert state.condition("PredictorReady")[1] == "OutOfDate"


async def test_an_absent_api_server_is_retried_with_back_off() -> None:
    state = world()
    state.unavailable.add("iris-predictor")
    with pytest.raises(ClusterUnavailableError):
        await state.reconcile()
    assert state.condition("PredictorReady")[1] == "ReconcileFailed"


async def test_a_bad_configmap_key_is_named_and_changes_nothing_that_runs() -> None:
    state = await world().serving()
    state.configmap = {"data": {"ingress": "{not json"}}
    await state.settle()
    assert state.condition("Ready")[0] == "True"
    status, reason, message = state.condition("LatestDeploymentReady")
    assert (status, reason) == ("False", "InvalidConfiguration")
    assert "key ingress" in message
    fresh = World(isvc=isvc(), configmap=state.configmap)
    await fresh.settle()
    assert fresh.condition("PredictorReady")[1] == "InvalidConfiguration"
    assert fresh.objects == {}


async def test_without_knative_the_condition_says_so() -> None:
    state = world()
    state.platform = Platform(is_knative_installed=False)
    await state.settle()
    assert state.condition("Ready")[:2] == ("False", "KnativeNotInstalled")
    assert [item.reason for item in state.events] == ["ServerlessModeRejected"]


async def test_standard_mode_is_answered_clearly() -> None:
    state = world(annotations={"serving.kserve.io/deploymentMode": "RawDeployment"})
    await state.settle()
    status, reason, message = state.condition("PredictorReady")
    assert (status, reason) == ("False", "NotSupportedYet")
    assert "Standard" in message
    assert "deploymentMode" not in state.status


@pytest.mark.parametrize("field", ["storageContainerName", "workerSpec"])
async def test_unbuilt_features_are_refused_not_ignored(field: str) -> None:
    state = world()
    state.change(**{field: {"mode": "all"}})
    await state.settle()
    status, reason, message = state.condition("PredictorReady")
    assert (status, reason) == ("False", "NotSupportedYet")
    assert f"spec.predictor.{field}" in message
