"""The autoscaler against the real API server: to zero and back, min and max, wake, stats, restart, its socket."""

import asyncio
import io
import time
from pathlib import Path
from typing import Any

import aiohttp
import pytest
from knative_world import AUTOSCALERS, REVISIONS, Platform, condition
from prometheus_client import CollectorRegistry
from waiting_rig import until

from standalone.knative.autoscaler import Stat, UnknownRevisionError
from standalone.knative.autoscaler_http import build_app
from standalone.knative.metrics import ScalerCollector
from standalone.knative.resources import KSERVICES
from standalone.knative.serving import Serving
from wakeful.kit import httpserver
from wakeful.kit.kube import DEPLOYMENTS, Obj

FAST = {"autoscaling.knative.dev/window": "6s"}
DEPLOYMENT = "svc-00001-deployment"


def replicas(count: int):  # type: ignore[no-untyped-def]
    return lambda obj: obj["spec"]["replicas"] == count


async def report(platform: Platform, concurrency: float, until_s: float) -> None:
    """Play the gateway: one report a second."""
    while True:
        stats = [Stat(platform.namespace, "svc-00001", concurrency, concurrency)] if concurrency else []
        platform.serving.autoscaler.record(time.time(), stats)
        await asyncio.sleep(until_s)


async def asleep(platform: Platform, **more: Any) -> None:
    """A service scaled to zero."""
    undo = await platform.configure("config-autoscaler", {"scale-to-zero-grace-period": "1s"})
    try:
        await platform.apply(notes=FAST, **more)
        await platform.ready()
        quiet = asyncio.create_task(report(platform, 0, 1.0))
        try:
            await platform.until(DEPLOYMENTS, DEPLOYMENT, replicas(0), within_s=15)
        finally:
            quiet.cancel()
    finally:
        await undo()


async def test_to_zero_and_back_and_ready_all_the_while(platform: Platform) -> None:
    started = time.monotonic()
    await asleep(platform)
    assert 5 < time.monotonic() - started < 14
    revision = await platform.until(REVISIONS, "svc-00001", lambda r: condition(r, "Active")[0] == "False")
    assert condition(revision, "Active")[1:] == ("NoTraffic", "The target is not receiving traffic.")
    assert condition(revision, "Ready")[0] == "True"
    assert condition(await platform.get(KSERVICES), "Ready")[0] == "True"
    await platform.empty()
    await platform.settle()
    platform.node.seen.clear()
    started = time.perf_counter()
    woken = await platform.serving.autoscaler.wake(platform.namespace, "svc-00001")
    await until(lambda: bool(platform.node.seen))
    (seen,) = platform.node.seen.values()
    assert seen - started < 1.0, "the request waited for the 2 s tick; on a quiet machine it takes 15 ms"
    assert woken.desired == 1
    assert (await platform.get(DEPLOYMENTS, DEPLOYMENT))["spec"]["replicas"] == 1
    await platform.until(AUTOSCALERS, "svc-00001", lambda a: condition(a, "Active")[0] == "True")
    (pod,) = await platform.pods()
    assert pod["status"]["phase"] == "Running"
    again = await platform.serving.autoscaler.wake(platform.namespace, "svc-00001")
    assert again.desired == 1


async def test_load_scales_up_within_max_and_min_holds(platform: Platform) -> None:
    notes = {
        **FAST,
        "autoscaling.knative.dev/target": "1",
        "autoscaling.knative.dev/max-scale": "4",
        "autoscaling.knative.dev/min-scale": "2",
    }
    await platform.apply(notes=notes)
    await platform.ready()
    assert (await platform.get(DEPLOYMENTS, DEPLOYMENT))["spec"]["replicas"] == 2
    load = asyncio.create_task(report(platform, 50, 0.5))
    try:
        await platform.until(DEPLOYMENTS, DEPLOYMENT, replicas(4))
        autoscaler = await platform.until(
            AUTOSCALERS, "svc-00001", lambda a: a["status"].get("actualScale") == 4
        )
        assert autoscaler["status"]["desiredScale"] == 4
    finally:
        load.cancel()


