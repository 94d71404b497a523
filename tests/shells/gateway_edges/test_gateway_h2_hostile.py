"""HTTP/2 requests made to hurt: what HTTP/1 would misread reaches no pod, and frames out of order end the connection."""

from __future__ import annotations

import asyncio
import contextlib

import hpack
import pytest
from gateway_pods import EchoPod
from gateway_world import World

PREFACE = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n" + b"\0\0\0\x04\0\0\0\0\0"
HOST = "m.ns.localhost"
PSEUDO = [(":method", "POST"), (":path", "/"), (":scheme", "http"), (":authority", HOST)]


def frame(kind: int, flags: int, stream: int, payload: bytes = b"") -> bytes:
    return len(payload).to_bytes(3, "big") + bytes([kind, flags]) + stream.to_bytes(4, "big") + payload


def headers(fields: list[tuple[str, str]], *, ends: bool = True, stream: int = 1) -> bytes:
    block = hpack.Encoder().encode(
        [(n.encode("latin-1"), v.encode("latin-1")) for n, v in fields], huffman=False
    )
    return frame(1, 0x5 if ends else 0x4, stream, block)


def data(payload: bytes, *, ends: bool = True, stream: int = 1) -> bytes:
    return frame(0, 0x1 if ends else 0, stream, payload)


@pytest.fixture
async def pod(world: World) -> EchoPod:
    pod = EchoPod()
    world.route(HOST, ("r1", 100))
    world.revision()
    world.pod(await world.serve(pod))
    await world.open_pods()
    return pod


async def send(world: World, raw: bytes) -> None:
    """Send, and read until the gateway closes or has nothing more to say; it must live on."""
    reader, writer = await asyncio.open_connection("127.0.0.1", world.port)
    writer.write(PREFACE + raw)
    with contextlib.suppress(TimeoutError, ConnectionError):
        async with asyncio.timeout(0.5):
            while await reader.read(65536):
                pass
    writer.close()
    again = await world.ask(b"GET /alive HTTP/1.1\r\nHost: %b\r\nConnection: close\r\n\r\n" % HOST.encode())
    assert again.startswith(b"HTTP/1.1 200")


SMUGGLED = "x\r\nX-Injected: 1\r\n\r\nGET /smuggled HTTP/1.1\r\nHost: m.ns.localhost\r\n\r\n"
HEADS = {
    "line break in a value": [*PSEUDO, ("x", SMUGGLED)],
    "line break in a name": [*PSEUDO, ("x: 1\r\nx-injected", "1")],
    "line feed in a value": [*PSEUDO, ("x", "1\nX-Injected: 1")],
    "NUL in a value": [*PSEUDO, ("x", "1\0X-Injected")],
    "line break in the path": [(":method", "GET"), (":path", "/ HTTP/1.1\r\nX-Injected: 1\r\n"), *PSEUDO[2:]],
    "space in the path": [(":method", "GET"), (":path", "/smuggled HTTP/1.1"), *PSEUDO[2:]],
    "line break in the authority": [*PSEUDO[:3], (":authority", HOST + "\r\nX-Injected: 1")],
    "another host": [*PSEUDO, ("host", "other.ns.localhost")],
    "two hosts": [*PSEUDO, ("host", HOST), ("host", "x-injected")],
    "coding": [*PSEUDO, ("transfer-encoding", "chunked")],
    "connection": [*PSEUDO, ("connection", "x-injected")],
    "upper case": [*PSEUDO, ("X-Injected", "1")],
    "two paths": [*PSEUDO, (":path", "/smuggled")],
    "pseudo after": [("x", "1"), *PSEUDO],
    "unknown pseudo": [*PSEUDO, (":x-injected", "1")],
    "no path": [PSEUDO[0], *PSEUDO[2:]],
    "empty name": [*PSEUDO, ("", "x-injected")],
    "two lengths": [*PSEUDO, ("content-length", "0"), ("content-length", "5")],
    "length list": [*PSEUDO, ("content-length", "0, 5")],
    "negative length": [*PSEUDO, ("content-length", "-1")],
}


