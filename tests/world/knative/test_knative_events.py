"""What ``kubectl describe`` shows below a Service, its children and a failure, in Knative's words."""

import asyncio
import time

from knative_world import REVISIONS, ROUTES, Platform, condition

from standalone.knative.deployments import build_pod
from standalone.knative.resources import KSERVICES
from wakeful.kit.kube import DEPLOYMENTS, EVENTS

Told = set[tuple[str, str, str, str]]


async def told(platform: Platform) -> Told:
    """(kind, type, reason, message)."""
    found = (await platform.client.list(EVENTS, platform.namespace))["items"]
    return {(e["involvedObject"]["kind"], e["type"], e["reason"], e["message"]) for e in found}


async def until_told(platform: Platform, wanted: Told) -> None:
    deadline = time.monotonic() + 8
    while not wanted <= (seen := await told(platform)):
        assert time.monotonic() < deadline, f"missing {wanted - seen} in {seen}"
        await asyncio.sleep(0.05)


async def test_a_service_that_becomes_ready(platform: Platform) -> None:
    await platform.apply()
    await platform.ready()
    digest = build_pod(await platform.get(DEPLOYMENTS, "svc-00001-deployment"), "x")["metadata"]["name"][:-2]
    await until_told(
        platform,
        {
            ("Service", "Normal", "Created", 'Created Configuration "svc"'),
            ("Service", "Normal", "Created", 'Created Route "svc"'),
            ("Configuration", "Normal", "Created", 'Created Revision "svc-00001"'),
            ("Configuration", "Normal", "ConfigurationReady", "Configuration becomes ready"),
            (
                "Configuration",
                "Normal",
                "LatestReadyUpdate",
                'LatestReadyRevisionName updated to "svc-00001"',
            ),
            ("Revision", "Normal", "RevisionReady", "Revision becomes ready upon all resources being ready"),
            ("Route", "Normal", "Created", 'Created Ingress "svc"'),
            ("Route", "Normal", "Created", 'Created placeholder service "svc"'),
            ("Deployment", "Normal", "ScalingReplicaSet", f"Scaled up replica set {digest} from 0 to 1"),
        },
    )
    await platform.settle()
    before = await told(platform)
    platform.serving.enqueue_all()
    await platform.settle()
    assert await told(platform) == before


async def test_a_failure_and_a_bad_route_warn(platform: Platform) -> None:
    await platform.apply(image="crash:1")
    await platform.until(REVISIONS, "svc-00001", lambda r: condition(r, "Ready")[0] == "False")
    body = {"spec": {"traffic": [{"revisionName": "svc-00077", "percent": 100}]}}
    await platform.client.patch(KSERVICES, platform.namespace, "svc", body)
    await platform.until(ROUTES, "svc", lambda r: "svc-00077" in condition(r, "Ready")[2])
    text = "Container failed with: model file not found"
    missing = 'Revision "svc-00077" referenced in traffic not found.'
    await until_told(
        platform,
        {
            ("Revision", "Warning", "ExitCode3", text),
            (
                "Configuration",
                "Warning",
                "LatestCreatedFailed",
                'Latest created revision "svc-00001" has failed',
            ),
            ("Route", "Warning", "RevisionMissing", missing),
        },
    )
