"""A subscriber that stays down must not fill the disk with log lines."""

from __future__ import annotations

import json

import pytest
from aiohttp import web
from eventing_rig import Rig
from waiting_rig import until

from eventing.quiet import Quiet


def test_a_burst_then_one_a_second_then_how_many_were_left_out() -> None:
    quiet = Quiet(burst=3, per_s=1.0)
    assert [quiet.unsaid("t", 10.0) for _ in range(5)] == [0, 0, 0, None, None]
    assert quiet.unsaid("other", 10.0) == 0
    assert quiet.unsaid("t", 10.9) is None
    assert quiet.unsaid("t", 11.5) == 3
    assert [quiet.unsaid("t", 99.0) for _ in range(4)] == [0, 0, 0, None]


def test_a_clock_that_goes_back_and_many_keys() -> None:
    quiet = Quiet(burst=1, per_s=1.0, max_keys=2)
    assert quiet.unsaid("a", 10.0) == 0
    assert quiet.unsaid("a", 5.0) is None
    assert [quiet.unsaid(key, 10.0) for key in "bcd"] == [0, 0, 0]
    assert quiet.unsaid("a", 10.0) == 0, "forgotten, so said again"


async def test_hundred_failures_are_few_lines_but_all_counted(
    rig: Rig, capsys: pytest.CaptureFixture[str]
) -> None:
    subscriber = await rig.start_subscriber()

    async def refuse(_: web.Request, __: bytes) -> web.StreamResponse:
        return web.Response(status=400)

    subscriber.answer = refuse
    rig.add_broker()
    rig.add_trigger("t", subscriber.url)
    for number in range(100):
        await rig.post(ce_id=str(number))
    await until(lambda: rig.outcome("t", "lost") == 100)
    lines = [json.loads(line) for line in capsys.readouterr().err.splitlines() if line.startswith("{")]
    assert 0 < len(lines) < 80
    assert {line["event"] for line in lines} == {"delivery failed", "event lost"}
