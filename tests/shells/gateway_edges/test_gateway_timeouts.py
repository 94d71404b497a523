"""The three timeouts, clients that leave, and pods that are told of it."""

from __future__ import annotations

import asyncio
import contextlib

import pytest
from gateway_pods import EchoPod, read_request
from gateway_world import World
from waiting_rig import until

GET = b"GET / HTTP/1.1\r\nHost: m.ns.localhost\r\nConnection: close\r\n\r\n"


async def start(world: World, handler: object, **spec: float) -> None:
    world.route("m.ns.localhost", ("r1", 100))
    world.revision(**spec)
    world.pod(await world.serve(handler))  # type: ignore[arg-type]
    await world.open_pods()


@pytest.mark.parametrize(
    "spec",
    [{"timeoutSeconds": 0.2}, {"responseStartTimeoutSeconds": 0.2}, {"idleTimeoutSeconds": 0.2}],
    ids=["whole", "first byte", "idle"],
)
async def test_silent_pod_is_a_504_and_learns_of_it(world: World, spec: dict[str, float]) -> None:
    pod = EchoPod()
    pod.gate.clear()
    await start(world, pod, **spec)
    answer = await world.ask(GET)
    assert answer.startswith(b"HTTP/1.1 504") and answer.endswith(b"\r\n\r\nrequest timeout\n")
    await until(lambda: pod.cancelled == 1)


async def test_timeout_while_held_has_the_activators_words(world: World) -> None:
    world.route("m.ns.localhost", ("r1", 100))
    world.revision(timeoutSeconds=0.2)
    answer = await world.ask(GET)
    assert answer.startswith(b"HTTP/1.1 504")
    told = answer.partition(b"\r\n\r\n")[2].decode().splitlines()
    assert told == ["activator request timeout", 'revision "r1" has no pod: no pod was created for it yet']
    assert world.fleet.revisions[("ns", "r1")].hold.breaker.waiting == 0


async def test_a_pod_that_never_gets_ready_is_named_with_what_its_probe_said(world: World) -> None:
    probe = {"readinessProbe": {"httpGet": {"path": "/ready", "port": 8080}}}
    world.route("m.ns.localhost", ("r1", 100))
    world.revision(timeoutSeconds=0.4, container=probe)
    pod = EchoPod(probe_answer=b"HTTP/1.1 503 Service Unavailable\r\ncontent-length: 0\r\n\r\n")
    world.pod(await world.serve(pod))
    answer = (await world.ask(GET)).decode()
    assert answer.startswith("HTTP/1.1 504")
    assert '\nrevision "r1" has no ready pod: pod "p1": started 0 s ago, but its readiness probe' in answer
    assert "(http /ready on port 8080) got no good answer: HTTP 503\n" in answer


async def drip(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    """A body that never ends, a piece every 50 ms."""
    if await read_request(reader):
        writer.write(b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n")
        with contextlib.suppress(ConnectionError):
            while not reader.at_eof():
                writer.write(b"1\r\nx\r\n")
                await writer.drain()
                with contextlib.suppress(TimeoutError):
                    await asyncio.wait_for(reader.read(1), 0.05)
    writer.close()


async def test_timeout_after_the_first_byte_appends_the_text(world: World) -> None:
    await start(world, drip, timeoutSeconds=0.3)
    answer = await world.ask(GET)
    assert answer.startswith(b"HTTP/1.1 200")
    assert answer.endswith(b"f\r\nrequest timeout\r\n0\r\n\r\n")


async def test_idle_timeout_leaves_a_busy_stream_alone(world: World) -> None:
    await start(world, drip, timeoutSeconds=0.6, idleTimeoutSeconds=0.25)
    began = asyncio.get_running_loop().time()
    await world.ask(GET)
    assert asyncio.get_running_loop().time() - began > 0.5


async def test_timeout_within_an_announced_length_cuts_the_connection(world: World) -> None:
    async def half(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        if await read_request(reader):
            writer.write(b"HTTP/1.1 200 OK\r\ncontent-length: 100\r\n\r\nhalf")
            await reader.read(1)
        writer.close()

    await start(world, half, timeoutSeconds=0.2)
    with contextlib.suppress(ConnectionError):
        assert (await world.ask(GET)).endswith(b"half")


async def test_client_that_leaves_cancels_the_pods_work(world: World) -> None:
    pod = EchoPod()
    pod.gate.clear()
    await start(world, pod)
    _, writer = await asyncio.open_connection("127.0.0.1", world.port)
    writer.write(GET)
    await until(lambda: pod.in_flight == 1)
    writer.close()
    await until(lambda: pod.cancelled == 1)
    revision = world.fleet.revisions[("ns", "r1")]
    await until(lambda: revision.hold.breaker.in_flight == 0 and revision.meter.current == 0)


async def test_streamed_answer_arrives_piece_by_piece(world: World) -> None:
    await start(world, drip, timeoutSeconds=5)
    reader, writer = await asyncio.open_connection("127.0.0.1", world.port)
    writer.write(GET)
    await asyncio.wait_for(reader.readuntil(b"\r\n\r\n"), 1)
    for _ in range(3):
        assert await asyncio.wait_for(reader.readexactly(6), 1) == b"1\r\nx\r\n"
    writer.close()


async def test_slow_reader_does_not_fill_memory(world: World) -> None:
    sent = 0

    async def flood(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        nonlocal sent
        if await read_request(reader):
            writer.write(b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n")
            piece = b"10000\r\n" + b"x" * 65536 + b"\r\n"
            with contextlib.suppress(ConnectionError, TimeoutError):
                while sent < 200 << 20:
                    writer.write(piece)
                    await asyncio.wait_for(writer.drain(), 1)
                    sent += 65536
        writer.close()

    await start(world, flood)
    _, writer = await asyncio.open_connection("127.0.0.1", world.port, limit=1024)
    writer.write(GET)
    last = -1
    while sent != last:
        last = sent
        await asyncio.sleep(0.2)
    assert 0 < sent < 64 << 20  # what kernel buffers and bounded queues hold
    writer.transport.abort()


async def test_pod_that_reads_slowly_slows_the_client(world: World) -> None:
    async def deaf(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        writer.transport.pause_reading()  # type: ignore[attr-defined]
        await asyncio.sleep(3)
        writer.close()

    await start(world, deaf, timeoutSeconds=2)
    _, writer = await asyncio.open_connection("127.0.0.1", world.port)
    writer.write(b"POST / HTTP/1.1\r\nHost: m.ns.localhost\r\nContent-Length: 1000000000\r\n\r\n")
    sent = 0
    with contextlib.suppress(TimeoutError, ConnectionError):
        while sent < 200 << 20:
            writer.write(b"x" * 65536)
            await asyncio.wait_for(writer.drain(), 0.5)
            sent += 65536
    assert sent < 64 << 20
    writer.transport.abort()
