"""The event process as a process: kill -9, an API that is away, deleted Triggers, a disk that is full, bad start."""

from __future__ import annotations

import asyncio
import resource
import signal
import subprocess
import time
from pathlib import Path
from typing import Any

import aiohttp
import pytest
from eventing_world import EventProcess, Subscriber, World, is_ready

from standalone.knative.eventing import BROKERS, TRIGGERS

pytestmark = pytest.mark.platform
SLOW_RETRIES = {"retry": 50, "backoffPolicy": "linear", "backoffDelay": "PT0.2S"}


async def accepted(process: EventProcess, path: str, limit_s: float = 8.0, **headers: str) -> None:
    """Post until 202: a new Broker is known a moment after it is Ready."""
    deadline = time.monotonic() + limit_s
    while (answer := await process.post(path, **headers))[0] != 202:
        assert time.monotonic() < deadline, (answer, process.log)
        await asyncio.sleep(0.05)


async def flow(world: World, process: EventProcess, url: str, **delivery: Any) -> str:
    """A Broker and a Trigger to ``url``, known to the process; the ingress path."""
    await world.broker(spec={"delivery": delivery or SLOW_RETRIES})
    await world.trigger(subscriber={"uri": url})
    await world.ready()
    path = f"/{world.namespace}/default"
    await accepted(process, path, ce_id="probe")
    return path


async def held(process: EventProcess, count: int, within_s: float = 8.0) -> None:
    deadline = time.monotonic() + within_s
    while (seen := await process.held()) != count:
        assert time.monotonic() < deadline, f"{seen} deliveries, not {count}"
        await asyncio.sleep(0.05)


async def test_killed_and_started_again_it_delivers_what_it_accepted(
    world: World, process: EventProcess, subscriber: Subscriber
) -> None:
    subscriber.status = 503
    path = await flow(world, process, subscriber.url)
    for number in range(20):
        assert (await process.post(path, ce_id=f"e{number}"))[0] == 202
    process.kill()
    subscriber.status = 202
    subscriber.got.clear()
    await process.start()
    await held(process, 0)
    assert {headers["ce-id"] for headers, _ in subscriber.got} == {f"e{number}" for number in range(20)} | {
        "probe"
    }


async def test_before_the_api_answers_it_says_503_and_when(
    tmp_path: Path, world: World, subscriber: Subscriber, data_dir: Path
) -> None:
    await world.broker()
    await world.until(BROKERS, "default", is_ready)
    async with aiohttp.ClientSession() as session:
        process = EventProcess(tmp_path, tmp_path / "kubeconfig", session)
        await process.start(waits=False)
        try:
            path = f"/{world.namespace}/default"
            deadline = time.monotonic() + 10
            event = {"ce-specversion": "1.0", "ce-id": "1", "ce-source": "/s", "ce-type": "t"}
            while (answer := await process.send("POST", path, event, b""))[0] == 0:
                assert time.monotonic() < deadline, process.log
                await asyncio.sleep(0.05)
            assert (answer[0], answer[2]["retry-after"]) == (503, "1")
            assert await process.health() == 503
            (tmp_path / "kubeconfig").write_bytes((data_dir / "kubeconfig").read_bytes())
            await accepted(process, path)
        finally:
            process.kill()


async def test_deliveries_of_a_deleted_trigger_go_and_a_new_one_starts_empty(
    world: World, process: EventProcess, subscriber: Subscriber
) -> None:
    path = await flow(world, process, "http://127.0.0.1:1/")
    await process.post(path, ce_id="old")
    await held(process, 2)
    await world.client.delete(TRIGGERS, world.namespace, "t")
    await held(process, 0)
    await world.trigger(subscriber={"uri": subscriber.url})
    await world.ready()
    deadline = time.monotonic() + 8
    while not subscriber.got:
        assert (await process.post(path, ce_id="new"))[0] == 202
        assert time.monotonic() < deadline
        await asyncio.sleep(0.05)
    assert {headers["ce-id"] for headers, _ in subscriber.got} == {"new"}


async def test_a_trigger_deleted_while_the_process_was_away(world: World, process: EventProcess) -> None:
    await flow(world, process, "http://127.0.0.1:1/")
    await held(process, 1)
    process.kill()
    await world.client.delete(TRIGGERS, world.namespace, "t")
    await process.start()
    await held(process, 0)
    assert "dropped deliveries of deleted Triggers" in process.log


