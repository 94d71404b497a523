"""What an attacker or a broken client sends: a clean refusal, nothing smuggled, nothing kept, the next client served."""

from __future__ import annotations

import asyncio
import contextlib
import gc
from dataclasses import replace

import pytest
from gateway_pods import EchoPod
from gateway_world import World
from waiting_rig import until

from standalone.gateway.front import Front
from standalone.gateway.settings import Limits

HOST = b"Host: m.ns.localhost\r\n"
POST = b"POST / HTTP/1.1\r\n" + HOST
NEXT = b"GET /smuggled HTTP/1.1\r\n" + HOST + b"\r\n"


@pytest.fixture
async def pod(world: World) -> EchoPod:
    pod = EchoPod()
    world.route("m.ns.localhost", ("r1", 100))
    world.revision()
    world.pod(await world.serve(pod))
    await world.open_pods()
    return pod


REFUSED = {
    "length and coding": POST + b"Content-Length: 3\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n" + NEXT,
    "two lengths": POST + b"Content-Length: 3\r\nContent-Length: 4\r\n\r\nabcd" + NEXT,
    "same length twice": POST + b"Content-Length: 3\r\nContent-Length: 3\r\n\r\nabc" + NEXT,
    "length list": POST + b"Content-Length: 3, 3\r\n\r\nabc" + NEXT,
    "negative length": POST + b"Content-Length: -1\r\n\r\n" + NEXT,
    "huge length": POST + b"Content-Length: 99999999999999999999999\r\n\r\n" + NEXT,
    "hex length": POST + b"Content-Length: 0x3\r\n\r\nabc" + NEXT,
    "coding twice": POST
    + b"Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n"
    + NEXT,
    "coding list": POST + b"Transfer-Encoding: gzip, chunked\r\n\r\n0\r\n\r\n" + NEXT,
    "unknown coding": POST + b"Transfer-Encoding: xchunked\r\n\r\n0\r\n\r\n" + NEXT,
    "coding with space": POST + b"Transfer-Encoding : chunked\r\n\r\n0\r\n\r\n" + NEXT,
    "coding in 1.0": b"POST / HTTP/1.0\r\n" + HOST + b"Transfer-Encoding: chunked\r\n\r\n0\r\n\r\n" + NEXT,
    "bad chunk size": POST + b"Transfer-Encoding: chunked\r\n\r\nzz\r\n" + NEXT,
    "chunk too big": POST + b"Transfer-Encoding: chunked\r\n\r\nffffffffffffffffff\r\n" + NEXT,
    "chunk ends in LF": POST + b"Transfer-Encoding: chunked\r\n\r\n3\nabc\n0\n\n" + NEXT,
    "obs-fold": POST + b"X: a\r\n b\r\n\r\n" + NEXT,
    "bare LF": b"GET / HTTP/1.1\nHost: m.ns.localhost\n\n",
    "bare CR": POST + b"X: a\rb\r\n\r\n" + NEXT,
    "NUL in header": POST + b"X: a\0b\r\n\r\n" + NEXT,
    "NUL in path": b"GET /\0 HTTP/1.1\r\n" + HOST + b"\r\n",
    "space in name": POST + b"X Y: a\r\n\r\n" + NEXT,
    "no host": b"GET / HTTP/1.1\r\n\r\n",
    "two hosts": b"GET / HTTP/1.1\r\n" + HOST + b"Host: other\r\n\r\n",
    "no version": b"GET /\r\n\r\n",
    "not http": b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03" + b"\0" * 100,
    "connect": b"CONNECT m.ns.localhost:80 HTTP/1.1\r\n" + HOST + b"\r\n",
    "ftp proxy": b"GET ftp://m.ns.localhost/ HTTP/1.1\r\n" + HOST + b"\r\n",
    "userinfo": b"GET http://m.ns.localhost@evil/ HTTP/1.1\r\n" + HOST + b"\r\n",
}