async def test_a_restarted_autoscaler_keeps_what_runs(platform: Platform) -> None:
    await platform.apply(notes={**FAST, "autoscaling.knative.dev/initial-scale": "3"})
    await platform.ready()
    other = Serving(platform.client, 8080)
    task = asyncio.create_task(other.run())
    try:
        await until(lambda: other.is_synced)
        other.autoscaler.record(time.time(), [])
        key = (platform.namespace, "svc-00001")
        scaler = other.autoscaler.scalers[key]
        facts = other.autoscaler._facts(key)
        assert facts is not None
        assert scaler.tick(facts, other.autoscaler.now()).desired == 3
    finally:
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)


async def test_a_superseded_revision_lets_go_of_its_pods(platform: Platform) -> None:
    notes = {"autoscaling.knative.dev/min-scale": "2", **FAST}
    await platform.apply(notes=notes)
    await platform.ready()
    await platform.apply(image="wakeful/echo:2", notes=notes)
    quiet = asyncio.create_task(report(platform, 0, 1.0))
    undo = await platform.configure("config-autoscaler", {"scale-to-zero-grace-period": "1s"})
    try:
        await platform.until(DEPLOYMENTS, DEPLOYMENT, replicas(0), within_s=20)
        assert (await platform.get(DEPLOYMENTS, "svc-00002-deployment"))["spec"]["replicas"] == 2
    finally:
        quiet.cancel()
        await undo()


async def test_unknown_revision(platform: Platform) -> None:
    with pytest.raises(UnknownRevisionError, match="none has no PodAutoscaler"):
        await platform.serving.autoscaler.wake(platform.namespace, "none")


async def test_the_socket(platform: Platform, tmp_path: Path) -> None:
    await platform.apply()
    await platform.ready()
    registry = CollectorRegistry()
    registry.register(ScalerCollector(platform.serving.autoscaler))
    listen = f"unix:{tmp_path}/a.sock"
    runner = await httpserver.start(build_app(platform.serving.autoscaler, lambda: None, registry), listen)
    try:
        async with aiohttp.ClientSession(connector=aiohttp.UnixConnector(f"{tmp_path}/a.sock")) as session:
            await _talk(session, platform)
    finally:
        await runner.cleanup()


async def _talk(session: aiohttp.ClientSession, platform: Platform) -> None:
    async def post(path: str, body: object) -> tuple[int, Obj]:
        data = body if isinstance(body, bytes) else None
        async with session.post(f"http://a{path}", json=None if data else body, data=data) as answer:
            return answer.status, await answer.json() if answer.status != 204 else {}

    code, body = await post("/wake", {"namespace": platform.namespace, "revision": "svc-00001"})
    assert (code, body["desired"]) == (200, 1)
    assert abs(body["decided_at"] - time.time()) < 5
    code, body = await post("/wake", {"namespace": "x", "revision": "y"})
    assert code == 404 and "x/y" in body["error"]
    stat = {"namespace": platform.namespace, "revision": "svc-00001", "concurrency": 2.5, "requests": 3}
    assert (await post("/stats", {"at": time.time(), "stats": [stat]}))[0] == 204
    for path, bad in (
        ("/wake", {}),
        ("/wake", []),
        ("/wake", b"{"),
        ("/stats", {"at": "now", "stats": []}),
        ("/stats", {"at": 1, "stats": [{**stat, "concurrency": -1}]}),
        ("/stats", {"at": 1, "stats": [1]}),
    ):
        code, body = await post(path, bad)
        assert code == 400 and body["error"], (path, bad)
    async with session.post("http://a/stats", data=io.BytesIO(b" " * (9 << 20))) as answer:
        assert answer.status == 413
    async with session.get("http://a/metrics") as answer:
        assert "autoscaler_desired_pods{" in await answer.text()
