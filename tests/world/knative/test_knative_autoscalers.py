"""PodAutoscalers that nobody's admission has looked at: unreadable ones, and those of other autoscalers."""

import time

from knative_world import AUTOSCALERS, Platform, condition

from standalone.knative.autoscaler import Stat
from wakeful.kit.kube import DEPLOYMENTS, Obj

CLASS = "autoscaling.knative.dev/class"
MIN_SCALE = "autoscaling.knative.dev/min-scale"


def has_three(deployment: Obj) -> bool:
    return (deployment.get("status") or {}).get("readyReplicas") == 3


async def test_one_unreadable_object_hides_nobody_else_s_traffic(platform: Platform) -> None:
    """``record`` ended at the first one it could not read: what came after it never scaled up."""
    await platform.apply("a")
    await platform.apply("b")
    await platform.ready("a")
    await platform.ready("b")
    broken = {"metadata": {"annotations": {MIN_SCALE: "inf"}}}
    await platform.client.patch(AUTOSCALERS, platform.namespace, "a-00001", broken)
    autoscaler = platform.serving.autoscaler

    def known(obj: Obj) -> bool:
        cached = platform.serving.world[AUTOSCALERS].get(platform.namespace, "a-00001")
        return cached is not None and cached["metadata"]["annotations"].get(MIN_SCALE) == "inf"

    await platform.until(AUTOSCALERS, "a-00001", known)
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
