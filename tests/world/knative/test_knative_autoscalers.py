"""PodAutoscalers that nobody's admission has looked at: unreadable ones, and those of other autoscalers."""

import asyncio
import time
from collections.abc import Callable

from knative_world import AUTOSCALERS, Platform, condition

from standalone.knative.autoscaler import Stat
from standalone.knative.pod_usage import PodUsage
from wakeful.core.scaling.settings import HPA
from wakeful.kit.kube import DEPLOYMENTS, Obj

CLASS = "autoscaling.knative.dev/class"


def has_three(deployment: Obj) -> bool:
    return (deployment.get("status") or {}).get("readyReplicas") == 3


async def test_one_unreadable_object_hides_nobody_else_s_traffic(platform: Platform) -> None:
    """``record`` ended at the first one it could not read: what came after it never scaled up."""
    await platform.apply("a")
    await platform.apply("b")
    await platform.ready("a")
    await platform.ready("b")
    autoscaler, known = platform.serving.autoscaler, platform.serving.world[AUTOSCALERS]
    key = (platform.namespace, "a-00001")
    spec = {**known.store[key]["spec"], "containerConcurrency": "many"}
    known.store[key] = {**known.store[key], "spec": spec}  # the API would refuse it
    autoscaler.record(time.time(), [Stat(platform.namespace, "b-00001", 7.0, 7.0)])
    scaler = autoscaler.scalers[(platform.namespace, "b-00001")]
    facts = autoscaler._facts((platform.namespace, "b-00001"))
    assert facts is not None
    assert scaler.tick(facts, autoscaler.now()).stable > 0


async def test_another_autoscaler_s_revision_is_left_to_it(platform: Platform) -> None:
    """Its class is accepted, as Knative accepts it: nobody here writes its replicas or its status."""
    await platform.apply(notes={CLASS: "mine.example.com", "autoscaling.knative.dev/metric": "queue-length"})
    made = await platform.until(DEPLOYMENTS, "svc-00001-deployment", lambda _: True)
    assert made["spec"]["replicas"] == 1
    await platform.client.patch(
        DEPLOYMENTS, platform.namespace, "svc-00001-deployment", {"spec": {"replicas": 3}}
    )
    await platform.until(DEPLOYMENTS, "svc-00001-deployment", has_three)
    autoscaler = platform.serving.autoscaler
    key = (platform.namespace, "svc-00001")
    autoscaler._ticked.add(key)
    assert await autoscaler.reconcile(key) is None
    woken = await autoscaler.wake(*key)
    assert (woken.desired, woken.reason) == (3, "external")
    kept = await platform.get(AUTOSCALERS, "svc-00001")
    assert condition(kept, "Active")[0] == "Unknown"
    assert (await platform.get(DEPLOYMENTS, "svc-00001-deployment"))["spec"]["replicas"] == 3


class Measured:
    """What the node would say: every pod takes so many cores."""

    def __init__(self) -> None:
        self.cores = 0.0
        self.uids: set[str] = set()

    async def read(self) -> dict[str, PodUsage]:
        return {uid: PodUsage(self.cores, 0.0) for uid in self.uids}


async def test_an_hpa_revision_follows_what_its_pods_take(platform: Platform) -> None:
    """Up at once, down after its window, within its bounds, and never to zero."""
    autoscaler, measured = platform.serving.autoscaler, Measured()
    autoscaler._usage = measured
    running = asyncio.create_task(autoscaler.run_measures(0.05))

    def replicas(count: int) -> Callable[[Obj], bool]:
        return lambda deployment: bool(deployment["spec"]["replicas"] == count)

    async def follow() -> None:
        while True:
            measured.uids = {pod["metadata"]["uid"] for pod in await platform.pods()}
            await asyncio.sleep(0.02)

    following = asyncio.create_task(follow())
    try:
        notes = {CLASS: HPA, "autoscaling.knative.dev/target": "50", "autoscaling.knative.dev/max-scale": "3"}
        limits = {"resources": {"requests": {"cpu": "100m"}}}
        container = {"image": "wakeful/echo:1", **limits}
        notes["autoscaling.knative.dev/window"] = "6s"
        measured.cores = 0.05
        await platform.apply(notes=notes, spec={"containers": [container]})
        await platform.ready()
        assert (await platform.get(DEPLOYMENTS, "svc-00001-deployment"))["spec"]["replicas"] == 1
        measured.cores = 0.5
        await platform.until(DEPLOYMENTS, "svc-00001-deployment", replicas(3), within_s=20)
        measured.cores = 0.0
        await platform.until(DEPLOYMENTS, "svc-00001-deployment", replicas(1), within_s=20)
        active = await platform.until(AUTOSCALERS, "svc-00001", lambda a: a["status"]["desiredScale"] == 1)
        assert condition(active, "Active")[0] == "True"
    finally:
        for task in (running, following):
            task.cancel()
        await asyncio.gather(running, following, return_exceptions=True)
