"""Traffic of Knative Services on a whole platform: shares counted, tags, rollback, gradual rollout through kill -9."""

from __future__ import annotations

import json
import os
import signal

import pytest
from serving_echo import Echo
from waiting_rig import until_blocking as until
from whole_platform import Platform

from standalone import instance

pytestmark = [pytest.mark.platform, pytest.mark.timeout(120), pytest.mark.usefixtures("needs_kubectl")]
NAMESPACE = "serving-traffic"


@pytest.fixture(scope="module")
def echo(platform: Platform) -> Echo:
    """Two ready revisions of one Service."""
    platform.kubectl("create", "namespace", NAMESPACE)
    found = Echo(platform, NAMESPACE, "echo")
    for version in ("1", "2"):
        found.roll_out(version, f"echo-0000{version}")
    return found


def patch(echo: Echo, traffic: object) -> None:
    echo.kubectl("patch", "ksvc", "echo", "--type=merge", "-p", json.dumps({"spec": {"traffic": traffic}}))


def test_shares_tags_and_columns(echo: Echo) -> None:
    patch(
        echo,
        [
            {"revisionName": "echo-00001", "percent": 80, "tag": "stable"},
            {"revisionName": "echo-00002", "percent": 20, "tag": "canary"},
            {"latestRevision": True, "tag": "next"},
        ],
    )
    echo.ready()
    seen = echo.count(1000)
    assert set(seen) == {(200, "echo-00001"), (200, "echo-00002")}
    assert 140 <= seen[200, "echo-00002"] <= 260, seen  # 200 +- 4.7 standard deviations
    for tag, revision in (("stable", "echo-00001"), ("canary", "echo-00002"), ("next", "echo-00002")):
        assert echo.count(5, f"{tag}-echo.{NAMESPACE}.localhost") == {(200, revision): 5}
        assert echo.count(5, f"{tag}-echo.{NAMESPACE}.svc.cluster.local") == {(200, revision): 5}
    assert echo.call("/", f"nope-echo.{NAMESPACE}.localhost")[0] == 404
    shown = [
        (t["revisionName"], t["percent"], t["latestRevision"], t["tag"])
        for t in echo.get()["status"]["traffic"]
    ]
    assert shown == [
        ("echo-00001", 80, False, "stable"),
        ("echo-00002", 20, False, "canary"),
        ("echo-00002", 0, True, "next"),
    ]
    columns = echo.kubectl("get", "ksvc,rev,kpa").splitlines()
    assert columns[0].split() == ["NAME", "URL", "LATESTCREATED", "LATESTREADY", "READY", "REASON"]
    assert (
        "CONFIG NAME" in columns[3] and "ACTUAL REPLICAS" in columns[3] and "DESIRED REPLICAS" in columns[3]
    )


def test_one_bad_target_changes_nothing(echo: Echo) -> None:
    patch(echo, [{"latestRevision": True, "percent": 100}])
    echo.ready()
    patch(
        echo, [{"revisionName": "echo-00001", "percent": 50}, {"revisionName": "echo-00077", "percent": 50}]
    )
    told = ("False", "RevisionMissing", 'Revision "echo-00077" referenced in traffic not found.')
    until(lambda: echo.condition("AllTrafficAssigned", "rt") == told, 10, "RevisionMissing")
    until(lambda: echo.condition("Ready") == told, 10, "the Service to say so")
    assert echo.count(50) == {(200, "echo-00002"): 50}


def test_rollback_and_forward(echo: Echo) -> None:
    patch(echo, [{"revisionName": "echo-00001", "percent": 100}])
    echo.ready()
    until(lambda: echo.count(20) == {(200, "echo-00001"): 20}, 10, "the old revision alone")
    patch(echo, None)
    echo.ready()
    until(lambda: echo.count(20) == {(200, "echo-00002"): 20}, 10, "the latest revision alone")


def test_gradual_rollout_survives_kill_9_without_a_failed_request(platform: Platform, echo: Echo) -> None:
    patch(echo, None)
    echo.kubectl("annotate", "ksvc", "echo", "serving.knative.dev/rollout-duration=8s", "--overwrite")
    echo.ready()
    with echo.load(4, pause_s=0.02) as seen:
        env = {"spec": {"template": {"spec": {"containers": [container("3")]}}}}
        echo.kubectl("patch", "ksvc", "echo", "--type=merge", "-p", json.dumps(env))
        until(
            lambda: echo.condition("IngressReady", "rt")[1] == "RolloutInProgress", 10, "the rollout to begin"
        )
        assert echo.condition("Ready")[:2] == ("Unknown", "RolloutInProgress")
        record = instance.read(platform.layout)
        assert record is not None
        os.kill(record.processes["knative"].pid, signal.SIGKILL)
        until(lambda: echo.condition("Ready")[0] == "True", 30, "the rollout to end")
    assert {status for status, _ in seen} == {200}, seen
    assert seen[200, "echo-00003"] and seen[200, "echo-00002"]
    assert echo.count(20) == {(200, "echo-00003"): 20}


def container(version: str) -> dict[str, object]:
    from serving_echo import SCRIPT

    env = [{"name": "V", "value": version}]
    return {"image": "python:3.11", "command": ["python", str(SCRIPT)], "env": env}
