"""How HTTP/2 connections and bodies end: a pod that goes away, a client whose body stops, loops that outlive a fault."""

from __future__ import annotations

import asyncio
import contextlib
import subprocess
from dataclasses import replace
from typing import Any

import h2.config
import h2.connection
import h2.events
import pytest
from gateway_pods import EchoPod
from gateway_world import World
from waiting_rig import until

from standalone.gateway.settings import Limits

HOST = "g.ns.localhost"


@pytest.fixture
def limits() -> Limits:
    return replace(Limits(), body_idle_timeout_s=0.3, drain_s=0.5)


class Peer:
    """A hand-driven side of one HTTP/2 connection."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, is_client: bool) -> None:
        self.reader, self.writer = reader, writer
        self.h2 = h2.connection.H2Connection(h2.config.H2Configuration(client_side=is_client))
        self.h2.initiate_connection()
        self.push()

    def push(self) -> None:
        self.writer.write(self.h2.data_to_send())

    async def events(self) -> list[Any]:
        """The next ones; none when the other side has closed."""
        data = await asyncio.wait_for(self.reader.read(65536), 5)
        found = self.h2.receive_data(data) if data else []
        self.push()
        return found

    async def answer(self, stream: int) -> tuple[str, bytes]:
        """Status and body of a stream."""
        status, body = "", b""
        while True:
            for event in await self.events():
                if isinstance(event, h2.events.ResponseReceived):
                    status = dict(event.headers)[b":status"].decode()
                elif isinstance(event, h2.events.DataReceived):
                    body += event.data
                elif isinstance(event, h2.events.StreamEnded) and event.stream_id == stream:
                    return status, body


class LeavingPod:
    """Says GOAWAY as soon as it has a request, answers it when ``gate`` is set, and never closes by itself."""

    def __init__(self, *, says_goaway: bool) -> None:
        self.says_goaway = says_goaway
        self.asked, self.gate, self.closed = asyncio.Event(), asyncio.Event(), asyncio.Event()

    async def __call__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        pod = Peer(reader, writer, is_client=False)
        with contextlib.suppress(ConnectionError):
            while found := await pod.events():
                for event in found:
                    if isinstance(event, h2.events.RequestReceived):
                        await self._serve(pod, event.stream_id)
        if self.asked.is_set():
            self.closed.set()

    async def _serve(self, pod: Peer, stream: int) -> None:
        if self.says_goaway:
            frame = b"\0\0\x08\x07\0\0\0\0\0" + stream.to_bytes(4, "big") + b"\0\0\0\0"
            pod.writer.write(frame)
        self.asked.set()
        await self.gate.wait()
        pod.h2.send_headers(stream, [(":status", "200")])
        pod.h2.send_data(stream, b"bye", end_stream=True)
        pod.push()


async def open_client(world: World) -> Peer:
    return Peer(*await asyncio.open_connection("127.0.0.1", world.port), is_client=True)


def request(method: str = "GET", *more: tuple[str, str]) -> list[tuple[str, str]]:
    return [(":method", method), (":path", "/"), (":scheme", "http"), (":authority", HOST), *more]


async def start(world: World, pod: Any, **container: Any) -> None:
    world.route(HOST, ("r1", 100))
    world.revision(container=container)
    world.pod(await world.serve(pod))
    await world.open_pods()


@pytest.mark.parametrize("says_goaway", [True, False], ids=["says GOAWAY", "is removed"])
async def test_a_connection_to_a_leaving_pod_closes_after_its_last_stream(
    world: World, says_goaway: bool
) -> None:
    """It stayed open until the pod closed it: a descriptor for each rollout of a server that waits for us."""
    pod = LeavingPod(says_goaway=says_goaway)
    await start(world, pod, ports=[{"containerPort": 8080, "name": "h2c"}])
    client = await open_client(world)
    client.h2.send_headers(1, request(), end_stream=True)
    client.push()
    await asyncio.wait_for(pod.asked.wait(), 5)
    if not says_goaway:
        world.fleet.revisions[("ns", "r1")].drop_pod("p1")
    pod.gate.set()
    assert await client.answer(1) == ("200", b"bye")
    await asyncio.wait_for(pod.closed.wait(), 5)
    client.writer.close()


async def test_a_body_that_stops_is_408_and_frees_the_pod(world: World) -> None:
    """Over HTTP/1 it was; over HTTP/2 it kept its place at the pod until the revision's timeout."""
    await start(world, EchoPod())
    client = await open_client(world)
    client.h2.send_headers(1, request("POST", ("content-length", "100")))
    client.h2.send_data(1, b"the first bytes")
    client.push()
    status, body = await client.answer(1)
    assert (status, body) == ("408", b"the request's body stopped coming\n")
    await until(lambda: world.fleet.revisions[("ns", "r1")].hold.breaker.in_flight == 0)
    client.h2.send_headers(3, request(), end_stream=True)
    client.push()
    assert await client.answer(3) == ("200", b"hello")
    client.writer.close()


