"""What serves goes on serving, whatever else changes around it."""

from __future__ import annotations

from controller_world import world

TRANSFORMER = {"containers": [{"name": "kserve-container", "image": "example/transformer:1"}]}
BROKEN = ("False", "RevisionFailed", "no model file")


async def test_a_removed_transformer_serves_until_its_successor_is_ready() -> None:
    state = world(transformer=TRANSFORMER)
    await state.settle()
    for name in ("iris-predictor", "iris-transformer"):
        state.knative(name, f"{name}-00001")
    await state.settle()
    state.ingress_ready()
    await state.settle()
    assert state.isvc is not None
    del state.isvc["spec"]["transformer"]
    state.change(model={"modelFormat": {"name": "sklearn"}, "storageUri": "pvc://models/broken"})
    await state.settle()
    state.knative("iris-predictor", "iris-predictor-00002", "iris-predictor-00001", Ready=BROKEN)
    await state.settle()
    assert ("ksvc", "iris-transformer") in state.objects, "the Ingress still leads to it"

    state.knative("iris-predictor", "iris-predictor-00003")
    await state.settle()
    assert ("ksvc", "iris-transformer") in state.objects, "the gateway has not acted on the new Ingress yet"
    state.ingress_ready()
    await state.settle()
    assert ("ksvc", "iris-transformer") not in state.objects
    assert "transformer" not in state.status["components"]


async def test_another_default_mode_makes_no_revision() -> None:
    state = await world().serving()
    before = state.service()["spec"]["template"]
    state.configmap = {"data": {"deploy": '{"defaultDeploymentMode": "Standard"}'}}
    await state.settle()
    assert state.service()["spec"]["template"] == before
    assert state.condition("Ready")[0] == "True"


async def test_a_status_that_changed_meanwhile_is_no_failure_and_repeats_no_event() -> None:
    state = await world().serving()
    state.knative("iris-predictor", "iris-predictor-00001", Ready=BROKEN)
    events = list(state.events)
    state.is_status_refused = True
    assert await state.reconcile() is None
    assert state.events == events
    state.is_status_refused = False
    await state.settle()
    assert [item.reason for item in state.events[len(events) :]] == [
        "InferenceServiceNotReady",
        "InternalError",
    ]
