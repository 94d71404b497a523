"""A pod that only waits is explained, and what was known of a revision outlives its pods."""

from __future__ import annotations

from typing import Any

import pytest
from controller_world import World, world

REVISION = "iris-predictor-00001"
NOT_YET = {"Ready": ("Unknown", "", ""), "ConfigurationsReady": ("Unknown", "", "")}
GAVE_UP = 'Revision "iris-predictor-00001" failed with message: ReplicaSet "x" has timed out progressing..'
FAILED = {
    "Ready": ("False", "RevisionFailed", GAVE_UP),
    "ConfigurationsReady": ("False", "RevisionFailed", GAVE_UP),
}


def pod(container: dict[str, Any] | None = None, **status: Any) -> dict[str, Any]:
    labels = {"serving.knative.dev/revision": REVISION, "serving.kserve.io/inferenceservice": "iris"}
    probe = {"httpGet": {"path": "/v2/health/ready", "port": 8080}}
    main = {"name": "kserve-container"} | (container or {})
    return {
        "metadata": {"name": "pod-1", "labels": labels, "creationTimestamp": "2026-01-01T00:00:00Z"},
        "spec": {"containers": [{"name": "kserve-container", "readinessProbe": probe}]},
        "status": {"containerStatuses": [main]} | status,
    }


async def deploying(*pods: dict[str, Any]) -> World:
    state = world()
    await state.settle()
    state.pods = list(pods)
    state.knative("iris-predictor", REVISION, ready="", **NOT_YET)
    await state.settle()
    return state


NO_CLAIM = {"reason": "ContainerCreating", "message": 'persistentvolumeclaim "absent" not found'}
CASES: dict[str, tuple[dict[str, Any], str]] = {
    "claim": (
        pod({"state": {"waiting": NO_CLAIM}}),
        'pod pod-1: container kserve-container is waiting (ContainerCreating): persistentvolumeclaim "absent" not found',
    ),
    "port": (
        pod({"state": {"running": {"startedAt": "T"}}, "ready": False}),
        "runs since T and is not ready: its readiness probe GET /v2/health/ready on port 8080 has not succeeded yet",
    ),
    "behind queue-proxy": (
        pod(
            containerStatuses=[
                {"name": "kserve-container", "state": {"running": {"startedAt": "T"}}, "ready": True},
                {"name": "queue-proxy", "state": {"running": {"startedAt": "U"}}, "ready": False},
            ]
        ),
        "container kserve-container runs since T and has not answered its readiness probe yet (kubectl logs pod-1 -c kserve-",
    ),
    "download": (
        pod(initContainerStatuses=[{"name": "storage-initializer", "state": {"running": {}}}]),
        "init container storage-initializer is running",
    ),
    "scheduling": (
        pod(conditions=[{"type": "PodScheduled", "status": "False", "message": "0/1 nodes: no gpu"}]),
        "not scheduled: 0/1 nodes: no gpu",
    ),
}


@pytest.mark.parametrize(("waiting", "words"), CASES.values(), ids=list(CASES))
async def test_what_a_pod_waits_for_is_shown(waiting: dict[str, Any], words: str) -> None:
    state = await deploying(waiting)
    for type_ in ("PredictorReady", "Ready"):
        status, reason, message = state.condition(type_)
        assert (status, reason) == ("Unknown", "PodNotReady") and words in message
    assert words in state.condition("IngressReady")[2]


async def test_a_pod_without_a_node_is_named_where_knative_only_misses_a_revision() -> None:
    missing = ("False", "RevisionMissing", 'Configuration "iris-predictor" does not have any ready Revision.')
    state = await deploying(CASES["scheduling"][0])
    state.knative("iris-predictor", REVISION, ready="", **NOT_YET | {"Ready": missing})
    await state.settle()
    for type_ in ("PredictorReady", "Ready"):
        status, reason, message = state.condition(type_)
        assert (status, reason) == ("False", "PodNotReady") and "not scheduled: 0/1 nodes: no gpu" in message


