"""The broker's front door: the status table of reference section 4.4, bounds, and what producers may not do."""

from __future__ import annotations

import asyncio
import contextlib
import sqlite3
import zlib
from pathlib import Path
from typing import Any

import aiohttp
import pytest
from eventing_rig import EVENT, MAX_BODY, Rig

from eventing.ingress import forwarded
from eventing.ports import Publication
from wakeful.core.protocol.cloudevents import Event


@pytest.mark.parametrize(
    ("method", "path", "drop", "status"),
    [
        ("OPTIONS", "/anything/at/all", "", 200),
        ("GET", "/ns/default", "", 405),
        ("PUT", "/ns/default", "", 405),
        ("DELETE", "/", "", 405),
        ("POST", "/", "", 404),
        ("POST", "/ns", "", 400),
        ("POST", "/ns/default/more", "", 400),
        ("POST", "//default", "", 400),
        ("POST", "/ns//", "", 400),
        ("POST", "/ns/default", "ce-id", 400),
        ("POST", "/ns/default", "ce-source", 400),
        ("POST", "/ns/default", "ce-type", 400),
        ("POST", "/ns/default", "ce-specversion", 400),
        ("POST", "/ns/missing", "ce-id", 400),
        ("POST", "/ns/missing", "", 404),
        ("POST", "/other/default", "", 404),
        ("POST", "/ns/default?x=1", "", 404),
        ("POST", "/ns/default", "", 202),
        ("POST", "/ns/default/", "", 202),
    ],
)
async def test_status_table(rig: Rig, method: str, path: str, drop: str, status: int) -> None:
    rig.add_broker()
    headers = {name: value for name, value in EVENT.items() if name != drop}
    async with rig.session.request(method, rig.ingress_url + path, headers=headers) as response:
        assert response.status == status
        assert response.headers["Allow"] == "POST, OPTIONS"
        if method == "OPTIONS":
            assert (
                response.headers["WebHook-Allowed-Origin"] == response.headers["WebHook-Allowed-Rate"] == "*"
            )


@pytest.mark.parametrize(("ttl", "status"), [("0", 400), ("1", 400), ("-3", 400), ("2", 202), ("many", 202)])
async def test_hops(rig: Rig, ttl: str, status: int) -> None:
    rig.add_broker()
    assert (await rig.post(ce_knativebrokerttl=ttl))[0] == status


async def test_messages_name_attribute_and_rule(rig: Rig) -> None:
    rig.add_broker()
    status, text = await rig.post(ce_time="yesterday")
    assert status == 400
    assert "time" in text
    assert "RFC 3339" in text


async def test_batches_and_other_formats_are_refused(rig: Rig) -> None:
    rig.add_broker()
    assert (await rig.post(body=b"[]", content_type="application/cloudevents-batch+json"))[0] == 400
    assert (await rig.post(body=b"x", content_type="application/cloudevents+avro"))[0] == 400


async def test_the_body_limit(rig: Rig) -> None:
    rig.add_broker()
    assert (await rig.post(body=b"x" * MAX_BODY))[0] == 202

    async def chunks() -> Any:
        for _ in range(40):
            yield b"x" * 10_000

    assert (await rig.send("POST", "/ns/default", chunks(), EVENT))[0] == 413
    assert (await rig.post(body=b"x" * (MAX_BODY + 1)))[0] == 413


async def test_a_compressed_bomb_ends_at_the_limit(rig: Rig) -> None:
    rig.add_broker()
    bomb = zlib.compress(b"\0" * 50_000_000)
    assert len(bomb) < MAX_BODY
    status, _ = await rig.post(body=bomb, content_encoding="deflate")
    assert status in (400, 413)


async def test_a_slow_body_is_given_up(rig: Rig) -> None:
    rig.add_broker()

    async def drip() -> Any:
        yield b"x"
        await asyncio.sleep(5)
        yield b"y"

    status, text = await rig.send("POST", "/ns/default", drip(), EVENT)
    assert (status, "did not arrive" in text) == (408, True)


