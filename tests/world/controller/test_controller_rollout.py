"""Canary: the life cycle of KServe's section 2.5, each step to its fixed point."""

from __future__ import annotations

from controller_world import World, world

REV1, REV2, REV3 = (f"iris-predictor-0000{number}" for number in (1, 2, 3))


async def advance(state: World, created: str, ready: str | None = None) -> None:
    """Let the controller and Knative act on each other until neither changes anything."""
    for _ in range(4):
        await state.settle()
        state.knative("iris-predictor", created, ready)
        state.ingress_ready()
    await state.settle()


def rolled_out(state: World) -> tuple[str, str]:
    predictor = state.status["components"]["predictor"]
    return predictor["latestRolledoutRevision"], predictor.get("previousRolledoutRevision", "")


async def test_canary_promotion_and_rollback() -> None:
    state = await world().serving(REV1)
    state.change(canaryTrafficPercent=20, timeout=60)
    await advance(state, REV2)
    assert state.traffic() == [("latest", 20, ""), (REV1, 80, "prev")]
    assert rolled_out(state) == (REV1, "")
    shown = state.status["components"]["predictor"]["traffic"]
    assert [(item["revisionName"], item["percent"]) for item in shown] == [(REV2, 20), (REV1, 80)]

    state.change(canaryTrafficPercent=50)
    await advance(state, REV2)
    assert state.traffic() == [("latest", 50, ""), (REV1, 50, "prev")]

    state.change(canaryTrafficPercent=None)
    await advance(state, REV2)
    assert state.traffic() == [("latest", 100, "")]
    assert rolled_out(state) == (REV2, REV1)

    state.change(canaryTrafficPercent=0)
    await advance(state, REV2)
    assert state.traffic() == [("latest", 0, ""), (REV1, 100, "prev")]
    assert rolled_out(state)[0] == REV1


async def test_full_percentage_promotes_too() -> None:
    state = await world().serving(REV1)
    state.change(canaryTrafficPercent=100, timeout=60)
    await advance(state, REV2)
    assert state.traffic() == [("latest", 100, "")]
    assert rolled_out(state) == (REV2, REV1)


async def test_a_failed_canary_leaves_the_old_revision_serving() -> None:
    state = await world().serving(REV1)
    state.change(canaryTrafficPercent=20, timeout=60)
    await state.settle()
    failed = ("False", "RevisionFailed", "it crashed")
    state.knative("iris-predictor", REV2, ready=REV1, Ready=failed, ConfigurationsReady=failed)
    await state.settle()
    assert rolled_out(state) == (REV1, "")
    assert state.condition("PredictorReady") == failed
    assert state.status["url"] == "http://iris.ns.localhost:8080"


async def test_the_first_apply_ignores_the_percentage_until_something_rolled_out() -> None:
    state = world()
    state.change(canaryTrafficPercent=20)
    await state.settle()
    assert state.traffic() == [("latest", 100, "")]


async def test_tag_routing_adds_the_latest_tag() -> None:
    state = world(annotations={"serving.kserve.io/enable-tag-routing": "true"})
    await state.settle()
    assert state.traffic() == [("latest", 100, "latest")]
    state.isvc["metadata"]["annotations"]["serving.kserve.io/enable-tag-routing"] = "True"  # type: ignore[index]
    await state.settle()
    assert state.traffic() == [("latest", 100, "")]


async def test_a_change_of_percentage_alone_makes_no_new_template() -> None:
    state = await world().serving(REV1)
    before = state.service()["spec"]["template"]
    state.change(canaryTrafficPercent=30)
    await state.settle()
    assert state.service()["spec"]["template"] == before


async def test_revisions_of_a_deleted_service_are_forgotten() -> None:
    state = await world().serving(REV1)
    state.change(timeout=60)
    await advance(state, REV2)
    assert rolled_out(state) == (REV2, REV1)
    state.change(canaryTrafficPercent=20, timeout=61)
    await advance(state, REV3)
    del state.objects["ksvc", "iris-predictor"]
    await advance(state, REV1)
    assert state.traffic()[0][:2] == ("latest", 20) and state.traffic()[1:] == [(REV1, 80, "prev")]
    assert rolled_out(state) == (REV1, "")
    assert state.condition("Ready")[0] == "True"


async def test_a_renamed_predictor_starts_a_history_of_its_own() -> None:
    state = await world().serving(REV1)
    state.change(name="b", canaryTrafficPercent=20)
    await state.settle()
    traffic = state.service("iris-b-predictor")["spec"]["traffic"]
    assert traffic == [{"latestRevision": True, "percent": 100}]
    assert ("ksvc", "iris-predictor") in state.objects, "it serves until its successor is ready"