NO_BUCKET = {"terminated": {"exitCode": 1, "message": "s3://absent/x: the bucket does not exist [not_found]"}}
LOOPING = {"waiting": {"reason": "CrashLoopBackOff", "message": "back-off 10s"}}
ENDED = {
    "initializer now": (
        pod(initContainerStatuses=[{"name": "storage-initializer", "state": NO_BUCKET}]),
        "pod pod-1: init container storage-initializer failed with exit code 1: s3://absent/x: the bucket does not",
    ),
    "initializer before its restart": (
        pod(
            initContainerStatuses=[{"name": "storage-initializer", "state": LOOPING, "lastState": NO_BUCKET}]
        ),
        "pod pod-1: init container storage-initializer failed with exit code 1: s3://absent/x: the bucket does not",
    ),
    "initializer in its restart": (
        pod(
            initContainerStatuses=[
                {"name": "storage-initializer", "state": {"running": {}}, "lastState": NO_BUCKET}
            ]
        ),
        "pod pod-1: init container storage-initializer failed with exit code 1",
    ),
    "server in its restart, which queue-proxy's probe has not passed": (
        pod({"ready": True, "state": {"running": {}}, "lastState": NO_BUCKET}),
        "pod pod-1: container kserve-container failed with exit code 1",
    ),
    "server": (
        pod({"state": LOOPING, "lastState": {"terminated": {"exitCode": 0, "reason": "Completed"}}}),
        "pod pod-1: container kserve-container failed with exit code 0: Completed",
    ),
}


@pytest.mark.parametrize(("failed", "words"), ENDED.values(), ids=list(ENDED))
async def test_a_failed_container_is_told_though_knative_is_silent(
    failed: dict[str, Any], words: str
) -> None:
    """A real Knative says "Deploying" for as long as its progress deadline: seen in e2e/test_storage.py."""
    state = await deploying(failed)
    status, reason, message = state.condition("PredictorReady")
    assert (status, reason) == ("False", "RevisionFailed") and message.startswith(words)
    assert state.status["modelStatus"]["states"]["targetModelState"] in ("FailedToLoad", "Loading")
    state.pods = []
    state.knative("iris-predictor", REVISION, ready="", **FAILED)
    await state.settle()
    await state.settle()
    assert state.condition("PredictorReady")[2].count("Last seen: " + words) == 1
    state.pods = [pod({"ready": True, "state": {"running": {}}, "lastState": NO_BUCKET})]
    state.knative("iris-predictor", REVISION)
    await state.settle()
    assert state.condition("PredictorReady")[0] == "True"


async def test_a_finished_initializer_is_no_failure() -> None:
    done = {"name": "storage-initializer", "ready": True, "state": {"terminated": {"exitCode": 0}}}
    state = await deploying(pod(initContainerStatuses=[done]))
    assert state.condition("PredictorReady") == ("Unknown", "", "")


async def test_nothing_to_say_leaves_no_loose_ends() -> None:
    state = await deploying(pod({"state": {"waiting": {"reason": "ContainerCreating"}}}))
    assert state.condition("PredictorReady") == ("Unknown", "", "")
    assert state.condition("IngressReady")[2] == "PredictorReady is Unknown"


async def test_what_it_waited_for_outlives_knatives_deadline() -> None:
    state = await deploying(pod({"state": {"waiting": NO_CLAIM}}))
    state.pods = []
    state.knative("iris-predictor", REVISION, ready="", **FAILED)
    await state.settle()
    message = state.condition("PredictorReady")[2]
    assert message.startswith(GAVE_UP) and message.endswith('persistentvolumeclaim "absent" not found')


async def test_a_pods_own_failure_outlives_knatives_deadline() -> None:
    ended = {
        "terminated": {
            "exitCode": 3,
            "message": "the weights are corrupt",
            "finishedAt": "2026-01-01T00:00:05Z",
        }
    }
    state = await deploying(pod({"state": ended}))
    assert state.status["modelStatus"]["lastFailureInfo"]["exitCode"] == 3
    state.pods = []
    state.knative("iris-predictor", REVISION, ready="", **FAILED)
    await state.settle()
    failure = state.status["modelStatus"]["lastFailureInfo"]
    assert (failure["exitCode"], failure["message"]) == (3, "the weights are corrupt")


async def test_a_server_that_ends_with_0_has_failed_too() -> None:
    looping = {
        "state": {"waiting": {"reason": "CrashLoopBackOff", "message": "back-off 10s"}},
        "lastState": {"terminated": {"exitCode": 0}},
    }
    state = await deploying(pod(looping))
    failure = state.status["modelStatus"]["lastFailureInfo"]
    assert failure["exitCode"] == 0 and "a model server has to keep running" in failure["message"]
    assert state.status["modelStatus"]["transitionStatus"] == "BlockedByFailedLoad"