@pytest.mark.parametrize("raw", REFUSED.values(), ids=REFUSED.keys())
async def test_malformed_requests_are_refused_and_nothing_after_them_is_read(
    world: World, pod: EchoPod, raw: bytes
) -> None:
    answer = await world.ask(raw)
    assert answer.startswith((b"HTTP/1.1 400 ", b"HTTP/1.1 501 ", b"HTTP/1.1 505 ")), answer
    assert answer.count(b"\r\nconnection: close\r\n") == 1
    assert not any("smuggled" in request.line for request in pod.requests)


async def test_unused_body_is_never_read_as_a_request(world: World, pod: EchoPod) -> None:
    raw = b"POST / HTTP/1.1\r\nHost: nobody.ns.localhost\r\nContent-Length: %d\r\n\r\n" % len(NEXT)
    answer = await world.ask(raw + NEXT + b"GET / HTTP/1.1\r\nConnection: close\r\n" + HOST + b"\r\n")
    assert answer.startswith(b"HTTP/1.1 404")
    assert not any("smuggled" in request.line for request in pod.requests)


@pytest.mark.parametrize("junk", [b"\x01junk\r\n\r\n", b"GET / HTTP/1.1\r\nno colon\r\n\r\n"])
async def test_junk_behind_a_complete_request_does_not_cost_its_answer(
    world: World, pod: EchoPod, junk: bytes
) -> None:
    pod.gate.clear()
    asking = asyncio.create_task(world.ask(POST + b"Content-Length: 4\r\n\r\nbody" + junk))
    await until(lambda: bool(pod.requests))
    pod.gate.set()
    assert (await asking).endswith(b"\r\n\r\nbody")


@pytest.mark.parametrize("address", [b"127.0.0.1:99999", b"a" * 70 + b".some.example"], ids=["port", "label"])
async def test_an_address_outside_that_cannot_be_dialled_is_a_502(world: World, address: bytes) -> None:
    raw = b"GET http://%b/ HTTP/1.1\r\nHost: %b\r\nConnection: close\r\n\r\n" % (address, address)
    assert (await world.ask(raw)).startswith(b"HTTP/1.1 502")


@pytest.mark.parametrize("connection", [b"Upgrade", b"Upgrade, HTTP2-Settings"])
async def test_h2c_upgrade_is_ignored_and_its_body_stays_a_body(
    world: World, pod: EchoPod, connection: bytes
) -> None:
    raw = POST + b"Connection: %b\r\nUpgrade: h2c\r\nContent-Length: %d\r\n\r\n" % (connection, len(NEXT))
    raw += NEXT + b"GET /after HTTP/1.1\r\nConnection: close\r\n" + HOST + b"\r\n"
    answer = await world.ask(raw)
    assert answer.count(b"HTTP/1.1 200 OK") == 2
    assert [(r.line, r.body) for r in pod.requests] == [
        ("POST / HTTP/1.1", NEXT),
        ("GET /after HTTP/1.1", b""),
    ]
    assert pod.requests[0].get("upgrade") is None


@pytest.mark.parametrize(
    ("raw", "status"),
    [
        (b"GET / HTTP/1.1\r\n" + HOST + b"X: " + b"y" * 1_000_000 + b"\r\n\r\n", 431),
        (b"GET / HTTP/1.1\r\n" + HOST + b"X: y\r\n" * 10_000 + b"\r\n", 431),
        (b"GET /" + b"y" * 30_000 + b" HTTP/1.1\r\n" + HOST + b"\r\n", 414),
        (POST + b"Transfer-Encoding: chunked\r\n\r\n0\r\n" + b"T: v\r\n" * 100_000 + b"\r\n", 431),
        (POST + b"Transfer-Encoding: chunked\r\n\r\n" + (b"1;" + b"e" * 10_000 + b"\r\nx\r\n") * 300, 400),
    ],
    ids=["1 MB header", "10000 headers", "30 kB path", "100000 trailers", "chunk extensions"],
)
async def test_oversized_requests_are_refused(world: World, pod: EchoPod, raw: bytes, status: int) -> None:
    reader, writer = await asyncio.open_connection("127.0.0.1", world.port)
    writer.write(raw)
    answer = b""
    with contextlib.suppress(ConnectionError):
        answer = await asyncio.wait_for(reader.read(), 10)
    writer.close()
    assert not answer or answer.startswith(b"HTTP/1.1 %d " % status)
    assert (await world.ask(b"GET / HTTP/1.1\r\nConnection: close\r\n" + HOST + b"\r\n")).endswith(b"hello")


