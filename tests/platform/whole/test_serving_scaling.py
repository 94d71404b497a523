"""The autoscaler on a whole platform: 20 slow clients onto a sleeping Service, by the formula up, then down to zero."""

from __future__ import annotations

import pytest
from serving_echo import Echo
from waiting_rig import until_blocking as until
from whole_platform import Platform

pytestmark = [pytest.mark.platform, pytest.mark.timeout(120), pytest.mark.usefixtures("needs_kubectl")]
NAMESPACE = "serving-scaling"
AUTOSCALING = "autoscaling.knative.dev"


def test_burst_onto_a_sleeping_service(platform: Platform) -> None:
    platform.kubectl("create", "namespace", NAMESPACE)
    echo = Echo(platform, NAMESPACE, "burst")
    echo.apply(notes={f"{AUTOSCALING}/target": "5", f"{AUTOSCALING}/window": "8s"})
    echo.ready()
    until(lambda: not echo.pods(), 60, "zero pods")
    assert echo.condition("Ready")[0] == "True"
    assert echo.condition("Active", "rev", "burst-00001")[:2] == ("False", "NoTraffic")
    scales: list[int] = []
    with echo.load(20, "/?ms=1000") as seen:
        # 20 in flight, 70 % of 5 a pod: ceil(20 / 3.5) = 6; a busy machine may keep one or two clients from calling
        until(lambda: desired(echo, scales) >= 5, 30, "ceil(20 / 3.5) pods")
        until(lambda: len(echo.pods()) >= 5, 30, "their pods")
    assert set(seen) == {(200, "burst-00001")}
    until(lambda: desired(echo, scales) == 0, 60, "zero")
    assert max(scales) in (5, 6)
    falling = scales[scales.index(max(scales)) :]
    assert sorted(falling, reverse=True) == falling, f"flapping: {scales}"
    until(lambda: not echo.pods(), 30, "zero pods")


def desired(echo: Echo, scales: list[int]) -> int:
    scales.append(int(echo.get("deploy", "burst-00001-deployment")["spec"]["replicas"]))
    return scales[-1]
