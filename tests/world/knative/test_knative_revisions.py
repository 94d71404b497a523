"""New revisions, broken ones, named ones, traffic blocks, collection, gradual rollout."""

import asyncio
from typing import Any

import pytest
from knative_world import CONFIGURATIONS, INGRESSES, REVISIONS, ROUTES, Platform, condition, is_ready

from standalone.knative.resources import KSERVICES
from wakeful.kit.kube import ApiError, Obj

GROUP = "serving.knative.dev"


def latest(name: str) -> Any:
    return lambda obj: is_ready(obj) and obj["status"]["latestReadyRevisionName"] == name


async def main_split(platform: Platform) -> dict[str, int]:
    rule = (await platform.get(INGRESSES))["spec"]["rules"][0]
    return {s["serviceName"]: s["percent"] for s in rule["http"]["paths"][0]["splits"]}


async def test_a_new_template_is_a_new_revision_and_traffic_moves_when_it_is_ready(
    platform: Platform,
) -> None:
    await platform.apply()
    await platform.ready()
    platform.node.is_holding = True
    await platform.apply(image="wakeful/echo:2")
    service = await platform.until(
        KSERVICES, "svc", lambda s: s["status"].get("latestCreatedRevisionName") == "svc-00002"
    )
    assert service["status"]["latestReadyRevisionName"] == "svc-00001"
    assert await main_split(platform) == {"svc-00001": 100}
    await platform.node.release()
    await platform.until(KSERVICES, "svc", latest("svc-00002"))
    assert await main_split(platform) == {"svc-00002": 100}
    old = await platform.until(
        REVISIONS, "svc-00001", lambda r: r["metadata"]["labels"][f"{GROUP}/routingState"] == "reserve"
    )
    assert f"{GROUP}/routes" not in old["metadata"]["annotations"]
    await platform.settle()


async def test_an_unknown_image_is_told_and_the_healthy_revision_keeps_serving(platform: Platform) -> None:
    await platform.apply()
    await platform.ready()
    await platform.apply(image="bad/image:1")
    told = 'Unable to fetch image "bad/image:1": no entry for bad/image:1 in images.yaml: add one'
    revision = await platform.until(REVISIONS, "svc-00002", lambda r: condition(r, "Ready")[0] == "False")
    assert condition(revision, "ContainerHealthy") == ("False", "ContainerMissing", told)
    service = await platform.until(
        KSERVICES, "svc", lambda s: condition(s, "ConfigurationsReady")[0] == "False"
    )
    assert condition(service, "ConfigurationsReady")[1:] == (
        "RevisionFailed",
        f'Revision "svc-00002" failed with message: {told}.',
    )
    assert condition(service, "RoutesReady")[0] == "True"
    assert service["status"]["latestReadyRevisionName"] == "svc-00001"
    assert await main_split(platform) == {"svc-00001": 100}
    await platform.settle()
    await platform.apply(image="wakeful/echo:3")
    await platform.until(KSERVICES, "svc", latest("svc-00003"))


async def test_a_crashing_container_is_told_with_its_own_words(platform: Platform) -> None:
    await platform.apply(image="crash:1")
    revision = await platform.until(REVISIONS, "svc-00001", lambda r: condition(r, "Ready")[0] == "False")
    assert condition(revision, "ContainerHealthy") == (
        "False",
        "ExitCode3",
        "Container failed with: model file not found",
    )
    route = await platform.until(ROUTES, "svc", lambda r: condition(r, "AllTrafficAssigned")[0] == "False")
    assert condition(route, "AllTrafficAssigned")[1:] == (
        "RevisionMissing",
        'Configuration "svc" does not have any ready Revision.',
    )
    await platform.settle()


async def test_canary_by_percent_tags_and_rollback(platform: Platform) -> None:
    await platform.apply()
    await platform.ready()
    traffic: list[dict[str, Any]] = [
        {"revisionName": "svc-00001", "percent": 90, "tag": "stable"},
        {"latestRevision": True, "percent": 10, "tag": "canary"},
    ]
    await platform.apply(image="wakeful/echo:2", traffic=traffic)
    service = await platform.until(KSERVICES, "svc", latest("svc-00002"))
    assert await main_split(platform) == {"svc-00001": 90, "svc-00002": 10}
    assert [(e["tag"], e["revisionName"], e["percent"]) for e in service["status"]["traffic"]] == [
        ("stable", "svc-00001", 90),
        ("canary", "svc-00002", 10),
    ]
    await platform.apply(image="wakeful/echo:2", traffic=[{"revisionName": "svc-00001", "percent": 100}])
    await platform.ready()
    assert await main_split(platform) == {"svc-00001": 100}
    configuration = await platform.get(CONFIGURATIONS)
    assert configuration["status"]["latestCreatedRevisionName"] == "svc-00002"
    await platform.settle()