async def test_curl_reads_an_answer_that_is_complete_before_its_body_has_come(world: World) -> None:
    url = f"http://127.0.0.1:{world.port}/"
    command = ["curl", "-s", "--noproxy", "*", "--http2-prior-knowledge", "-H", "Host: nobody.localhost",
               "-o", "/dev/null", "-w", "%{http_code}", "--data-binary", "@-", url]  # fmt: skip
    for size in [2, 200_000] * 4:  # it depended on which frames came first
        done = await asyncio.to_thread(
            subprocess.run, command, input=b"x" * size, capture_output=True, timeout=20
        )
        assert (done.returncode, done.stdout) == (0, b"404")


@pytest.mark.parametrize(("announced", "is_reset"), [(50_000, False), (70_000_000, True)])
async def test_only_a_long_body_is_cut_off_behind_its_answer(
    world: World, announced: int, is_reset: bool
) -> None:
    reader, writer = await asyncio.open_connection("127.0.0.1", world.port)
    peer = Peer(reader, writer, True)
    head = [(":method", "POST"), (":path", "/"), (":scheme", "http"), (":authority", "nobody.localhost")]
    peer.h2.send_headers(1, [*head, ("content-length", str(announced))])
    peer.push()
    seen: list[Any] = []
    while not any(isinstance(event, h2.events.StreamEnded) for event in seen):
        seen += await peer.events()
    if not is_reset:
        for _ in range(5):
            peer.h2.send_data(1, b"x" * 10_000)
        peer.h2.end_stream(1)
    peer.h2.ping(b"12345678")
    peer.push()
    while not any(isinstance(event, h2.events.PingAckReceived) for event in seen):
        seen += await peer.events()
    assert any(isinstance(event, h2.events.StreamReset) for event in seen) is is_reset
    writer.close()
    await writer.wait_closed()


async def test_a_body_that_comes_slowly_but_comes_is_taken(world: World) -> None:
    await start(world, EchoPod())
    client = await open_client(world)
    client.h2.send_headers(1, request("POST"))
    for _ in range(8):
        client.h2.send_data(1, b"x")
        client.push()
        await asyncio.sleep(0.1)
    client.h2.end_stream(1)
    client.push()
    assert await client.answer(1) == ("200", b"x" * 8)
    client.writer.close()


async def test_one_connection_that_cannot_be_ended_does_not_stop_the_sweep(world: World) -> None:
    """An exception there ended the gateway's process, and every request with it."""
    ended = asyncio.Event()

    class Connection:
        deadline = 0.0

        def __init__(self, is_faulty: bool) -> None:
            self._is_faulty = is_faulty

        def on_deadline(self) -> None:
            if self._is_faulty:
                raise RuntimeError("no transport")
            ended.set()

        def drain(self) -> None:
            world.front.leave(self)

    both = [Connection(True), Connection(False)]
    world.front.connections.update(both)
    await asyncio.wait_for(ended.wait(), 5)
    assert both[0].deadline > 0
    for connection in both:
        world.front.leave(connection)


async def test_one_revision_s_housekeeping_does_not_stop_the_others(world: World) -> None:
    ticked = asyncio.Event()

    class Faulty:
        def tick(self, now: float) -> None:
            raise RuntimeError("no")

    class Good:
        def tick(self, now: float) -> None:
            ticked.set()

    world.fleet.revisions[("ns", "a")] = Faulty()  # type: ignore[assignment]
    world.fleet.revisions[("ns", "b")] = Good()  # type: ignore[assignment]
    await asyncio.wait_for(ticked.wait(), 5)
    world.fleet.revisions.clear()
