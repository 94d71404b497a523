"""``modelStatus`` from the pods of the newest revision: rows of KServe's table 2.7 and what is done better."""

from __future__ import annotations

from typing import Any

import pytest
from controller_world import world

REVISION = "iris-predictor-00001"


def pod(
    name: str = "p",
    main: Any = None,
    init: Any = None,
    ready: bool = False,
    created: str = "2026-01-01T00:00:00Z",
) -> dict[str, Any]:
    status: dict[str, Any] = {"conditions": [{"type": "Ready", "status": str(ready)}]}
    if main is not None:
        status["containerStatuses"] = [{"name": "kserve-container", "ready": ready} | main]
    if init is not None:
        status["initContainerStatuses"] = [{"name": "storage-initializer"} | init]
    labels = {"serving.knative.dev/revision": REVISION, "serving.kserve.io/inferenceservice": "iris"}
    return {"metadata": {"name": name, "labels": labels, "creationTimestamp": created}, "status": status}


def ended(code: int, message: str = "") -> dict[str, Any]:
    return {"terminated": {"exitCode": code, "message": message, "finishedAt": "2026-01-01T00:00:05Z"}}


def from_claim(obj: dict[str, Any]) -> dict[str, Any]:
    uri = {"internal.serving.kserve.io/storage-initializer-sourceuri": "pvc://models/iris"}
    obj["metadata"]["annotations"] = uri
    return obj


WAITING = {
    "state": {"waiting": {"reason": "CrashLoopBackOff", "message": "back-off"}},
    "lastState": ended(1, "no model.joblib"),
}
ROWS = [
    ("no pod yet", [], "Pending", "InProgress", None),
    ("downloading", [pod(init={"state": {"running": {}}})], "Loading", "InProgress", None),
    ("download failed", [pod(init={"state": ended(1, "404")})], "FailedToLoad", "BlockedByFailedLoad", "404"),
    (
        "downloads again",
        [pod(init={"state": {"running": {}}, "lastState": ended(1, "404")})],
        "FailedToLoad",
        "BlockedByFailedLoad",
        "404",
    ),
    ("starting", [pod(main={"state": {"running": {}}})], "Pending", "InProgress", None),
    (
        "crashed",
        [pod(main={"state": ended(1, "bad pickle")})],
        "FailedToLoad",
        "BlockedByFailedLoad",
        "bad pickle",
    ),
    ("waits to restart", [pod(main=WAITING)], "FailedToLoad", "BlockedByFailedLoad", "no model.joblib"),
    (
        "runs again after a crash",
        [pod(main={"state": {"running": {}}, "lastState": ended(1, "bad pickle")})],
        "FailedToLoad",
        "BlockedByFailedLoad",
        "bad pickle",
    ),
    (
        "a claim's folder has no model: say which",
        [from_claim(pod(main={"state": ended(1, "no model file in the model folder")}))],
        "FailedToLoad",
        "BlockedByFailedLoad",
        "no model file in the model folder (storageUri: pvc://models/iris)",
    ),
    (
        "image cannot be pulled",
        [pod(main={"state": {"waiting": {"reason": "ErrImagePull", "message": "no such image"}}})],
        "FailedToLoad",
        "BlockedByFailedLoad",
        "no such image",
    ),
    (
        "only the newest pod counts",
        [
            pod("a", main={"state": ended(1, "old")}),
            pod("b", main={"state": {"running": {}}}, created="2026-01-01T00:01:00Z"),
        ],
        "Pending",
        "InProgress",
        None,
    ),
]


@pytest.mark.parametrize(
    ("pods", "target", "transition", "message"), [r[1:] for r in ROWS], ids=[r[0] for r in ROWS]
)
async def test_before_it_is_ready(pods: list[Any], target: str, transition: str, message: str | None) -> None:
    state = world()
    await state.settle()
    waiting = ("Unknown", "RevisionMissing", "waiting")
    state.knative(
        "iris-predictor", REVISION, ready="", Ready=waiting, ConfigurationsReady=waiting, RoutesReady=waiting
    )
    state.pods = pods
    await state.settle()
    model = state.status["modelStatus"]
    assert (model["states"]["targetModelState"], model["transitionStatus"]) == (target, transition)
    assert model.get("lastFailureInfo", {}).get("message") == message
    assert model["copies"]["failedCopies"] == (message is not None)


async def test_loaded_asleep_and_awake_again() -> None:
    state = world()
    state.pods = [pod(main={"state": {"running": {}}}, ready=True)]
    await state.serving()
    assert state.status["modelStatus"] == {
        "transitionStatus": "UpToDate",
        "states": {"activeModelState": "Loaded", "targetModelState": "Loaded"},
        "copies": {"failedCopies": 0, "totalCopies": 1},
    }
    state.pods = []
    await state.settle()
    assert state.status["modelStatus"]["states"]["activeModelState"] == "Standby"
    assert state.status["modelStatus"]["transitionStatus"] == "UpToDate"
    assert state.condition("Ready")[0] == "True"


async def test_a_failed_canary_keeps_the_loaded_model_active() -> None:
    state = world()
    state.pods = [pod(main={"state": {"running": {}}}, ready=True)]
    await state.serving()
    state.change(canaryTrafficPercent=10, timeout=60)
    await state.settle()
    failed = ("False", "RevisionFailed", "it crashed")
    state.knative("iris-predictor", "iris-predictor-00002", ready=REVISION, Ready=failed)
    newer = pod("n", main={"state": ended(1, "bad")}, created="2026-01-01T00:01:00Z")
    newer["metadata"]["labels"]["serving.knative.dev/revision"] = "iris-predictor-00002"
    state.pods.append(newer)
    await state.settle()
    assert state.status["modelStatus"]["states"] == {
        "activeModelState": "Loaded",
        "targetModelState": "FailedToLoad",
    }
    assert state.status["modelStatus"]["lastFailureInfo"]["modelRevisionName"] == "iris-predictor-00002"


async def test_a_terminating_pod_is_not_counted() -> None:
    state = world()
    going = pod("a", main={"state": {"running": {}}}, ready=True)
    going["metadata"]["deletionTimestamp"] = "2026-01-01T00:00:00Z"
    state.pods = [going, pod("b", main={"state": {"running": {}}}, ready=True)]
    await state.serving()
    assert state.status["modelStatus"]["copies"]["totalCopies"] == 1
