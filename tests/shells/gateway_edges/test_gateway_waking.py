"""From zero: hold, wake, probe, hand over, tell where the time went; and say why when no pod comes."""

from __future__ import annotations

import asyncio
import json
import time
from dataclasses import replace

import aiohttp
import pytest
from gateway_pods import EchoPod, read_request
from gateway_world import World
from waiting_rig import until

from standalone.gateway.settings import Limits

HEADERS = {"Host": "m.ns.localhost"}
HTTP_PROBE = {"readinessProbe": {"httpGet": {"path": "/ready", "port": 8080}}}


@pytest.fixture
async def asleep(world: World) -> World:
    world.route("m.ns.localhost", ("r1", 100))
    world.revision(container=HTTP_PROBE)
    return world


async def get(world: World, **headers: str) -> tuple[int, str, dict[str, str]]:
    url = f"http://127.0.0.1:{world.port}/"
    async with aiohttp.ClientSession() as session, session.get(url, headers={**HEADERS, **headers}) as answer:
        return answer.status, await answer.text(), {k.lower(): v for k, v in answer.headers.items()}


async def test_first_request_wakes_and_tells_its_phases(asleep: World) -> None:
    port = await asleep.serve(EchoPod())
    asleep.waker.on_wake = lambda: asleep.pod(port) and None
    status, text, headers = await get(asleep)
    assert (status, text) == (200, "hello")
    assert headers["wakeful-cold-start"] == "true"
    (entry,) = asleep.engine.timelines
    assert headers["server-timing"] == entry.server_timing()
    assert set(entry.phases_ms) == {"decide", "start", "import", "load", "probe", "answer"}
    assert sum(entry.phases_ms.values()) == pytest.approx(entry.total_ms)
    assert asleep.waker.wakes == [("ns", "r1")]
    warm = await get(asleep)
    assert warm[0] == 200 and "wakeful-cold-start" not in warm[2]


async def test_reported_import_and_load_are_phases_of_their_own(asleep: World) -> None:
    port = await asleep.serve(EchoPod())

    def start() -> None:
        started = json.dumps({"started": time.time() - 0.05})
        note = {"node.wakeful.dev/ports": json.dumps({"8080": port}), "node.wakeful.dev/timeline": started}
        asleep.pod(port, metadata={"annotations": note})

    asleep.waker.on_wake = start
    seen = time.time() - 0.2
    asleep.fleet.revisions[("ns", "r1")].wake_seen_at = None
    assert (await get(asleep))[0] == 200
    (entry,) = asleep.engine.timelines
    assert entry.seen_at > seen
    assert all(value >= 0 for value in entry.phases_ms.values())


