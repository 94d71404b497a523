"""What the log says of a platform that is not as it must be: nothing while it is only starting, one line when it stays."""

from __future__ import annotations

import io
import json
from typing import Any, cast

import pytest

from controller.connection import Api
from controller.platform_watch import SETTLE_S, VALIDATING, PlatformWatch
from controller.prerequisites import Reason
from wakeful.kit.kube import CONFIGMAPS

NETWORK = CONFIGMAPS.path("knative-serving", "config-network")
SERVED = {"resources": [{"name": "services"}, {"name": "ingresses"}]}


class Cluster:
    """Answers what the watch asks: Knative's APIs are served, objects are what a test put here."""

    def __init__(self) -> None:
        self.objects: dict[str, Any] = {}
        self.now = 100.0
        self.watch = PlatformWatch(cast(Api, self), "wakeful-system", lambda: False, lambda: self.now)

    async def get(self, path: str, accept: str = "") -> Any:
        return SERVED if path.startswith("/apis/") and path.count("/") == 3 else self.objects.get(path)

    async def look(self, after_s: float = 0.0) -> tuple[Reason, ...]:
        self.now += after_s
        await self.watch.refresh()
        return tuple(item.reason for item in self.watch.problems)


def lines(capsys: pytest.CaptureFixture[str]) -> list[tuple[str, str]]:
    found = [json.loads(line) for line in io.StringIO(capsys.readouterr().err)]
    return [(line["level"], line.get("reason", "")) for line in found if line["level"] != "debug"]


async def test_a_config_map_that_is_still_on_its_way_is_no_error(capsys: pytest.CaptureFixture[str]) -> None:
    cluster = Cluster()
    assert await cluster.look() == (Reason.INGRESS_CLASS_MISSING,)
    assert await cluster.look(SETTLE_S / 2) == (Reason.INGRESS_CLASS_MISSING,)
    cluster.objects[NETWORK] = {"data": {"ingress-class": "wakeful"}}
    assert await cluster.look(SETTLE_S) == ()
    assert lines(capsys) == [("info", "")]


async def test_one_that_stays_away_is_one_error_each_time(capsys: pytest.CaptureFixture[str]) -> None:
    cluster = Cluster()
    for after_s in (0.0, SETTLE_S, SETTLE_S):
        await cluster.look(after_s)
    assert lines(capsys) == [("error", "IngressClassMissing")]
    cluster.objects[NETWORK] = {"data": {"ingress-class": "wakeful"}}
    await cluster.look()
    del cluster.objects[NETWORK]
    for after_s in (0.0, SETTLE_S):
        await cluster.look(after_s)
    assert lines(capsys) == [("info", ""), ("error", "IngressClassMissing")]


async def test_what_blocks_is_an_error_at_once(capsys: pytest.CaptureFixture[str]) -> None:
    cluster = Cluster()
    cluster.objects[VALIDATING.path(None, "inferenceservice.serving.kserve.io")] = {"webhooks": []}
    cluster.objects[NETWORK] = {"data": {"ingress-class": "wakeful"}}
    assert await cluster.look() == (Reason.KSERVE_INSTALLED,)
    await cluster.look(1.0)
    assert lines(capsys) == [("error", "KServeInstalled")]