@pytest.mark.parametrize("fields", HEADS.values(), ids=HEADS)
async def test_no_head_injects_anything(world: World, pod: EchoPod, fields: list[tuple[str, str]]) -> None:
    await send(world, headers(fields))
    told = [request for request in pod.requests if request.line != "GET /alive HTTP/1.1"]
    for request in told:
        assert "smuggled" not in request.line
        assert not any("inject" in f"{name}{value}".lower() for name, value in request.headers)
        assert [value for name, value in request.headers if name.lower() == "host"] == [HOST]
        assert sum(name.lower() == "content-length" for name, _ in request.headers) <= 1


async def test_a_good_one_arrives(world: World, pod: EchoPod) -> None:
    """Else the cases above would prove nothing."""
    await send(world, headers([*PSEUDO, ("x", "1"), ("content-length", "2")], ends=False) + data(b"ab"))
    first = pod.requests[0]
    assert (first.line, first.body, first.get("x")) == ("POST / HTTP/1.1", b"ab", "1")


BODIES = {
    "more than announced": headers([*PSEUDO, ("content-length", "2")], ends=False)
    + data(b"abGET /smuggled HTTP/1.1\r\n\r\n"),
    "less than announced": headers([*PSEUDO, ("content-length", "50")], ends=False) + data(b"ab"),
    "padded beyond its end": headers(PSEUDO, ends=False) + frame(0, 0x9, 1, b"\xffab"),
    "a trailer with a line break": headers(PSEUDO, ends=False)
    + data(b"a", ends=False)
    + headers([("x", SMUGGLED)]),
    "a pseudo trailer": headers(PSEUDO, ends=False)
    + data(b"a", ends=False)
    + headers([(":path", "/smuggled")]),
}


@pytest.mark.parametrize("raw", BODIES.values(), ids=BODIES)
async def test_no_body_is_read_as_a_request(world: World, pod: EchoPod, raw: bytes) -> None:
    await send(world, raw)
    assert not any("smuggled" in request.line for request in pod.requests)


FRAMES = {
    "window over its limit": frame(8, 0, 0, b"\x7f\xff\xff\xff") * 2,
    "window of nothing": frame(8, 0, 0, b"\0\0\0\0"),
    "data on an idle stream": data(b"x", stream=5),
    "data on stream 0": data(b"x", stream=0),
    "an even stream": headers(PSEUDO, stream=2),
    "a stream that goes back": headers(PSEUDO, stream=5) + headers(PSEUDO, stream=3),
    "a frame too large": frame(0, 0, 1, b"x" * 40_000),
    "settings of a wrong size": frame(4, 0, 0, b"\0\0\0"),
    "settings that stop all": headers(PSEUDO) + frame(4, 0, 0, b"\0\x04\0\0\0\0" + b"\0\x05\0\0\0\1"),
    "a push": frame(5, 0x4, 1, b"\0\0\0\2" + b"\x82"),
    "an unknown frame": frame(0x77, 0xFF, 1, b"x" * 100),
    "a priority on itself": frame(2, 0, 1, b"\0\0\0\1\x10"),
    "a bad index": frame(1, 0x5, 1, b"\xff\xff\xff\xff\x0f"),
    "a continuation of nothing": frame(9, 0x4, 1, b"\x82"),
    "GOAWAY and then a request": frame(7, 0, 0, b"\0" * 8) + headers(PSEUDO),
}


@pytest.mark.parametrize("raw", FRAMES.values(), ids=FRAMES)
async def test_frames_out_of_order_hurt_nobody_else(world: World, pod: EchoPod, raw: bytes) -> None:
    await send(world, raw)
    assert world.fleet.revisions[("ns", "r1")].hold.breaker.in_flight <= 1
