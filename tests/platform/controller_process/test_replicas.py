"""Several controllers: one acts, the others answer webhooks and take over."""

from __future__ import annotations

import signal
import time
from typing import Any

import pytest
from controller_rig import SYSTEM, Replica, Rig, free_port

from controller.cache import INFERENCE_SERVICES, KNATIVE_SERVICES
from controller.leader import LEASES
from wakeful.kit.kube import NAMESPACES, Obj

pytestmark = [pytest.mark.platform, pytest.mark.timeout(120)]

ELECT = ("--leader-elect", "--lease-s", "6")


def isvc(namespace: str, name: str = "iris") -> Obj:
    return {
        "apiVersion": "serving.kserve.io/v1beta1",
        "kind": "InferenceService",
        "metadata": {"name": name, "namespace": namespace},
        "spec": {"predictor": {"model": {"modelFormat": {"name": "sklearn"}, "storageUri": "pvc://m/iris"}}},
    }


async def applied(rig: Rig, namespace: str, name: str = "iris") -> None:
    body = {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": namespace}}
    await rig.client.apply(NAMESPACES, None, body)
    await rig.client.apply(INFERENCE_SERVICES, namespace, isvc(namespace, name))


async def service(rig: Rig, namespace: str, name: str = "iris") -> Obj:
    found: Obj = await rig.until(
        lambda: rig.client.find(KNATIVE_SERVICES, namespace, f"{name}-predictor"), "nobody acted"
    )
    return found


async def test_one_acts_and_another_takes_over(rig: Rig) -> None:
    first, second = rig.start("first", *ELECT), rig.start("second", *ELECT, port=free_port())
    await rig.until(lambda: first.is_ready(), "the first is not ready")
    await rig.until(lambda: second.is_ready(), "a replica that does not lead is ready all the same")

    async def who_leads() -> list[Replica]:
        return [item for item in (first, second) if await item.leads()]

    leads = await rig.until(who_leads, "nobody leads")
    assert len(leads) == 1
    leader, other = leads[0], second if leads == [first] else first
    lease = await rig.client.get(LEASES, SYSTEM, "wakeful-controller")
    assert lease["spec"]["holderIdentity"] == leader.name
    await applied(rig, "r1")
    await service(rig, "r1")

    started = time.monotonic()
    leader.end(signal.SIGKILL)
    await rig.until(other.leads, "nobody took over")
    assert time.monotonic() - started > 1, "the silent leader's lease was waited for"


async def test_a_leader_that_ends_gives_the_lease_back(rig: Rig) -> None:
    long = ("--leader-elect", "--lease-s", "60")
    first = rig.start("first", *long)
    await rig.until(first.leads, "does not lead")
    second = rig.start("second", *long, port=free_port())
    await rig.until(second.is_ready, "not ready")
    first.end()
    await rig.until(second.leads, "the lease of 60 s was not given back", 30)


async def test_without_its_lease_nobody_acts(rig: Rig) -> None:
    """The installation is being removed: children that the garbage collector takes must not come again."""
    one = rig.start("one", *ELECT)
    await rig.until(one.leads, "does not lead")
    await rig.client.delete(LEASES, SYSTEM, "wakeful-controller")

    async def stopped() -> bool:
        return not await one.leads()

    await rig.until(stopped, "still leads without a lease", 15)
    assert "the Lease wakeful-controller does not exist" in one.log.read_text()


async def test_another_version_of_the_controller_changes_no_knative_service(rig: Rig) -> None:
    """An upgrade restarts no model pod: what is applied does not say by whom."""
    old = rig.start("wakeful-controller-aaa", *ELECT)
    await rig.until(old.is_ready, "not ready")
    await applied(rig, "up", "stays")
    before = await service(rig, "up", "stays")
    old.end()
    new = rig.start("wakeful-controller-bbb", *ELECT, "--certificate-life-s", "1000")

    async def has_looked() -> bool:
        page = await new.page("/metrics")
        return 'wakeful_reconcile_total{outcome="done"}' in page and await new.is_ready()

    await rig.until(has_looked, "the new controller did not look")
    after = await rig.client.get(KNATIVE_SERVICES, "up", "stays-predictor")
    assert _told(after) == _told(before)


def _told(obj: Obj) -> dict[str, Any]:
    return {"spec": obj["spec"], "generation": obj["metadata"]["generation"], "uid": obj["metadata"]["uid"]}