@pytest.fixture
def quick() -> Limits:
    return replace(
        Limits(),
        header_timeout_s=0.2,
        body_idle_timeout_s=0.3,
        idle_timeout_s=0.3,
        linger_s=0.2,
        body_bytes=1000,
    )


@pytest.fixture
async def impatient(world: World, pod: EchoPod, quick: Limits) -> World:
    """The same gateway behind limits of tenths of a second."""
    await world.front.stop()
    world.limits = quick
    world.front = Front(quick, world.engine.serve)
    world.port = await world.front.listen(0)
    world._tasks.append(asyncio.get_running_loop().create_task(world.front.run_sweep()))
    return world


@pytest.mark.parametrize(
    ("raw", "status"),
    [
        (b"GET / HTTP/1.1\r\nX: never ", b"HTTP/1.1 408"),
        (POST + b"Content-Length: 10\r\n\r\nabc", b"HTTP/1.1 408"),
        (POST + b"Transfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n", b"HTTP/1.1 408"),
        (b"", b"HTTP/1.1 408"),
        (b"PRI * HTTP", b"HTTP/1.1 408"),
    ],
    ids=["header never ends", "body stops", "no last chunk", "silence", "half a preface"],
)
async def test_slow_senders_are_cut(impatient: World, raw: bytes, status: bytes) -> None:
    began = asyncio.get_running_loop().time()
    assert (await impatient.ask(raw)).startswith(status)
    assert asyncio.get_running_loop().time() - began < 3


async def test_idle_connection_is_closed(impatient: World, pod: EchoPod) -> None:
    answer = await impatient.ask(b"GET / HTTP/1.1\r\n" + HOST + b"\r\n")
    assert answer.endswith(b"hello")
    await until(lambda: not impatient.front.connections)


@pytest.mark.parametrize(
    "raw",
    [
        POST + b"Content-Length: 1001\r\n\r\n" + b"x" * 1001,
        POST
        + b"Transfer-Encoding: chunked\r\n\r\n"
        + b"64\r\n"
        + b"x" * 100
        + b"\r\n" * 1
        + b"400\r\n"
        + b"y" * 1024,
    ],
    ids=["announced", "chunked"],
)
async def test_body_over_the_limit_is_a_413(impatient: World, raw: bytes) -> None:
    assert (await impatient.ask(raw)).startswith(b"HTTP/1.1 413")


async def test_connections_are_bounded(world: World, pod: EchoPod) -> None:
    world.front.limits = replace(world.limits, connections=2)
    held = [await asyncio.open_connection("127.0.0.1", world.port) for _ in range(2)]
    await until(lambda: len(world.front.connections) == 2)
    assert (await world.ask(b"")).startswith(b"HTTP/1.1 503")
    for _, writer in held:
        writer.close()
    await until(lambda: not world.front.connections)
    assert (await world.ask(b"GET / HTTP/1.1\r\nConnection: close\r\n" + HOST + b"\r\n")).endswith(b"hello")


async def test_nothing_is_left_of_ten_thousand_pipelined_requests(world: World, pod: EchoPod) -> None:
    one = b"GET / HTTP/1.1\r\n" + HOST + b"\r\n"
    reader, writer = await asyncio.open_connection("127.0.0.1", world.port)
    writer.write(one * 10_000)
    await reader.readexactly(1000)
    writer.transport.abort()
    await until(lambda: not world.front.connections and not world.front.tasks)
    gc.collect()
    assert world.fleet.revisions[("ns", "r1")].hold.breaker.in_flight == 0