async def test_import_and_load_are_told_although_the_node_was_first_to_see_it_ready(asleep: World) -> None:
    may_tell, may_answer = asyncio.Event(), asyncio.Event()

    async def slow(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while request := await read_request(reader):
            if request.get("user-agent") == "Knative-Activator-Probe":
                await may_tell.wait()
                writer.write(EchoPod.probe_answer)
            else:
                await may_answer.wait()
                writer.write(b"HTTP/1.1 200 OK\r\ncontent-length: 5\r\n\r\nhello")

    port = await asleep.serve(slow)
    asleep.waker.on_wake = lambda: asleep.pod(port)
    ask = asyncio.create_task(get(asleep))
    revision = asleep.fleet.revisions[("ns", "r1")]
    await until(lambda: any(pod.probing is not None for pod in revision.pods.values()))
    asleep.pod(port, conditions=[{"type": "Ready", "status": "True"}])
    await asleep.open_pods()
    may_tell.set()
    await until(lambda: next(iter(revision.pods.values())).readiness.import_ms == 12.5)
    may_answer.set()
    assert (await ask)[0] == 200
    assert asleep.engine.timelines[0].phases_ms["import"] > 0


async def test_waiters_are_served_oldest_first_within_the_limit(asleep: World) -> None:
    asleep.revision(containerConcurrency=2, container=HTTP_PROBE)
    pod = EchoPod()
    port = await asleep.serve(pod)
    held = asleep.fleet.revisions[("ns", "r1")].hold.breaker
    asks = []
    for n in range(12):
        asks.append(asyncio.create_task(get(asleep, **{"X-N": str(n)})))
        await until(lambda n=n: held.waiting == n + 1)
    asleep.pod(port)
    assert {status for status, _, _ in await asyncio.gather(*asks)} == {200}
    assert pod.peak <= 2
    order = [int(request.get("x-n") or -1) for request in pod.requests]
    assert all(abs(place - n) <= 2 for place, n in enumerate(order)), order


async def test_autoscaler_away_requests_wait_and_are_served_later(asleep: World) -> None:
    asleep.waker.is_away = True
    ask = asyncio.create_task(get(asleep))
    await until(lambda: len(asleep.waker.wakes) >= 3)
    port = await asleep.serve(EchoPod())
    asleep.waker.on_wake = lambda: asleep.pod(port) and None
    asleep.waker.is_away = False
    assert (await ask)[0] == 200


async def test_client_that_gives_up_frees_its_place(asleep: World) -> None:
    _, writer = await asyncio.open_connection("127.0.0.1", asleep.port)
    writer.write(b"GET / HTTP/1.1\r\nHost: m.ns.localhost\r\n\r\n")
    breaker = asleep.fleet.revisions[("ns", "r1")].hold.breaker
    await until(lambda: breaker.waiting == 1)
    writer.close()
    await until(lambda: breaker.waiting == 0 and asleep.fleet.revisions[("ns", "r1")].meter.current == 0)
    assert asleep.fleet.revisions[("ns", "r1")].wake_seen_at is None


CRASHED = {
    "containerStatuses": [
        {
            "name": "user-container",
            "state": {"waiting": {"reason": "CrashLoopBackOff", "message": "back-off 10s"}},
            "lastState": {
                "terminated": {"exitCode": 1, "message": "Traceback\nFileNotFoundError: model.joblib"}
            },
        }
    ]
}
NO_IMAGE = {
    "containerStatuses": [
        {"name": "c", "state": {"waiting": {"reason": "ErrImagePull", "message": "no entry for image x/y"}}}
    ]
}
INIT_FAILED = {
    "initContainerStatuses": [
        {"name": "storage-initializer", "state": {"terminated": {"exitCode": 2, "message": "no such bucket"}}}
    ]
}


@pytest.mark.parametrize(
    ("status", "told"),
    [
        (CRASHED, "FileNotFoundError: model.joblib"),
        (NO_IMAGE, "no entry for image x/y"),
        (INIT_FAILED, "no such bucket"),
    ],
    ids=["crash loop", "image", "init container"],
)
async def test_failing_pod_is_told_within_seconds(asleep: World, status: dict, told: str) -> None:
    asleep.waker.on_wake = lambda: asleep.pod(0, **status) and None
    began = time.monotonic()
    code, text, headers = await get(asleep)
    assert code == 503 and told in text and '"r1" cannot serve' in text
    assert int(headers["retry-after"]) > 0
    assert time.monotonic() - began < 2


async def test_failed_revision_without_pods_is_told_too(asleep: World) -> None:
    condition = {
        "type": "Ready",
        "status": "False",
        "reason": "ContainerMissing",
        "message": "image not found",
    }
    asleep.revision(container=HTTP_PROBE, status={"conditions": [condition]})
    code, text, _ = await get(asleep)
    assert code == 503 and "ContainerMissing: image not found" in text


async def test_crashed_pod_is_replaced_and_the_request_is_not_lost(world: World) -> None:
    world.fleet._limits = replace(Limits(), pod_idle_s=0)
    world.route("m.ns.localhost", ("r1", 100))
    world.revision()
    world.pod(await world.serve(EchoPod()))
    await world.open_pods()
    await world.stop_server()
    ask = asyncio.create_task(get(world))
    await world.open_pods(0)
    world.pod(await world.serve(EchoPod()), name="p2")
    assert (await ask)[0] == 200


async def test_a_pod_that_crashed_once_is_waited_for_while_it_starts_again(asleep: World) -> None:
    """Its revision says Ready=False, ExitCode until then; that is no reason to send anybody away."""
    port = await asleep.serve(EchoPod())
    crashed = {"type": "Ready", "status": "False", "reason": "ExitCode3", "message": "Container failed"}
    crashed["lastTransitionTime"] = "2126-01-01T00:00:00Z"  # later than the pod's creation
    asleep.revision(container=HTTP_PROBE, status={"conditions": [crashed]})
    asleep.pod(0)
    ask = asyncio.create_task(get(asleep))
    await asyncio.wait({ask}, timeout=4 * asleep.limits.fail_after_s)
    asleep.pod(port)
    assert (await ask)[0] == 200


async def test_exec_probe_waits_for_the_nodes_word(asleep: World) -> None:
    asleep.revision(container={"readinessProbe": {"exec": {"command": ["true"]}}})
    port = await asleep.serve(EchoPod())
    asleep.pod(port)
    ask = asyncio.create_task(get(asleep))
    await until(lambda: asleep.fleet.revisions[("ns", "r1")].hold.breaker.waiting == 1)
    assert not asleep.fleet.revisions[("ns", "r1")].hold.breaker.pods
    asleep.pod(port, conditions=[{"type": "Ready", "status": "True"}])
    assert (await ask)[0] == 200


async def test_hold_is_bounded(world: World) -> None:
    world.limits = replace(Limits(), hold_requests=3)
    world.fleet._limits = world.limits
    world.route("m.ns.localhost", ("r1", 100))
    world.revision()
    asks = [asyncio.create_task(get(world)) for _ in range(3)]
    await until(lambda: world.fleet.revisions[("ns", "r1")].hold.breaker.waiting == 3)
    status, text, headers = await get(world)
    assert (status, text) == (503, "pending request queue full\n")
    assert headers["retry-after"] == "1"
    for ask in asks:
        ask.cancel()
    await asyncio.gather(*asks, return_exceptions=True)


async def test_waiting_bodies_are_bounded_by_what_they_may_occupy(asleep: World) -> None:
    """Eight clients send bodies without an end to a sleeping model: few are held, and those are not read beyond their charge."""
    budget = asleep.fleet._budget
    budget.limit_bytes = 2 * asleep.limits.held_body_bytes + 10_000
    head = b"POST / HTTP/1.1\r\nHost: m.ns.localhost\r\nTransfer-Encoding: chunked\r\n\r\n"
    chunk = b"10000\r\n" + b"x" * 65536 + b"\r\n"
    writers = []
    for _ in range(8):
        _, writer = await asyncio.open_connection("127.0.0.1", asleep.port)
        writer.write(head + chunk * 6)
        writers.append(writer)
    breaker = asleep.fleet.revisions[("ns", "r1")].hold.breaker
    await until(lambda: breaker.waiting == 2 and len(asleep.front.tasks) == 2)
    bodies = [c._current.body for c in asleep.front.connections if getattr(c, "_current", None)]
    assert len(bodies) == 2
    assert all(body.buffered <= asleep.limits.held_body_bytes for body in bodies)
    small = asyncio.create_task(get(asleep))
    await until(lambda: breaker.waiting == 3)
    small.cancel()
    await asyncio.gather(small, return_exceptions=True)
    for writer in writers:
        writer.transport.abort()
    await until(lambda: breaker.waiting == 0 and budget.used_bytes == 0)


async def test_queue_of_busy_pods_is_ten_per_slot_when_the_activator_is_out_of_the_path(world: World) -> None:
    world.route("m.ns.localhost", ("r1", 100))
    world.revision(containerConcurrency=1, annotations={"autoscaling.knative.dev/target-burst-capacity": "0"})
    pod = EchoPod()
    pod.gate.clear()
    world.pod(await world.serve(pod))
    await world.open_pods()
    asks = [asyncio.create_task(get(world)) for _ in range(14)]
    await until(lambda: sum(ask.done() for ask in asks) == 3)
    pod.gate.set()
    answers = [status for status, _, _ in await asyncio.gather(*asks)]
    assert (answers.count(200), answers.count(503), pod.peak) == (11, 3, 1)


async def test_draining_pod_ends_what_it_has_and_gets_nothing_new(world: World) -> None:
    world.route("m.ns.localhost", ("r1", 100))
    world.revision()
    old, new = EchoPod(), EchoPod()
    old.gate.clear()
    port = await world.serve(old)
    world.pod(port)
    await world.open_pods()
    slow = asyncio.create_task(get(world))
    await until(lambda: old.in_flight == 1)
    world.pod(port, metadata={"deletionTimestamp": "2026-01-01T00:00:00Z"})
    world.pod(await world.serve(new), name="p2")
    await world.open_pods()
    assert (await get(world))[0] == 200 and len(new.requests) == 1
    old.gate.set()
    assert (await slow)[0] == 200 and len(old.requests) == 1


async def test_requests_spread_over_pods(world: World) -> None:
    world.route("m.ns.localhost", ("r1", 100))
    world.revision(containerConcurrency=5)
    pods = [EchoPod(), EchoPod(), EchoPod()]
    for n, pod in enumerate(pods):
        world.pod(await world.serve(pod), name=f"p{n}")
    await world.open_pods(3)
    for _ in range(9):
        await get(world)
    assert [len(pod.requests) for pod in pods] == [3, 3, 3]
