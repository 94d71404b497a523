"""A model file that runs code: the condition and Event that warn of it, and the policy that reaches the server."""

from __future__ import annotations

import json
from typing import Any

import pytest
from controller_world import World, isvc

from wakeful.core.api import code_bearing

REVISION = "iris-predictor-00001"
TYPE = "ModelRunsCode"


def made(uri: str, policy: str | None = None, **model: Any) -> World:
    obj = isvc()
    obj["spec"]["predictor"]["model"] |= {"storageUri": uri, **model}
    data = {"security": json.dumps({"codeBearingModels": policy})}
    return World(isvc=obj, configmap=None if policy is None else {"data": data})


def pod(message: str | None, revision: str = REVISION) -> dict[str, Any]:
    status: dict[str, Any] = {"conditions": [{"type": "Ready", "status": "True"}]}
    if message is not None:
        state = {"terminated": {"exitCode": 0, "message": message}}
        status["initContainerStatuses"] = [{"name": "storage-initializer", "state": state}]
    labels = {"serving.knative.dev/revision": revision, "serving.kserve.io/inferenceservice": "iris"}
    created = "2026-01-01T00:00:00Z"
    return {"metadata": {"name": "p", "labels": labels, "creationTimestamp": created}, "status": status}


def warned(state: World) -> str:
    status, reason, message = state.condition(TYPE)
    assert (status, reason) in (("True", "CodeBearingFormat"), ("", ""))
    return message


def environment(state: World) -> dict[str, str]:
    (container,) = state.service()["spec"]["template"]["spec"]["containers"]
    return {item["name"]: item["value"] for item in container["env"]}


async def test_what_the_initializer_brought_is_warned_of_once_and_stays_while_asleep() -> None:
    state = made("s3://bucket/iris")
    state.pods = [pod(code_bearing.render(["v1/model.joblib"]))]
    await state.serving()
    assert warned(state).startswith("v1/model.joblib: loading it runs code of whoever made it.")
    assert state.condition("Ready")[0] == "True"
    (note,) = [item for item in state.events if item.reason == "CodeBearingFormat"]
    assert note.type == "Warning" and "v1/model.joblib" in note.message
    (entry,) = [item for item in state.status["conditions"] if item["type"] == TYPE]
    assert entry["severity"] == "Warning"
    state.pods = []
    await state.settle()
    assert "v1/model.joblib" in warned(state)
    assert len([item for item in state.events if item.reason == "CodeBearingFormat"]) == 1


@pytest.mark.parametrize(
    ("uri", "message", "expected"),
    [
        ("s3://b/iris", code_bearing.render([]), ""),
        ("s3://b/iris", "some other initializer's words", ""),
        ("s3://b/iris", None, ""),
        ("s3://b/iris", code_bearing.render(["weights.pt"]), ""),
        ("s3://b/model.joblib", None, "model.joblib"),
        ("pvc://models/iris", None, ""),
        ("pvc://models/iris/model.pkl", None, "model.pkl"),
    ],
    ids=["safe", "foreign", "silent", "other format", "named", "claim", "named in a claim"],
)
async def test_what_is_known(uri: str, message: str | None, expected: str) -> None:
    state = made(uri)
    state.pods = [pod(message)]
    await state.serving()
    assert warned(state).partition(":")[0] == expected


async def test_of_a_claim_the_format_says_it_where_all_its_files_run_code() -> None:
    state = made("pvc://models/net", modelFormat={"name": "pytorch"})
    state.runtimes[0]["spec"]["supportedModelFormats"] = [{"name": "pytorch", "autoSelect": True}]
    state.pods = [pod(None)]
    await state.serving()
    assert warned(state).startswith("the pytorch model in pvc://models/net: loading it runs code")
    assert [item.reason for item in state.events].count("CodeBearingFormat") == 1
    state.pods = []
    await state.settle()
    assert "pvc://models/net" in warned(state)


async def test_a_safe_file_takes_the_warning_away() -> None:
    state = made("s3://bucket/iris")
    state.pods = [pod(code_bearing.render(["model.joblib"]))]
    await state.serving()
    assert warned(state)
    state.change(model=state.isvc["spec"]["predictor"]["model"] | {"storageUri": "s3://bucket/safe"})  # type: ignore[index]
    await state.settle()
    state.pods = [pod(code_bearing.render([]), "iris-predictor-00002")]
    state.knative("iris-predictor", "iris-predictor-00002")
    await state.settle()
    assert warned(state) == ""


async def test_allow_says_nothing_and_refuse_reaches_the_server() -> None:
    own = [{"name": "WAKEFUL_PICKLE", "value": "Allow"}]
    for policy, given, expected in (
        ("Allow", [], "Allow"),
        ("Refuse", [], "Refuse"),
        ("refuse", own, "Refuse"),
        ("Warn", own, "Allow"),
    ):
        state = made("s3://b/model.joblib", policy, env=given)
        state.pods = [pod(code_bearing.render(["model.joblib"]))]
        await state.serving()
        assert environment(state)["WAKEFUL_PICKLE"] == expected
        assert bool(warned(state)) is (policy == "Warn")


async def test_the_default_adds_nothing_to_the_pod() -> None:
    state = made("s3://b/model.joblib")
    await state.settle()
    assert "WAKEFUL_PICKLE" not in environment(state)


async def test_a_policy_that_is_none_is_named_and_counts_as_the_strictest() -> None:
    state = made("s3://b/model.joblib", "perhaps")
    await state.settle()
    assert (
        "codeBearingModels must be Allow, Warn or Refuse, not 'perhaps'"
        in state.condition("PredictorReady")[2]
    )