async def test_a_duplicate_header_is_refused(rig: Rig) -> None:
    rig.add_broker()
    headers = [*EVENT.items(), ("ce-id", "2")]
    async with rig.session.post(rig.ingress_url + "/ns/default", headers=headers) as response:
        assert response.status == 400
        assert "more than once" in await response.text()


async def test_starting_says_503_and_when_to_come_back(rig: Rig) -> None:
    rig.routes.is_synced = False
    async with rig.session.post(rig.ingress_url + "/ns/default", headers=EVENT) as response:
        assert (response.status, response.headers["Retry-After"]) == (503, "1")


async def test_a_full_broker_says_429_and_when_to_come_back(rig: Rig) -> None:
    rig.add_broker()
    consumer = rig.add_trigger(
        "t", None, delivery={"retry": 5, "backoffPolicy": "exponential", "backoffDelay": "PT1H"}
    )
    for number in range(200):
        await rig.broker.publish(Publication("ns/default", Event(str(number), "/s", "t"), (consumer,)))
    async with rig.session.post(rig.ingress_url + "/ns/default", headers=EVENT) as response:
        assert (response.status, response.headers["Retry-After"]) == (429, "5")
        assert "ns/default" in await response.text()


async def test_too_many_at_once_say_503(rig: Rig) -> None:
    rig.add_broker()
    release = asyncio.Event()

    async def held() -> Any:
        yield b"x"
        await release.wait()

    async with aiohttp.ClientSession(connector=aiohttp.TCPConnector(limit=0)) as session:

        async def one() -> int:
            async with session.post(rig.ingress_url + "/ns/default", data=held(), headers=EVENT) as response:
                return response.status

        tasks = [asyncio.create_task(one()) for _ in range(60)]
        done, _ = await asyncio.wait(tasks, timeout=5, return_when=asyncio.FIRST_COMPLETED)
        assert {task.result() for task in done} == {503}
        release.set()
        statuses = await asyncio.gather(*tasks)
    assert sorted(set(statuses)) in ([202, 503], [202, 408, 503], [408, 503])


async def test_events_that_wait_for_a_slow_disk_are_bounded_too(rig: Rig, tmp_path: Path) -> None:
    rig.add_broker()
    rig.add_trigger("t", None, filter={"attributes": {"type": EVENT["ce-type"]}})
    with contextlib.closing(sqlite3.connect(tmp_path / "events.db", isolation_level=None)) as disk:
        disk.execute("BEGIN IMMEDIATE")  # nothing can be stored meanwhile
        tasks = [asyncio.create_task(rig.post()) for _ in range(60)]
        try:
            done, _ = await asyncio.wait(tasks, timeout=2, return_when=asyncio.FIRST_COMPLETED)
        finally:
            disk.execute("ROLLBACK")
    assert {task.result()[0] for task in done} == {503}
    assert sorted([status for status, _ in await asyncio.gather(*tasks)]) == [202] * 50 + [503] * 10


def test_which_headers_reach_subscribers() -> None:
    parent = "00-" + "a" * 32 + "-" + "b" * 16 + "-01"
    sent = [
        ("Authorization", "Bearer x"),
        ("Cookie", "a=b"),
        ("X-Request-Id", "7"),
        ("Traceparent", parent),
        ("tracestate", "a=1"),
        ("Knative-Thing", "1"),
        ("X-B3-TraceId", "2"),
        ("x-custom", "3"),
    ]
    assert dict(forwarded(sent)) == {
        "x-request-id": "7",
        "traceparent": parent,
        "tracestate": "a=1",
        "knative-thing": "1",
        "x-b3-traceid": "2",
    }
    assert forwarded([("traceparent", "nonsense"), ("tracestate", "a=1")]) == ()
    assert forwarded([("traceparent", parent), ("tracestate", "a" * 10_000)]) == (("traceparent", parent),)
    assert len(forwarded([(f"knative-{n}", "x") for n in range(1000)])) == 32
