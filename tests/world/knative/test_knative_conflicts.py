"""Somebody else writes the same objects all the time: status goes through, and nobody's change is lost."""

from knative_world import CONFIGURATIONS, ROUTES, Platform, condition

from standalone.knative.resources import KSERVICES
from standalone.knative.world import World


async def test_status_is_written_though_the_cache_is_behind(platform: Platform) -> None:
    await platform.apply()
    await platform.ready()
    stale = await platform.get(KSERVICES)
    note = {"metadata": {"annotations": {"example.com/who": "somebody else"}}}
    await platform.client.patch(KSERVICES, platform.namespace, "svc", note)
    world = World(platform.client)  # its caches never run: it knows no newer version
    status = {**stale["status"], "url": "http://elsewhere.example.com"}
    made = await world.write_status(KSERVICES, stale, status)
    assert made["status"]["url"] == "http://elsewhere.example.com"
    assert made["metadata"]["annotations"]["example.com/who"] == "somebody else"


async def test_writing_to_what_was_just_deleted_is_no_failure(platform: Platform) -> None:
    await platform.apply()
    await platform.ready()
    stale = await platform.get(KSERVICES)
    await platform.client.delete(KSERVICES, platform.namespace, "svc")
    await platform.gone(KSERVICES, "svc")
    world = World(platform.client)
    await world.write_status(KSERVICES, stale, {**stale["status"], "url": "http://elsewhere.example.com"})
    await world.patch(KSERVICES, stale, {"metadata": {"labels": {"a": "b"}}})
    await world.update(KSERVICES, {**stale, "spec": {**stale["spec"], "traffic": []}})
    assert await platform.client.find(KSERVICES, platform.namespace, "svc") is None


async def test_no_route_leads_to_somebody_elses_configuration(platform: Platform) -> None:
    body = {
        "apiVersion": "serving.knative.dev/v1",
        "kind": "Configuration",
        "metadata": {"name": "svc", "namespace": platform.namespace},
        "spec": {"template": {"spec": {"containers": [{"image": "wakeful/echo:1"}]}}},
    }
    await platform.client.create(CONFIGURATIONS, platform.namespace, body)
    await platform.apply()
    told = 'There is an existing Configuration "svc" that we do not own.'
    await platform.until(KSERVICES, "svc", lambda s: condition(s, "Ready") == ("False", "NotOwned", told))
    await platform.settle()
    assert condition(await platform.get(KSERVICES), "RoutesReady")[0] == "Unknown"
    assert await platform.client.find(ROUTES, platform.namespace, "svc") is None
