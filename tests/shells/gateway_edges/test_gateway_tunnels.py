"""WebSocket and any other upgrade: raw bytes both ways, from zero too, ended by the timeouts and by either side."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator

import pytest
import websockets
from gateway_pods import EchoPod, read_request
from gateway_world import World
from waiting_rig import until


@pytest.fixture
async def port() -> AsyncIterator[int]:
    async def echo(connection: websockets.ServerConnection) -> None:
        async for message in connection:
            await connection.send(message)

    async with websockets.serve(echo, "127.0.0.1", 0) as server:
        yield next(iter(server.sockets)).getsockname()[1]


def connect(world: World) -> websockets.connect:
    return websockets.connect(
        "ws://w.ns.localhost/x", host="127.0.0.1", port=world.port, proxy=None, open_timeout=5
    )


async def test_websocket_echo_also_from_zero(world: World, port: int) -> None:
    world.route("w.ns.localhost", ("r1", 100))
    world.revision()
    world.waker.on_wake = lambda: world.pod(port) and None
    async with connect(world) as socket:
        for message in ("a", "b" * 100_000, b"\0\1"):
            await socket.send(message)
            assert await asyncio.wait_for(socket.recv(), 5) == message
    await until(lambda: world.fleet.revisions[("ns", "r1")].hold.breaker.in_flight == 0)


async def test_timeout_ends_even_a_busy_websocket(world: World, port: int) -> None:
    world.route("w.ns.localhost", ("r1", 100))
    world.revision(timeoutSeconds=0.3)
    world.pod(port)
    async with connect(world) as socket:
        with pytest.raises(websockets.ConnectionClosed):
            while True:
                await socket.send("x")
                await socket.recv()


async def test_any_protocol_may_be_upgraded_to(world: World) -> None:
    async def shout(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        request = await read_request(reader)
        assert request is not None and request.get("upgrade") == "shout/1"
        writer.write(
            b"HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: shout/1\r\n\r\nHI "
        )
        writer.write((await reader.readexactly(5)).upper())
        await writer.drain()
        writer.close()

    world.route("w.ns.localhost", ("r1", 100))
    world.revision()
    world.pod(await world.serve(shout))
    await asyncio.sleep(0)
    answer = await world.ask(
        b"GET / HTTP/1.1\r\nHost: w.ns.localhost\r\nConnection: Upgrade\r\nUpgrade: shout/1\r\n\r\nearly"
    )
    assert answer.startswith(b"HTTP/1.1 101 ") and answer.endswith(b"\r\n\r\nHI EARLY")


async def test_upgrade_on_a_predict_route_is_an_ordinary_request_to_an_app_that_declines(
    world: World,
) -> None:
    world.route("w.ns.localhost", ("r1", 100))
    world.revision()
    world.pod(await world.serve(EchoPod()))
    answer = await world.ask(
        b"GET / HTTP/1.1\r\nHost: w.ns.localhost\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n"
    )
    assert answer.startswith(b"HTTP/1.1 200") and b"connection: close" in answer and answer.endswith(b"hello")