async def test_a_deleted_broker_is_unknown(world: World, process: EventProcess) -> None:
    path = await flow(world, process, "http://127.0.0.1:1/")
    await world.client.delete(BROKERS, world.namespace, "default")
    deadline = time.monotonic() + 8
    while (answer := await process.post(path))[0] != 404:
        assert time.monotonic() < deadline, answer
        await asyncio.sleep(0.05)
    assert "no Broker 'default' in namespace" in answer[1]
    await held(process, 0)


async def test_a_subscriber_that_was_down_gets_everything_once_it_is_up(
    world: World, process: EventProcess, subscriber: Subscriber
) -> None:
    path = await flow(world, process, "http://127.0.0.1:1/")
    for number in range(5):
        await process.post(path, ce_id=f"e{number}")
    await held(process, 6)
    change = {"spec": {"subscriber": {"uri": subscriber.url}}}
    await world.client.patch(TRIGGERS, world.namespace, "t", change)
    await held(process, 0)
    assert len(subscriber.got) == 6


async def test_a_full_disk_refuses_events_and_recovers(
    world: World, process: EventProcess, subscriber: Subscriber
) -> None:
    """The limit on file size stands in for a full disk: SQLite meets the same failing write."""
    path = await flow(world, process, subscriber.url)
    await held(process, 0)
    assert process.running is not None
    pid = process.running.pid
    size = (process.folder / "events.db-wal").stat().st_size
    resource.prlimit(pid, resource.RLIMIT_FSIZE, (size + 300_000, resource.RLIM_INFINITY))
    answers = [await process.post(path, b"x" * 100_000, ce_id=f"e{number}") for number in range(12)]
    codes = [code for code, _ in answers]
    assert set(codes) == {202, 503}, answers
    assert all("cannot be stored" in text for code, text in answers if code == 503)
    good = {f"e{number}" for number, code in enumerate(codes) if code == 202}
    resource.prlimit(pid, resource.RLIMIT_FSIZE, (resource.RLIM_INFINITY, resource.RLIM_INFINITY))
    await accepted(process, path, ce_id="after")
    await held(process, 0)
    assert {headers["ce-id"] for headers, _ in subscriber.got} == good | {"probe", "after"}


async def test_sigterm_hands_back_what_is_in_flight(
    world: World, process: EventProcess, subscriber: Subscriber
) -> None:
    path = await flow(world, process, "http://127.0.0.1:1/")
    await process.post(path, ce_id="waiting")
    assert process.running is not None
    process.running.send_signal(signal.SIGTERM)
    assert await asyncio.to_thread(process.running.wait, 10) == 0
    change = {"spec": {"subscriber": {"uri": subscriber.url}}}
    await world.client.patch(TRIGGERS, world.namespace, "t", change)
    await process.start()
    await held(process, 0)
    assert {headers["ce-id"] for headers, _ in subscriber.got} == {"probe", "waiting"}


async def test_two_processes_on_one_database(process: EventProcess) -> None:
    command = [
        part.replace("in.sock", "in2.sock").replace("admin.sock", "a2.sock") for part in process.command()
    ]
    done = await asyncio.to_thread(subprocess.run, command, capture_output=True, text=True, timeout=20)
    assert done.returncode == 1
    assert "is in use by another process" in done.stderr
    assert done.stderr.count("\n") == 1


async def test_a_bad_flag_ends_with_usage(process: EventProcess) -> None:
    command = [*process.command(), "--max-body-bytes", "0"]
    done = await asyncio.to_thread(subprocess.run, command, capture_output=True, text=True, timeout=20)
    assert (done.returncode, "--max-body-bytes must be greater than 0" in done.stderr) == (2, True)


async def test_a_broken_body_is_400_and_every_log_line_is_json(world: World, process: EventProcess) -> None:
    path = await flow(world, process, "http://127.0.0.1:1/")
    status, text = await process.post(path, b"not gzip", content_encoding="gzip")
    assert (status, "not readable" in text) == (400, True)
    reader, writer = await asyncio.open_unix_connection(str(process.folder / "in.sock"))
    lines = (f"POST {path} HTTP/1.1", "host: x", "ce-specversion: 1.0", "content-length: 99", "", "cut off")
    writer.write("\r\n".join(lines).encode())
    await writer.drain()
    writer.close()
    await reader.read()
    await accepted(process, path)
    assert all(line.startswith("{") for line in process.log.splitlines()), process.log