@pytest.mark.parametrize(
    ("revision", "reason", "message"),
    [
        ("svc-00009", "RevisionMissing", 'Revision "svc-00009" referenced in traffic not found.'),
        (
            "two-00001",
            "RevisionNotOwned",
            'Revision "two-00001" referenced in traffic is not owned by Service "svc".',
        ),
    ],
)
async def test_one_bad_target_changes_nothing(
    platform: Platform, revision: str, reason: str, message: str
) -> None:
    await platform.apply()
    await platform.apply("two")
    await platform.ready()
    await platform.ready("two")
    traffic = [{"revisionName": revision, "percent": 50}, {"revisionName": "svc-00001", "percent": 50}]
    await platform.apply(traffic=traffic)
    route = await platform.until(ROUTES, "svc", lambda r: condition(r, "AllTrafficAssigned")[0] == "False")
    assert condition(route, "AllTrafficAssigned")[1:] == (reason, message)
    assert await main_split(platform) == {"svc-00001": 100}
    assert route["status"]["traffic"][0]["percent"] == 100
    await platform.settle()


async def test_named_revisions(platform: Platform) -> None:
    await platform.apply(revision="svc-one")
    await platform.until(KSERVICES, "svc", latest("svc-one"))
    with pytest.raises(ApiError, match="Saw the following changes without a name change"):
        await platform.apply(revision="svc-one", image="wakeful/echo:2")
    await platform.apply(revision="svc-two", image="wakeful/echo:2")
    await platform.until(KSERVICES, "svc", latest("svc-two"))
    await platform.apply(revision="svc-one")
    await platform.until(KSERVICES, "svc", latest("svc-one"))
    assert await main_split(platform) == {"svc-one": 100}
    await platform.settle()


async def test_a_name_that_is_taken(platform: Platform) -> None:
    await platform.apply("svc-other")
    await platform.ready("svc-other")
    await platform.apply(revision="svc-other-00001", image="wakeful/echo:2")
    service = await platform.until(KSERVICES, "svc", lambda s: condition(s, "Ready")[0] == "False")
    assert condition(service, "ConfigurationsReady")[1] == "RevisionNameTaken"
    assert condition(await platform.get(CONFIGURATIONS), "Ready")[1] == "RevisionFailed"


async def test_old_revisions_are_collected(platform: Platform) -> None:
    undo = await platform.configure(
        "config-gc",
        {
            "min-non-active-revisions": "0",
            "max-non-active-revisions": "1",
            "retain-since-create-time": "disabled",
            "retain-since-last-active-time": "disabled",
        },
    )
    try:
        for number in range(1, 5):
            await platform.apply(image=f"wakeful/echo:{number}")
            await platform.until(KSERVICES, "svc", latest(f"svc-0000{number}"))
        await platform.gone(REVISIONS, "svc-00001")
        await platform.gone(REVISIONS, "svc-00002")
        assert await platform.get(REVISIONS, "svc-00003")
    finally:
        await undo()


async def test_gradual_rollout(platform: Platform) -> None:
    metadata = {"annotations": {f"{GROUP}/rollout-duration": "4s"}}
    await platform.apply(metadata=metadata)
    await platform.ready()
    await platform.apply(image="wakeful/echo:2", metadata=metadata)
    seen: list[int] = []

    def watch(obj: Obj) -> bool:
        splits = {
            s["serviceName"]: s["percent"] for s in obj["spec"]["rules"][0]["http"]["paths"][0]["splits"]
        }
        assert sum(splits.values()) == 100
        if splits.get("svc-00002", 0) not in seen:
            seen.append(splits.get("svc-00002", 0))
        return splits == {"svc-00002": 100}

    async def rolling(obj: Obj) -> None:
        await platform.until(
            KSERVICES, "svc", lambda s: condition(s, "RoutesReady")[1] == "RolloutInProgress"
        )

    task = asyncio.create_task(rolling({}))
    await platform.until(INGRESSES, "svc", watch, within_s=12)
    await task
    assert seen == [0, 1, 34, 67, 100] or seen == [1, 34, 67, 100]
    await platform.ready()
