"""Somebody else writes the same objects all the time: status goes through, and nobody's change is lost."""

from knative_world import Platform

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
